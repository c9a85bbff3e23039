"""How do rare classes get their due? Class weights as sample weights, for labels of any shape."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from finetunekit.foundation import arguments
from finetunekit.models.metadata import Task
from finetunekit.tasks import CLASSIFYING


def sample_weights(
    labels: np.ndarray, class_weight: Any, task: Task, output_shape: Any
) -> np.ndarray:
    """The weight of each sample (or pixel) under `class_weight`.

    Args:
        labels: Class numbers of any shape, one-hot rows, or multilabel rows.
        class_weight: `"balanced"`, or class number -> weight.
        task: What the labels mean.
        output_shape: Shape of the model's output, with the batch.

    Returns:
        Weights of the labels' shape without a class axis, float32. For multilabel, the mean over
        the labels of a sample, each weighted by how rare its own value (0 or 1) is.

    Raises:
        ValueError: If the task has no classes or the weights name unknown ones.

    Source:
        The heuristic n / (classes * count) is scikit-learn's `class_weight="balanced"`, after
        King and Zeng, Logistic Regression in Rare Events Data, 2001.
    """
    check_class_weight(class_weight, task)
    ids = CLASSIFYING[task.name].class_ids(labels, task, output_shape)
    if task.name == "multilabel":
        columns = [_balanced(ids[..., k], 2)[ids[..., k]] for k in range(ids.shape[-1])]
        return np.mean(columns, axis=0).astype("float32")
    classes = _class_count(task)
    if isinstance(class_weight, str):
        table = _balanced(ids, classes)
    else:
        table = np.array([float(class_weight.get(number, 1.0)) for number in range(classes)])
    weights = table[ids].astype("float32")
    # A class axis of length 1, as in (n, 1), belongs to the labels, not to the weights.
    return weights[..., 0] if weights.ndim == len(output_shape) else weights


def check_class_weight(class_weight: Any, task: Task) -> None:
    """Checks class weights against the task.

    Raises:
        ValueError: If the task has no classes, or a key or weight makes no sense.
    """
    received = f"Received: class_weight={class_weight!r}"
    if task.name not in CLASSIFYING:
        raise ValueError(
            f"`class_weight` needs classes, which task {task.name!r} has not. Leave it out, or "
            f"give `sample_weight`. {received}"
        )
    if isinstance(class_weight, str) and class_weight == "balanced":
        return
    if task.name == "multilabel":
        raise ValueError(
            "For task 'multilabel' `class_weight` must be 'balanced'; for weights of your own "
            f"give `sample_weight`. {received}"
        )
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"`class_weight` must be 'balanced' or a dict of class number -> weight. {received}"
        )
    classes = _class_count(task)
    unknown = [number for number in class_weight if number not in range(classes)]
    if unknown:
        raise ValueError(
            f"`class_weight` names classes that are not there: {unknown}; there are 0 to "
            f"{classes - 1}. {received}"
        )
    for weight in class_weight.values():
        if not arguments.is_number(weight) or not 0 <= float(weight) < math.inf:
            raise ValueError(f"`class_weight` must hold finite numbers of at least 0. {received}")


def _class_count(task: Task) -> int:
    return 2 if task.name == "binary" else task.num_classes


def _balanced(ids: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(ids.ravel(), minlength=classes)
    present = (counts > 0).sum()
    return ids.size / (present * np.maximum(counts, 1))
