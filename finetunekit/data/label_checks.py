"""Checks of labels for a task, and of splits that leave a class on one side only."""

from typing import Any

import keras
import numpy as np

from finetunekit.foundation.messages import warn
from finetunekit.models.inputs import check_finite
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of, loss_name

# A class that a random split would leave out with less than this probability is not rare: the
# data are sorted.
_SORTED = 0.01


def check_labels(y: np.ndarray, model: keras.Model, task: Task | None) -> None:
    """Checks labels against the task.

    Raises:
        ValueError: If shapes or values do not fit.
    """
    check_finite(y, "y")
    if task is not None:
        family = family_of(task)
        labels = family.labels_for_check(y, loss_name(getattr(model, "loss", None)))
        family.check_labels(labels, task, (None, *model.output_shape[1:]))


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
        raise ValueError(
            "`validation_split` takes the last samples as they come, and the data look sorted: "
            f"classes {never_trained} would be in the validation part only, {not_held_out} in the "
            "training part only. Shuffle first, `order = np.random.default_rng(0)"
            ".permutation(len(x)); x, y = x[order], y[order]`, or give `validation_data`. "
            f"Received: validation_split={split!r}"
        )
    if not_held_out:
        warn(
            f"validation_split={split}: classes {not_held_out} have so few samples that none is in "
            "the validation part; give `validation_data` to measure them too"
        )
