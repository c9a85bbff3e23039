"""One of several classes: a probability each, judged by accuracy."""

from collections.abc import Sequence

import keras
import numpy as np

from finetunekit.models.label_smoothing import smooth
from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import Shape, one_each, text

ACTIVATION: str | None = "softmax"
MONITOR = "accuracy"


def loss(task: Task, from_logits: bool, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Cross-entropy for class numbers, or for rows of 0 and 1 if the task says one-hot."""
    if task.one_hot:
        return keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=label_smoothing
        )
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    return smooth(sparse, task.num_classes, label_smoothing) if label_smoothing else sparse


def metrics(task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
    """Accuracy."""
    if task.one_hot:
        return [keras.metrics.CategoricalAccuracy(name="accuracy")]
    return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]


def is_one_hot(label_shape: Sequence[int | None], task: Task, output_shape: Shape) -> bool:
    """Whether labels of this shape are rows over the classes rather than class numbers."""
    return len(label_shape) == len(output_shape) and label_shape[-1] == task.num_classes


def check_labels(labels: np.ndarray, task: Task, output_shape: Shape) -> None:
    """Class numbers 0 to n - 1, or rows that sum to 1."""
    if is_one_hot(labels.shape, task, output_shape):
        _check_rows(labels, task)
        return
    if not one_each(labels, output_shape):
        raise ValueError(
            f"`y` must hold class numbers of shape {text(output_shape[:-1])} or rows of shape "
            f"{text(output_shape)} for {task.num_classes} classes. If the number of classes is "
            f"wrong, build the head with another num_classes. Received: y of shape {labels.shape}"
        )
    if (labels != np.floor(labels)).any():
        raise ValueError(
            "`y` must hold whole class numbers for task 'multiclass'; for numbers to predict use "
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


def _check_rows(labels: np.ndarray, task: Task) -> None:
    sums = labels.sum(axis=-1)
    if (labels < 0).any() or (np.abs(sums - 1) > 1e-3).any():
        raise ValueError(
            "`y` has one column a class, so each row must hold probabilities that sum to 1 for "
            "task 'multiclass'. If several classes may be true at once, use task 'multilabel'. "
            f"Received: y with row sums from {sums.min():.3g} to {sums.max():.3g}"
        )


def class_ids(labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
    """The class number of each label."""
    if is_one_hot(labels.shape, task, output_shape):
        return labels.argmax(axis=-1)
    return labels.astype("int64")


def probabilities(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    """Outputs of shape (n, classes) to probabilities."""
    if not from_logits:
        return outputs
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
