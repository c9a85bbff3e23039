"""A split must leave each class on both sides, unless chance would not have either."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data import arrays, label_checks
from finetunekit.data.label_checks import check_split
from finetunekit.models import metadata
from finetunekit.models.metadata import Task

MULTICLASS = Task(name="multiclass", num_classes=3)


def check(train: Any, held_out: Any, task: Task = MULTICLASS, split: float = 0.5) -> None:
    check_split(np.array(train), np.array(held_out), task, (None, task.num_classes), split)


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_sorted_labels_are_refused(form: str) -> None:
    def labels(ids: list[int]) -> np.ndarray:
        y = np.array(ids)
        return {"integers": y, "column": y[:, None], "one-hot": np.eye(3)[y]}[form]

    check(labels([0, 1, 2]), labels([0, 1, 2]))
    with pytest.raises(ValueError, match=r"would put class 2 in the validation part only. Shuffle"):
        check(labels([0, 1]), labels([0, 1, 2]))
    # 0.5 ** 7 < 0.01 < 0.5 ** 6: with seven samples, chance would hold one out.
    with pytest.raises(ValueError, match=r"would put class 1 in the training part only\. S"):
        check(labels([0] + [1] * 7), labels([0, 0]))


def test_a_rare_class_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "finetunekit"):
        check([0] + [1] * 6, [0, 0])
    assert "so few samples of class 1 that" in caplog.text


def test_binary_and_what_cannot_be_stratified() -> None:
    with pytest.raises(ValueError, match="look sorted"):
        check([0.0] * 9, [1.0], Task(name="binary", num_classes=1))
    check([[0, 0, 0]] * 9, [[1, 1, 1]], Task(name="multilabel", num_classes=3))
    check([0.0] * 9, [1.0], Task(name="regression", num_classes=1))


def test_classes_are_called_by_their_names() -> None:
    named = Task(name="multiclass", num_classes=3, class_names=("cat", "dog", "cow"))
    with pytest.raises(ValueError, match=r"put class 'cow' in the .* and class 'cat' in the"):
        check([0] * 7 + [1], [1, 2], named)


def dense_model() -> keras.Model:
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    return ftk.compile_for_task(model, "multiclass", loss=loss)


def test_labels_that_the_loss_ignores_are_labels() -> None:
    model = dense_model()
    task = metadata.of(model).task
    y = np.array([[[0, 255], [2, 1]], [[255, 255], [1, 1]]])
    label_checks.check_labels(y, model, task)
    with pytest.raises(ValueError, match="labels from 0 to 3"):
        label_checks.check_labels(np.where(y == 2, 3, y), model, task)
    with pytest.raises(ValueError, match="no label that counts"):
        label_checks.check_labels(np.full_like(y, 255), model, task)
    # Those of class 0 to 2: 1, 3 and 1 of five.
    weights = arrays.weighted(arrays.Arrays(y, y), "balanced", model, task).weights
    counts = y != 255
    wanted = 5 / (3 * np.bincount(y[counts]))
    assert np.allclose(weights[counts], wanted[y[counts]])
    x = np.zeros((8, 2, 2, 3), "float32")
    many = np.tile(y, (4, 1, 1))
    history = ftk.fit(
        model, x, many, validation_split=0.25, class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0
    )
    assert np.isfinite(history.history["val_loss"]).all()


@pytest.mark.parametrize(
    ("task", "y", "said"),
    [
        (Task(name="binary", num_classes=1), [1, 1, 1], "one class only: AUC"),
        (Task(name="binary", num_classes=1), [[0], [0]], "one class only: AUC"),
        (Task(name="binary", num_classes=1), [0, 1], ""),
        (Task(name="multilabel", num_classes=3), [[1, 0, 1], [0, 0, 1]], "labels '1', '2'"),
        (
            Task(name="multilabel", num_classes=2, class_names=("cat", "dog")),
            [[1, 0], [1, 1]],
            "labels 'cat': AUC",
        ),
        (Task(name="multilabel", num_classes=2), [[1, 0], [0, 1]], ""),
        (MULTICLASS, [1, 1], ""),
    ],
)
def test_validation_of_one_class(
    task: Task, y: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    label_checks.warn_of_one_sided(np.array(y), task)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


def test_labels_that_the_loss_ignores_pass_in_pipelines_and_others_do_not() -> None:
    model = dense_model()
    wanted = label_checks.expected(model, metadata.of(model).task)
    assert wanted is not None
    y = np.array([[[0, 255], [2, 1]], [[255, 255], [1, 1]]])
    wanted.check(y)
    wanted.check(np.full_like(y, 255))  # A batch may hold none that counts.
    assert bool(wanted.surely_valid(keras.ops.convert_to_tensor(y)))
    with pytest.raises(ValueError, match="labels from 0 to 3"):
        wanted.check(np.where(y == 2, 3, y))
    assert not bool(wanted.surely_valid(keras.ops.convert_to_tensor(np.where(y == 2, 3, y))))
