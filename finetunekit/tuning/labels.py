"""The task that labels speak of: integers, names, rows, or measured values."""

from typing import Any

import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks import families, family_of
from finetunekit.tasks.families import checked_names, make_task


def task_of_labels(y: Any, task: Any, class_names: Any) -> tuple[Task, np.ndarray, str]:
    """The task, the labels as it takes them, and why.

    Args:
        y: Labels of any kind.
        task: `"auto"`, or what `add_head` takes.
        class_names: Names in the order of the classes, or None.

    Raises:
        ValueError: If no task fits, or only a guess would decide.
    """
    labels = np.asarray(y)
    if labels.size == 0:
        raise ValueError(f"`train` holds no labels. Received: labels of shape {labels.shape}")
    if labels.dtype.kind in "OUS":
        return _of_names(labels, task, class_names)
    if isinstance(task, Task):
        return make_task(task, None, class_names), labels, "given"
    found, why = (task, "given") if task != "auto" else _guess(labels)
    count = None if class_names is not None else family_of(found).count_in_labels(labels)
    return make_task(found, count, class_names), labels, why


def names_in_order(task: Any, class_names: Any) -> tuple[str, ...] | None:
    """The names of the classes in the order that the user set, if any: by the list or the Task.

    Raises:
        ValueError: If list and Task contradict each other, or a name stands twice.
        TypeError: If they are not a list of strings.
    """
    if isinstance(task, Task):
        return make_task(task, None, class_names).class_names
    return checked_names(class_names)


def _of_names(labels: np.ndarray, task: Any, class_names: Any) -> tuple[Task, np.ndarray, str]:
    """Names become integers in the order given, or sorted."""
    words = np.array([str(label) for label in labels.ravel()])
    ordered = names_in_order(task, class_names)
    names = ordered if ordered is not None else tuple(sorted(set(words.tolist())))
    unknown = sorted(set(words.tolist()) - set(names))
    if unknown:
        raise ValueError(
            f"`class_names` must hold every label. Received: labels {unknown[:5]} not in "
            f"class_names={ordered!r}"
        )
    if len(names) < 2:
        raise ValueError(
            f"`train` must have at least two classes to tell apart. Received: labels {names}"
        )
    kind = task
    if task == "auto":
        kind = next(family.name for family in families() if family.recognises_names(names))
    found = make_task(kind, None, names)
    family = family_of(found)
    if not family.can_stratify:
        raise ValueError(
            f"Labels that are names say one class a sample, which task {family.name!r} does not "
            "take. Give numbers, or use task 'multiclass'. "
            f"Received: task={task!r}, labels {list(names)[:5]}"
        )
    index = {name: number for number, name in enumerate(names)}
    numbers = np.array([index[word] for word in words]).reshape(labels.shape)
    return found, numbers, f"the labels are {len(names)} names"


def _guess(labels: np.ndarray) -> tuple[str, str]:
    for family in families():
        why = family.recognises_labels(labels)
        if why is not None:
            return family.name, why
    values = np.unique(labels)
    raise ValueError(
        "`task='auto'` cannot tell whether these whole numbers are classes, since they do not go "
        "from 0 without a gap, or values. Say `task='multiclass'` with labels from 0 on, or "
        f"`task='regression'`. Received: labels from {values.min()} to {values.max()}, "
        f"{len(values)} different ones"
    )
