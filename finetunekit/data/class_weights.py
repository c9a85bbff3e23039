"""Class weights as sample weights, for labels of any shape."""

from typing import Any

import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of


def sample_weights(
    labels: np.ndarray,
    class_weight: Any,
    task: Task,
    output_shape: Any,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """The weight of each sample (or pixel) under `class_weight`.

    Args:
        labels: Integer labels of any shape, one-hot labels, or multi-hot labels.
        class_weight: `"balanced"`, or class as an integer -> weight.
        task: What the labels mean.
        output_shape: Shape of the model's output, with the batch.
        counts: Which labels count, to the loss too; None for all. The others have weight 1.

    Returns:
        Weights of the labels' shape without a class axis, float32. For multilabel, the mean over
        the labels of a sample, each weighted by how rare its own value (0 or 1) is.

    Raises:
        ValueError: If the task has no classes or the weights name unknown ones.
    """
    check_class_weight(class_weight, task)
    family = family_of(task)
    if counts is None or counts.all():
        weights = family.class_weights(labels, class_weight, task, output_shape)
    else:
        of_those = labels[counts]
        weights = np.ones(labels.shape)
        weights[counts] = family.class_weights(of_those, class_weight, task, output_shape)
    # A class axis of length 1, as in (n, 1), belongs to the labels, not to the weights.
    weights = weights[..., 0] if weights.ndim == len(output_shape) else weights
    return weights.astype("float32")


def check_class_weight(class_weight: Any, task: Task) -> None:
    """Checks class weights against the task.

    Raises:
        ValueError: If the task has no classes, or a key or weight makes no sense.
    """
    family_of(task).check_class_weight(class_weight, task)


def check_pipeline_weights(class_weight: Any, task: Task | None) -> None:
    """Raises for class weights that need the labels beforehand, or name unknown classes.

    Raises:
        ValueError: If so.
    """
    if isinstance(class_weight, str):
        raise ValueError(
            f"`class_weight={class_weight!r}` needs arrays, to count the classes. Give a dict of "
            "integer label -> weight, or the data as arrays. "
            f"Received: class_weight={class_weight!r}"
        )
    if class_weight is not None and task is not None:
        check_class_weight(class_weight, task)
