"""Checks of labels for a task, and of splits that leave a class on one side only."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.foundation.messages import listed, warn
from finetunekit.models.inputs import check_finite
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of, loss_name, void_label
from finetunekit.tasks.label_shapes import Shape

# A class that a random split would leave out with less than this probability is not rare: the
# data are sorted.
_SORTED = 0.01


@dataclass(frozen=True)
class Expected:
    """What the labels of a model with one output must be.

    Attributes:
        task: What they mean.
        output_shape: The shape of the output, None for the batch.
        loss: The class name of the loss, if it is one of Keras'.
        void: The label that the loss ignores, or None.
    """

    task: Task
    output_shape: Shape
    loss: str
    void: int | None

    def check(self, labels: np.ndarray) -> None:
        """Raises ValueError for labels whose shape or values do not fit."""
        family = family_of(self.task)
        if self.void is not None:
            labels = np.where(labels == self.void, np.zeros_like(labels), labels)
        labels = family.labels_for_check(labels, self.loss)
        family.check_labels(labels, self.task, self.output_shape)

    def check_shape(self, shape: Shape) -> None:
        """Raises ValueError for a shape that does not fit; None is a size that is not known."""
        family_of(self.task).check_label_shape(shape, self.task, self.output_shape)

    def surely_valid(self, labels: Any) -> Any:
        """Whether a tensor in a graph surely passes `check`, as a bool tensor or a bool."""
        if labels.shape.rank is None or None in labels.shape[1:]:
            return False  # What the family would take for one form may be another.
        if self.void is not None:
            ops = keras.ops
            labels = ops.where(ops.equal(labels, self.void), ops.zeros_like(labels), labels)
        return family_of(self.task).surely_valid(labels, self.task, self.output_shape)


def expected(model: keras.Model, task: Task | None) -> Expected | None:
    """What a model's labels must be; None if it has a loss of its own."""
    if task is None:
        return None
    output_shape, loss = (None, *model.output_shape[1:]), getattr(model, "loss", None)
    return Expected(task, output_shape, loss_name(loss), void_label(loss))


def check_labels(y: np.ndarray, model: keras.Model, task: Task | None) -> None:
    """Checks labels against the task.

    Raises:
        ValueError: If shapes or values do not fit.
    """
    check_finite(y, "y")
    wanted = expected(model, task)
    if wanted is not None:
        wanted.check(without_void(y, model))


def has_class(y: np.ndarray, model: keras.Model) -> np.ndarray | None:
    """Which labels the loss does not ignore (`ignore_class`); None if it ignores none."""
    void = void_label(getattr(model, "loss", None))
    return None if void is None else np.asarray(y != void)


def without_void(y: np.ndarray, model: keras.Model) -> np.ndarray:
    """Labels with the first class in place of those that the loss ignores.

    Raises:
        ValueError: If it ignores all of them.
    """
    counts = has_class(y, model)
    if counts is None:
        return y
    if not counts.any():
        raise ValueError(
            "`y` has no label that counts: all are the one that the loss ignores. Leave "
            f"`ignore_class` out of the loss, or give other labels. Received: y of shape {y.shape}"
        )
    return np.where(counts, y, np.zeros_like(y))


def with_class(y: np.ndarray, model: keras.Model) -> np.ndarray:
    """The labels that the loss does not ignore, in one row if it ignores some."""
    counts = has_class(y, model)
    return y if counts is None or counts.all() else y[counts]


def warn_of_one_sided(y: np.ndarray, task: Task) -> None:
    """Warns of validation labels from which a metric of the task cannot tell anything."""
    family = family_of(task)
    if not len(y) or not family.judges_both_sides:
        return
    ids = (y > 0.5).reshape(len(y), -1)
    if task.num_classes > 1:
        ids = (y > 0.5).reshape(-1, task.num_classes)
    sides = ids.mean(axis=0)
    alone = np.flatnonzero((sides == 0) | (sides == 1))
    if len(alone):
        names = [family.names(task)[number] for number in alone]
        which = "" if task.num_classes == 1 else f" for the labels {listed(names)}"
        warn(
            f"validation data hold one class only{which}: AUC cannot be told from them and counts "
            "as 0, whatever the model predicts; give validation data with both, or watch 'val_loss'"
        )


def check_split(
    train: np.ndarray, held_out: np.ndarray, task: Task, output_shape: Any, split: float
) -> None:
    """Checks that a validation split, which Keras cuts off the end, has all classes on both sides.

    Raises:
        ValueError: If a class is on one side only though a random split would have it on both.
    """
    family = family_of(task)
    if not family.can_stratify:
        return
    sides = [family.class_ids(part, task, output_shape).ravel() for part in (train, held_out)]
    ids, counts = np.unique(np.concatenate(sides), return_counts=True)
    chance = {int(c): (1 - split) ** int(n) for c, n in zip(ids, counts, strict=True)}
    absent = [[c for c in chance if c not in side] for side in sides]
    names = task.class_names or range(family.class_count(task))
    never_trained, not_held_out = ([names[c] for c in classes] for classes in absent)
    if never_trained or any(chance[c] < _SORTED for c in absent[1]):
        parts = {"validation": never_trained, "training": not_held_out}
        alone = [f"{_classes(c)} in the {part} part only" for part, c in parts.items() if c]
        raise ValueError(
            "`validation_split` takes the last samples as they come, and the data look sorted: "
            f"that would put {' and '.join(alone)}. Shuffle first, "
            "`order = np.random.default_rng(0).permutation(len(x)); x, y = x[order], y[order]`, or "
            "give `validation_data`. "
            f"Received: validation_split={split!r}"
        )
    if not_held_out:
        warn(
            f"validation_split={split}: there are so few samples of {_classes(not_held_out)} that "
            "none is in the validation part; give `validation_data` to measure them too"
        )


def _classes(names: list[Any]) -> str:
    return f"{'class' if len(names) == 1 else 'classes'} {', '.join(map(repr, names))}"
