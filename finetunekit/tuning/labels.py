"""Which task do the labels speak of? Class numbers, names, rows, or measured values."""

from typing import Any

import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks.families import make_task

_MOST_CLASSES = 1000


def task_of_labels(y: Any, task: Any, class_names: Any) -> tuple[Task, np.ndarray, str]:
    """The task, the labels as it takes them, and why.

    Args:
        y: Labels of any kind.
        task: `"auto"`, or what `add_head` takes.
        class_names: Names that the user gave, or None.

    Raises:
        ValueError: If no task fits, or only a guess would decide.
    """
    labels = np.asarray(y)
    if labels.size == 0:
        raise ValueError(f"`train` holds no labels. Received: labels of shape {labels.shape}")
    if labels.dtype.kind in "OUS":
        labels, names, why = _numbers(labels, class_names)
        kind = _named(task) or ("binary" if len(names) == 2 else "multiclass")
        return make_task(kind, None, names), labels, why
    if isinstance(task, Task):
        return task, labels, "given"
    named = _named(task)
    found, why = (named, "given") if named is not None else _guess(labels)
    return make_task(found, _count(found, labels, class_names), class_names), labels, why


def _named(task: Any) -> str | None:
    if isinstance(task, Task):
        return task.name
    return None if task == "auto" else task


def _numbers(labels: np.ndarray, class_names: Any) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Class numbers of names, in the order given, or sorted."""
    words = np.array([str(label) for label in labels.ravel()])
    names = tuple(class_names) if class_names is not None else tuple(sorted(set(words.tolist())))
    unknown = sorted(set(words.tolist()) - set(names))
    if unknown:
        raise ValueError(
            f"`class_names` must hold every label. Received: labels {unknown[:5]} not in "
            f"class_names={class_names!r}"
        )
    if len(names) < 2:
        raise ValueError(
            f"`train` must have at least two classes to tell apart. Received: labels {names}"
        )
    index = {name: number for number, name in enumerate(names)}
    numbers = np.array([index[word] for word in words]).reshape(labels.shape)
    return numbers, names, f"the labels are {len(names)} names"


def _guess(labels: np.ndarray) -> tuple[str, str]:
    values = np.unique(labels)
    whole = bool(np.all(values == np.round(values)))
    wide = labels.ndim > 1 and labels.shape[-1] > 1
    if wide and set(values.tolist()) <= {0, 1}:
        one = bool(np.all(labels.sum(axis=-1) == 1))
        return (
            ("multiclass", "each row of 0 and 1 has one 1")
            if one
            else ("multilabel", "rows of 0 and 1 have several 1s, or none")
        )
    if wide or not whole:
        return "regression", "the labels are no whole numbers"
    if values.tolist() == [0, 1]:
        return "binary", "the labels are 0 and 1"
    if values.min() == 0 and len(values) == values.max() + 1 and len(values) <= _MOST_CLASSES:
        return "multiclass", f"the labels are the numbers 0 to {int(values.max())}"
    raise ValueError(
        "`task='auto'` cannot tell whether these whole numbers are classes, since they do not go "
        "from 0 without a gap, or values. Say `task='multiclass'` with labels from 0 on, or "
        f"`task='regression'`. Received: labels from {values.min()} to {values.max()}, "
        f"{len(values)} different ones"
    )


def _count(task: Any, labels: np.ndarray, class_names: Any) -> int | None:
    """How many outputs; None where the names or the task say so."""
    if class_names is not None or task == "binary":
        return None
    wide = labels.ndim > 1 and labels.shape[-1] > 1
    if wide:
        return int(labels.shape[-1])
    return int(labels.max()) + 1 if task == "multiclass" else None
