"""How do rare classes get their due? Class weights as sample weights, for labels of any shape."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from finetunekit.metadata import Task
from finetunekit.tasks import CLASSIFYING


def sample_weights(labels: np.ndarray, class_weight: Any, task: Task) -> np.ndarray:
    """The weight of each sample (or pixel) under `class_weight`.

    Args:
        labels: Class numbers of any shape, one-hot rows, or multilabel rows `(n, labels)`.
        class_weight: `"balanced"`, or class number -> weight.
        task: What the labels mean.

    Returns:
        Weights of the labels' shape without a class axis, float32. For multilabel, the mean over
        the labels of a sample, each weighted by how rare its own value (0 or 1) is.

    Raises:
        ValueError: If the task has no classes or the weights name unknown ones.

    Source:
        The heuristic n / (classes * count) is scikit-learn's `class_weight="balanced"`, after
        King and Zeng, Logistic Regression in Rare Events Data, 2001.
    """
    if task.name not in CLASSIFYING:
        raise ValueError(
            f"`class_weight` needs classes, which task {task.name!r} has not. Leave it out, or "
            f"give `sample_weight`. Received: class_weight={class_weight!r}"
        )
    ids = CLASSIFYING[task.name].class_ids(labels, task)
    if task.name == "multilabel":
        if class_weight != "balanced":
            raise ValueError(
                "For task 'multilabel' `class_weight` must be 'balanced'; for weights of your own "
                f"give `sample_weight`. Received: class_weight={class_weight!r}"
            )
        columns = [_weights(column, 2)[column] for column in ids.T]
        return np.mean(columns, axis=0).astype("float32")
    classes = 2 if task.name == "binary" else task.num_classes
    table = _weights(ids, classes) if class_weight == "balanced" else _given(class_weight, classes)
    weights = table[ids].astype("float32")
    # A class axis of length 1, as in (n, 1), belongs to the labels, not to the weights.
    return weights[..., 0] if weights.ndim > 1 and weights.shape[-1] == 1 else weights


def _weights(ids: np.ndarray, classes: int) -> np.ndarray:
    counts = np.bincount(ids.ravel(), minlength=classes)
    present = (counts > 0).sum()
    return ids.size / (present * np.maximum(counts, 1))


def _given(class_weight: Any, classes: int) -> np.ndarray:
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            "`class_weight` must be 'balanced' or a dict of class number -> weight. "
            f"Received: class_weight={class_weight!r}"
        )
    unknown = [number for number in class_weight if number not in range(classes)]
    if unknown:
        raise ValueError(
            f"`class_weight` names classes that are not there: {unknown}; there are 0 to "
            f"{classes - 1}. Received: class_weight={dict(class_weight)!r}"
        )
    return np.array([float(class_weight.get(number, 1.0)) for number in range(classes)])
