"""The registry of task families: one file a family, one row here."""

import dataclasses
from typing import Any

import numpy as np

from finetunekit.foundation.messages import closest, listed
from finetunekit.models.metadata import Task
from finetunekit.tasks.binary import Binary
from finetunekit.tasks.family import TaskFamily
from finetunekit.tasks.multiclass import Multiclass
from finetunekit.tasks.multilabel import Multilabel
from finetunekit.tasks.regression import Regression

_families: dict[str, TaskFamily] = {}


def register(family: TaskFamily) -> None:
    """Adds a kind of task, which every function knows by its name from now on.

    Raises:
        ValueError: If the name is taken.
    """
    if family.name in _families:
        raise ValueError(
            f"There is a family of that name already; `unregister` it, or choose another name. "
            f"Received: family.name={family.name!r}"
        )
    _families[family.name] = family


def unregister(name: str) -> None:
    """Takes a kind of task away again."""
    del _families[name]


def family_of(task: Task | str) -> TaskFamily:
    """The family of a task or of a task's name.

    Raises:
        ValueError: If there is none.
    """
    name = task if isinstance(task, str) else task.name
    if name not in _families:
        raise ValueError(
            f"`task` must be one of {listed(_families)}. {closest(name, _families)}"
            f"Received: task={name!r}"
        )
    return _families[name]


def families() -> tuple[TaskFamily, ...]:
    """All of them, in the order in which they are asked."""
    return tuple(_families.values())


for _family in (Binary(), Multiclass(), Multilabel(), Regression()):
    register(_family)


def make_task(task: Any, num_classes: int | None = None, class_names: Any = None) -> Task:
    """A checked `Task` from a name or a Task, a number of classes and class names.

    Raises:
        ValueError: If the task is unknown or the numbers do not fit together.
        TypeError: If an argument is of the wrong type.
    """
    if isinstance(task, Task):
        return _checked(task, num_classes, class_names)
    if not isinstance(task, str):
        raise TypeError(
            f"`task` must be one of {listed(_families)}, or a Task. Received: task={task!r}"
        )
    family, names = family_of(task), checked_names(class_names)
    if num_classes is not None and (
        isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer))
    ):
        raise TypeError(f"`num_classes` must be an int. Received: num_classes={num_classes!r}")
    return Task(name=task, num_classes=int(family.count(num_classes, names)), class_names=names)


def _checked(task: Task, num_classes: int | None, class_names: Any) -> Task:
    """A Task that is whole, and that nothing contradicts."""
    if num_classes not in (None, task.num_classes):
        raise ValueError(
            "`num_classes` contradicts the Task given; leave it out. "
            f"Received: task={task!r}, num_classes={num_classes!r}"
        )
    names = checked_names(class_names)
    if names and task.class_names and names != tuple(task.class_names):
        raise ValueError(
            "`class_names` contradicts the Task given, whose names have another order or are "
            f"others; leave one out. Received: task={task!r}, class_names={class_names!r}"
        )
    checked = make_task(task.name, task.num_classes, names or task.class_names)
    family_of(task).check_target_scale(task)
    return dataclasses.replace(
        task, num_classes=checked.num_classes, class_names=checked.class_names
    )


def checked_names(class_names: Any) -> tuple[str, ...] | None:
    """Names of classes as a tuple.

    Raises:
        ValueError: If there are none, or one stands twice.
        TypeError: If they are not a list of strings.
    """
    if class_names is None:
        return None
    is_list = isinstance(class_names, (list, tuple, np.ndarray))
    if not is_list or not all(isinstance(name, str) for name in class_names):
        raise TypeError(
            "`class_names` must be a list of strings, in the order of the integer labels. "
            f"Received: class_names={class_names!r}"
        )
    names = tuple(str(name) for name in class_names)
    if not names:
        raise ValueError(
            "`class_names` is empty; give at least 2 names, or one a label. "
            "Received: class_names=[]"
        )
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"`class_names` must differ from each other; {listed(twice)} stand twice. "
            f"Received: class_names={class_names!r}"
        )
    return names
