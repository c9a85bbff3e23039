"""The task that labels speak of: integers, names, rows, or measured values."""

from typing import Any

import numpy as np

from finetunekit.models import tables
from finetunekit.models.metadata import Task
from finetunekit.tasks import families, family_of
from finetunekit.tasks.families import checked_names, make_task


def task_of_labels(
    y: Any, task: Any, class_names: Any, name: str = "train"
) -> tuple[Task, np.ndarray, str]:
    """The task, the labels as it takes them, and why.

    Args:
        y: Labels of any kind.
        task: `"auto"`, or what `add_head` takes.
        class_names: Names in the order of the classes, or None.
        name: The argument that they were given in.

    Raises:
        ValueError: If labels are missing, no task fits, or only a guess would decide.
    """
    labels = _read(y, name)
    if labels.dtype.kind in "OU":
        return _of_names(labels, task, class_names, name)
    if isinstance(task, Task):
        return make_task(task, None, class_names), labels, "given"
    found, why = (task, "given") if task != "auto" else _guess(labels)
    count = None if class_names is not None else family_of(found).count_in_labels(labels)
    return make_task(found, count, class_names), labels, why


def _read(y: Any, name: str) -> np.ndarray:
    """Labels as an array: of numbers if they are numbers, of text if any of them is text.

    Raises:
        ValueError: If there are none, or some are missing.
    """
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must have labels of one form; these are lists of different lengths. For "
            "several classes a sample give a row of 0 and 1 for each, one column a class. "
            f"Received: {name} with labels of type {type(y).__name__}"
        ) from error
    if labels.size == 0:
        raise ValueError(f"`{name}` holds no labels. Received: labels of shape {labels.shape}")
    if labels.dtype.kind in "OS":  # TensorFlow gives texts as bytes.
        texts = [v.decode() if isinstance(v, bytes) else v for v in labels.ravel().tolist()]
        labels = np.array(texts, dtype=object).reshape(labels.shape)
    holes = tables.missing_in(labels)
    if labels.dtype.kind in "OU":
        holes |= np.array([str(value).strip() == "" for value in labels.flat]).reshape(holes.shape)
    if holes.any():
        rows = np.flatnonzero(holes.reshape(len(holes), -1).any(axis=1))
        raise ValueError(
            f"`{name}` has samples without a label, which would be taken for one more class: "
            f"{tables.rows_text(rows)}. Give them labels, or drop them: "
            "`x, y = np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)`. "
            f"Received: {name} with label {labels[holes][0]!r} in row {rows[0]}"
        )
    return tables.as_numbers(labels, name)


def names_in_order(task: Any, class_names: Any) -> tuple[str, ...] | None:
    """The names of the classes in the order that the user set, if any: by the list or the Task.

    Raises:
        ValueError: If list and Task contradict each other, or a name stands twice.
        TypeError: If they are not a list of strings.
    """
    if isinstance(task, Task):
        return make_task(task, None, class_names).class_names
    return checked_names(class_names)


def _of_names(
    labels: np.ndarray, task: Any, class_names: Any, name: str
) -> tuple[Task, np.ndarray, str]:
    """Names become integers in the order given, or sorted."""
    words = np.array([str(label) for label in labels.ravel()])
    ordered = names_in_order(task, class_names)
    names = ordered if ordered is not None else tuple(sorted(set(words.tolist())))
    unknown = sorted(set(words.tolist()) - set(names))
    if unknown:
        what = "`class_names` must hold every label"
        if name != "train":
            what = f"The classes of `train` must hold every label of `{name}`"
        raise ValueError(f"{what}. Received: labels {unknown[:5]} not in class_names={ordered!r}")
    if len(names) < 2:
        raise ValueError(
            f"`{name}` must have at least two classes to tell apart. Received: labels {names}"
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
        "`task='auto'` cannot tell whether these whole numbers are classes or values: it takes "
        "integers from 0 without a gap, each for several samples, for classes. Say "
        "`task='multiclass'` with labels from 0 on, or `task='regression'`. Received: labels of "
        f"dtype {labels.dtype} from {values.min()} to {values.max()}, {len(values)} different ones "
        f"of {labels.size:,}"
    )
