"""Do predictions carry the right names and probabilities, for every kind of task and input?"""

from __future__ import annotations

import logging
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from answering import answering, brightness
from models import L
from parameters import often
from snippets import write_photos


@pytest.mark.parametrize("activation", often(["auto", None], (None,)))
class TestBothKindsOfOutput:
    def test_multiclass(self, activation: object) -> None:
        model = answering("multiclass", 3, activation, class_names=["a", "b", "c"])
        found = ftk.predict(model, np.array([[0.0, 2, 1], [3, 0, 0]]))
        assert [row.label for row in found] == ["b", "a"]
        expected = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
        assert list(found[0].probabilities) == ["b", "c", "a"]
        assert list(found[0].probabilities.values()) == pytest.approx(expected, abs=1e-6)

    def test_binary(self, activation: object) -> None:
        model = answering("binary", 1, activation, class_names=["cat", "dog"])
        (found,) = ftk.predict(model, np.array([[-1.0]]))
        assert found.label == "cat"
        assert found.probability == pytest.approx(1 - 1 / (1 + np.e), abs=1e-6)
        (found,) = ftk.predict(model, np.array([[-1.0]]), threshold=0.2)
        assert found.label == "dog"

    def test_multilabel(self, activation: object) -> None:
        model = answering("multilabel", 3, activation, class_names=["a", "b", "c"])
        (found,) = ftk.predict(model, np.array([[3.0, -3, 1]]))
        assert found.labels == ("a", "c")
        assert str(found) == "a 0.95, c 0.73"
        (none,) = ftk.predict(model, np.array([[3.0, -3, 1]]), threshold=0.99)
        assert none.labels == ()
        assert str(none) == "none"


def test_numbers_with_and_without_names() -> None:
    (found,) = ftk.predict(answering("regression", 1), np.array([[94_000.5]]))
    assert (found.value, str(found)) == (94_000.5, "94,000")
    named = answering("regression", 2, class_names=["price", "size"])
    (found,) = ftk.predict(named, np.array([[1.5, -2]]))
    assert found == ftk.NumberPrediction({"price": 1.5, "size": -2.0})


def test_classes_without_names_are_numbered() -> None:
    (found,) = ftk.predict(answering("multiclass", 2, num_classes=2), np.array([[0.0, 5]]))
    assert found.label == "1"


def test_the_first_number_as_a_plain_model() -> None:
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, activation="sigmoid")])
    assert ftk.predict(model, np.zeros((1, 1)))[0].probabilities.keys() == {"0", "1"}


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_source_that_shuffles_is_told(
    tmp_path: Path, shuffled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write_photos(tmp_path, each=2)
    options = {"image_size": (8, 8), "batch_size": 4, "verbose": False, "seed": 0}
    data = keras.utils.image_dataset_from_directory(tmp_path, shuffle=shuffled, **options)
    with caplog.at_level(logging.WARNING, "finetunekit"):
        ftk.predict(brightness(), data.map(lambda x, y: (x, y)).prefetch(1))
    assert ("shuffles" in caplog.text) is shuffled


def test_what_cannot_be_predicted_is_an_error() -> None:
    import tensorflow as tf

    model = answering("regression", 1)
    endless = tf.data.Dataset.from_tensors(np.zeros((2, 1), "float32")).repeat()
    empty = tf.data.Dataset.from_tensor_slices(np.zeros((2, 1), "float32")).batch(2).take(0)
    dense = keras.Sequential([keras.Input((4, 4, 3)), L.Conv2D(2, 1, activation="softmax")])
    for wrong, error, words in (
        (lambda: ftk.predict(model, endless), ValueError, r"no end.*x\.take\(10\)"),
        (lambda: ftk.predict(model, empty), ValueError, "gives no batches"),
        (lambda: ftk.predict(model, 3), TypeError, "must be arrays, paths of images"),
        (lambda: ftk.predict(model, "photo.png"), TypeError, "is a path or text"),
        (lambda: ftk.predict("model.keras", [[1.0]]), TypeError, "must be a keras.Model"),
        (lambda: ftk.predict(model, [[1.0]], threshold=0.5), ValueError, "no effect"),
        (lambda: ftk.predict(dense, np.zeros((1, 4, 4, 3))), ValueError, "use `model.predict`"),
    ):
        with pytest.raises(error, match=words):
            wrong()
