"""One of several classes: a probability each, judged by accuracy."""

import dataclasses
from typing import Any

import keras
import numpy as np

from finetunekit.models.label_smoothing import smooth
from finetunekit.models.metadata import Task
from finetunekit.tasks import class_metrics
from finetunekit.tasks.class_family import ClassFamily
from finetunekit.tasks.label_shapes import (
    Shape,
    all_between,
    all_whole,
    has_rows_of_0_and_1,
    is_wide,
    one_each,
    text,
)
from finetunekit.tasks.metric_settings import Head

_MOST_CLASSES = 1000  # That integer labels are taken for without being told so.
_FEW_CLASSES, _SAMPLES = 20, 5  # More classes than these must have so many samples on average.
_TAKES_ONE_HOT = {
    "SparseCategoricalCrossentropy": False,
    "CategoricalCrossentropy": True,
    "CategoricalFocalCrossentropy": True,
    "CategoricalHinge": True,
    "KLDivergence": True,
}


class Multiclass(ClassFamily):
    """The family of `"multiclass"`: labels are integers, or one-hot."""

    name = "multiclass"
    activation = "softmax"
    monitor = "accuracy"
    fits_metrics = True
    losses = tuple(name for name in _TAKES_ONE_HOT if name != "KLDivergence")

    def loss(
        self, task: Task, from_logits: bool, label_smoothing: float = 0.0
    ) -> keras.losses.Loss:
        """Cross-entropy for integer labels, or for one-hot labels if the task says so."""
        if task.one_hot:
            return keras.losses.CategoricalCrossentropy(
                from_logits=from_logits, label_smoothing=label_smoothing
            )
        sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        return smooth(sparse, task.num_classes, label_smoothing) if label_smoothing else sparse

    def metrics(self, task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
        """Accuracy."""
        if task.one_hot:
            return [keras.metrics.CategoricalAccuracy(name="accuracy")]
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def fit_metric(self, metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
        """One of several classes, of integer or one-hot labels."""
        return class_metrics.fit(metric, head)

    def check_count(self, num_classes: int) -> None:
        """Two or more."""
        if num_classes < 2:
            raise ValueError(
                "`num_classes` must be at least 2 for task 'multiclass'. For yes or no use task "
                f"'binary'. Received: num_classes={num_classes!r}"
            )

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """Integers from 0 to n - 1, or rows that sum to 1."""
        self.check_label_shape(labels.shape, task, output_shape)
        if _is_one_hot(labels.shape, task, output_shape):
            _check_rows(labels)
        else:
            _check_integers(labels, task)

    def check_label_shape(self, shape: Shape, task: Task, output_shape: Shape) -> None:
        """One label for each place, or one row over the classes."""
        if not _is_one_hot(shape, task, output_shape) and not one_each(shape, output_shape):
            raise ValueError(
                f"`y` must hold integer labels of shape {text(output_shape[:-1])} or rows of shape "
                f"{text(output_shape)} for {task.num_classes} classes. If the number of classes is "
                f"wrong, build the head with another num_classes. Received: y of shape {shape}"
            )

    def surely_valid(self, labels: Any, task: Task, output_shape: Shape) -> Any:
        """Whole numbers below the number of classes, or rows that sum to 1."""
        if not _is_one_hot(tuple(labels.shape), task, output_shape):
            inside = all_between(labels, 0, task.num_classes - 1)
            return keras.ops.logical_and(inside, all_whole(labels))
        rows = keras.ops.cast(labels, "float32")
        sums = keras.ops.sum(rows, axis=-1)
        return keras.ops.logical_and(keras.ops.all(rows >= 0), all_between(sums, 0.9995, 1.0005))

    def task_for_labels(self, task: Task, label_shape: Shape, output_shape: Shape) -> Task:
        """One-hot if the labels are as wide as the output; integers unless known."""
        one_hot = _is_one_hot(label_shape, task, output_shape)
        return task if one_hot == bool(task.one_hot) else _with_form(task, one_hot=one_hot)

    def task_for_loss(self, task: Task, loss: str) -> Task:
        """One-hot but for the sparse loss; a loss of the user's own may take either."""
        known = loss in _TAKES_ONE_HOT
        return _with_form(task, one_hot=_TAKES_ONE_HOT[loss]) if known else task

    def label_form(self, task: Task) -> str:
        """One-hot labels, or integer labels."""
        return "one-hot labels" if task.one_hot else "integer labels"

    def count_in_labels(self, labels: np.ndarray) -> int | None:
        """The columns of one-hot labels; else one more than the largest."""
        return super().count_in_labels(labels) or int(labels.max()) + 1

    def recognises_loss(self, loss: str, activation: str | None, width: int) -> bool:
        """Several outputs, and a cross-entropy or hinge loss over classes."""
        return loss in self.losses and width > 1

    def recognises_output(self, activation: str | None, width: int) -> bool:
        """A softmax over several."""
        return activation == "softmax" and width > 1

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        """One-hot labels, or integers from 0 without a gap, each for several samples.

        Whole numbers in floats, and numbers that hardly ever come twice, may as well be ratings,
        ages or counts.
        """
        if is_wide(labels):
            one = has_rows_of_0_and_1(labels) and np.all(labels.sum(axis=-1) == 1)
            return "each row of 0 and 1 has one 1" if one else None
        values = np.unique(labels)
        counted = values.tolist() == list(range(len(values))) and len(values) <= _MOST_CLASSES
        often = len(values) <= _FEW_CLASSES or labels.size >= _SAMPLES * len(values)
        if not counted or len(values) == 2 or labels.dtype.kind == "f" or not often:
            return None
        return f"the labels are the numbers 0 to {int(values.max())}"

    def recognises_names(self, names: tuple[str, ...]) -> bool:
        """More than two of them."""
        return len(names) > 2

    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """The class of each label as an integer."""
        if _is_one_hot(labels.shape, task, output_shape):
            return labels.argmax(axis=-1)
        return labels.astype("int64")

    def as_probabilities(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """One-hot labels."""
        if _is_one_hot(labels.shape, task, output_shape):
            return super().as_probabilities(labels, task, output_shape)
        return np.eye(task.num_classes, dtype="float32")[labels.astype("int64").reshape(-1)]

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        """Outputs of shape (n, classes) to probabilities."""
        if not from_logits:
            return outputs
        powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def check_threshold(self, threshold: object) -> None:
        """There is none: the most probable class is taken."""
        if threshold is not None:
            raise ValueError(
                "`threshold` has no effect for task 'multiclass', where the most probable class "
                f"is taken; leave it out. Received: threshold={threshold!r}"
            )


def _with_form(task: Task, *, one_hot: bool) -> Task:
    return dataclasses.replace(task, one_hot=one_hot)


def _is_one_hot(label_shape: Shape, task: Task, output_shape: Shape) -> bool:
    """Whether labels of this shape are rows over the classes rather than integers."""
    return len(label_shape) == len(output_shape) and label_shape[-1] == task.num_classes


def _check_rows(labels: np.ndarray) -> None:
    sums = labels.sum(axis=-1)
    if (labels < 0).any() or (np.abs(sums - 1) > 1e-3).any():
        raise ValueError(
            "`y` has one column a class, so each row must hold probabilities that sum to 1 for "
            "task 'multiclass'. If several classes may be true at once, use task 'multilabel'. "
            f"Received: y with row sums from {sums.min():.3g} to {sums.max():.3g}"
        )


def _check_integers(labels: np.ndarray, task: Task) -> None:
    if (labels != np.floor(labels)).any():
        raise ValueError(
            "`y` must hold integer labels for task 'multiclass'; for numbers to predict use "
            f"task 'regression'. Received: y with values {np.unique(labels)[:8].tolist()}"
        )
    low, high = labels.min(), labels.max()
    if low < 0 or high >= task.num_classes:
        remedy = f"Build the head with num_classes={int(high) + 1}, or correct the labels."
        if low >= 1 and high == task.num_classes:
            remedy = "Labels that start at 1 become right with `y = y - 1`."
        elif low == -1 and high < task.num_classes - 1:
            remedy = "Labels that start at -1 become right with `y = y + 1`."
        elif low < 0:
            remedy = "Drop the samples with negative labels, `keep = y >= 0`."
        raise ValueError(
            f"`y` has labels from {int(low)} to {int(high)}, but the head has {task.num_classes} "
            f"classes: 0 to {task.num_classes - 1}. {remedy} "
            f"Received: y with values {np.unique(labels)[:8].tolist()}"
        )
