"""Are labels read as they are meant, and is what is left out said?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from answering import answering
from models import L
from sources import Batches, numbers, shuffled


def test_one_hot_labels_and_names_are_the_same_labels() -> None:
    x, y = numbers(30, 3), np.arange(30) % 3
    model = answering("multiclass", 3, class_names=["a", "b", "c"])
    wanted = ftk.evaluate(model, x, y).to_dict()
    names = np.array(["a", "b", "c"])[y]
    for given in (np.eye(3)[y], names, list(names), y[:, None].astype("float32")):
        assert ftk.evaluate(model, x, given).to_dict() == wanted
    assert ftk.evaluate(model, shuffled(x, names)).to_dict() == wanted
    with pytest.raises(ValueError, match=r"names of the model's classes, 'a', 'b', 'c'.*'d'"):
        ftk.evaluate(model, x, ["d"] * 30)


def test_other_weights_do_not_count_and_this_is_said() -> None:
    x, y = numbers(30, 3), np.arange(30) % 3
    model = answering("multiclass", 3, num_classes=3)
    report = ftk.evaluate(model, x, y, sample_weight=1.0 + y)
    assert report.metrics == ftk.evaluate(model, x, y).metrics
    assert "each sample counts once" in report.notes[0]
    assert ftk.evaluate(model, x, y, sample_weight=np.full(30, 0.5)).notes == ()


def test_void_labels_and_pixels() -> None:
    x = numbers(5, 4, 4, 3)
    y = np.random.default_rng(1).integers(0, 3, (5, 4, 4))
    y[:, 0] = 255
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, L.Softmax()(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    model.compile("sgd", loss)
    report = ftk.evaluate(model, x, y)
    kept = y != 255
    assert report.metrics["accuracy"] == pytest.approx(np.mean(x.argmax(-1)[kept] == y[kept]))
    assert report.count == 5
    assert report.notes[0] == "left out: 20 labels of 80 that are void (ignore_class=255)"
    assert "the intervals count each sample once" in report.notes[1]
    low, high = report.intervals["accuracy"]
    assert high - low > 0.4  # Of 5 images, not of 60 pixels.
    assert report.per_class["0"]["support"] == np.sum(y == 0)


def test_what_cannot_be_measured_is_an_error() -> None:
    x, y = numbers(8, 3), np.arange(8) % 3
    model = answering("multiclass", 3, num_classes=3)
    for wrong, words in (
        (lambda: ftk.evaluate(model, x), "`y` is missing"),
        (lambda: ftk.evaluate(model, Batches(x)), "`y` is missing"),
        (lambda: ftk.evaluate(model, Batches(x, y), y), "brings its own y"),
        (lambda: ftk.evaluate(model, x, y[:5]), "x with 8, y with 5"),
        (lambda: ftk.evaluate(model, x, y + 1), r"`y = y - 1`"),
        (lambda: ftk.evaluate(model, x, y, sample_weight=np.zeros(8)), "nothing to measure by"),
        (lambda: ftk.evaluate(model, x, y, sample_weight=np.ones(5)), "one weight a sample"),
        (lambda: ftk.evaluate(model, x, y, threshold=0.5), "no effect for task 'multiclass'"),
        (lambda: ftk.evaluate(model, x, np.full(8, np.nan)), "NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_soft_labels_count_as_classes_and_this_is_said(task: str) -> None:
    x, y = numbers(8, 2), np.arange(8) % 2
    soft = np.where(y == 1, 0.8, 0.1)
    if task == "binary":
        model, found = answering("binary", 1), soft
    else:
        model, found = answering("multiclass", 2, num_classes=2), np.c_[1 - soft, soft]
    x = x[:, : model.output_shape[-1]]
    report = ftk.evaluate(model, x, found)
    assert report.metrics == ftk.evaluate(model, x, y).metrics
    assert report.notes == ("soft labels count as their most probable class",)
