"""Which tasks are there, and what belongs to each? One file a family, one row here."""

import dataclasses
from typing import Any, Protocol

import keras
import numpy as np

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed
from finetunekit.models.metadata import Task
from finetunekit.tasks import binary, multiclass, multilabel, regression
from finetunekit.tasks.label_shapes import Shape


class Family(Protocol):
    """What a family's file has; those that decide between classes also have `Classifying`."""

    ACTIVATION: str | None
    MONITOR: str

    def loss(
        self, task: Task, from_logits: bool, label_smoothing: float = 0.0
    ) -> keras.losses.Loss:
        """The loss that `compile_for_task` picks."""

    def metrics(self, task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
        """The metrics that `compile_for_task` picks."""

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """Raises ValueError for labels that the task cannot mean beside such an output."""


class Classifying(Family, Protocol):
    """What a family of classes has besides."""

    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """Labels to class numbers."""

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        """Model outputs to probabilities, one column a class."""


CLASSIFYING: dict[str, Classifying] = {
    "binary": binary,
    "multiclass": multiclass,
    "multilabel": multilabel,
}
FAMILIES: dict[str, Family] = {**CLASSIFYING, "regression": regression}


def make_task(task: Any, num_classes: int | None = None, class_names: Any = None) -> Task:
    """A checked `Task` from a name or a Task, a number of classes and class names.

    Raises:
        ValueError: If the task is unknown or the numbers do not fit together.
        TypeError: If an argument is of the wrong type.
    """
    if isinstance(task, Task):
        if num_classes not in (None, task.num_classes):
            raise ValueError(
                "`num_classes` contradicts the Task given; leave it out. "
                f"Received: task={task!r}, num_classes={num_classes!r}"
            )
        checked = make_task(task.name, task.num_classes, class_names or task.class_names)
        return dataclasses.replace(checked, one_hot=task.one_hot)
    if not isinstance(task, str):
        raise TypeError(
            f"`task` must be one of {listed(FAMILIES)}, or a Task. Received: task={task!r}"
        )
    arguments.check_choice(task, "task", FAMILIES)
    names = _names(class_names)
    count = _count(task, num_classes, names)
    return Task(name=task, num_classes=count, class_names=names)


def _names(class_names: Any) -> tuple[str, ...] | None:
    if class_names is None:
        return None
    is_list = isinstance(class_names, (list, tuple, np.ndarray))
    if not is_list or not all(isinstance(name, str) for name in class_names):
        raise TypeError(
            "`class_names` must be a list of strings, in the order of the class numbers. "
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


def _count(task: str, num_classes: Any, names: tuple[str, ...] | None) -> int:
    if num_classes is not None and (
        isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer))
    ):
        raise TypeError(f"`num_classes` must be an int. Received: num_classes={num_classes!r}")
    expected = None if names is None else (1 if task == "binary" else len(names))
    if task == "binary" and names is not None and len(names) != 2:
        raise ValueError(
            "`class_names` must be two names for task 'binary', the negative class first. "
            f"Received: class_names={names!r}"
        )
    if num_classes is None:
        num_classes = expected if expected is not None else _default_count(task)
    if task == "binary" and num_classes != 1:
        raise ValueError(
            "Task 'binary' has one output. Leave `num_classes` out, or use task 'multiclass' for "
            f"{num_classes} classes. Received: num_classes={num_classes!r}"
        )
    smallest = 2 if task == "multiclass" else 1
    if num_classes < smallest:
        remedy = "For yes or no use task 'binary'. " if task == "multiclass" else ""
        raise ValueError(
            f"`num_classes` must be at least {smallest} for task {task!r}. {remedy}"
            f"Received: num_classes={num_classes!r}"
        )
    if expected is not None and num_classes != expected:
        raise ValueError(
            "`num_classes` must equal the number of `class_names`, or be left out. "
            f"Received: num_classes={num_classes!r}, class_names={names!r}"
        )
    return int(num_classes)


def _default_count(task: str) -> int:
    if task in ("binary", "regression"):
        return 1
    raise ValueError(
        f"Task {task!r} needs `num_classes` (how many), or `class_names`. "
        "Received: num_classes=None"
    )
