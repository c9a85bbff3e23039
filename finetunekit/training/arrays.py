"""How do arrays become training and validation data? Checked, weighted, split, put in order."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.metadata import Task
from finetunekit.training import checks, data
from finetunekit.training.balance import sample_weights


@dataclass(frozen=True)
class Arrays:
    """Inputs, labels and sample weights, each an array, a structure of arrays, or None."""

    x: Any
    y: Any
    weights: np.ndarray | None = None

    def rows(self, rows: slice) -> "Arrays":
        """Some of the samples."""
        return Arrays(
            *(
                None if part is None else keras.tree.map_structure(lambda a: a[rows], part)
                for part in (self.x, self.y, self.weights)
            )
        )

    def parts(self) -> tuple[Any, ...]:
        """What a batch consists of."""
        given = (self.x,) if self.y is None else (self.x, self.y)
        return given if self.weights is None else (*given, self.weights)


def read(x: Any, y: Any, sample_weight: Any, model: keras.Model, task: Task | None) -> Arrays:
    """Arrays in the structure that the model takes, checked against model and task.

    Raises:
        ValueError: If they do not fit.
    """
    x = data.as_inputs(x, model)
    if y is not None:
        y = data.to_numpy(y, "y") if has_one_output(model) else _label_structure(y)
    weights = None if sample_weight is None else data.to_numpy(sample_weight, "sample_weight")
    if has_one_output(model):
        checks.check_pair(x, y, model, task)
    if weights is not None and len(weights) != len(keras.tree.flatten(x)[0]):
        raise ValueError(
            "`sample_weight` must have one weight a sample. Received: sample_weight of shape "
            f"{weights.shape} for {len(keras.tree.flatten(x)[0])} samples"
        )
    return Arrays(x, y, weights)


def has_one_output(model: keras.Model) -> bool:
    """Whether labels are one array."""
    return len(getattr(model, "outputs", None) or [None]) == 1


def _label_structure(y: Any) -> Any:
    if isinstance(y, dict):
        return {key: data.to_numpy(part, "y") for key, part in y.items()}
    return tuple(data.to_numpy(part, "y") for part in y)


def weighted(arrays: Arrays, class_weight: Any, task: Task | None) -> Arrays:
    """The same with class weights in the sample weights.

    Raises:
        ValueError: If there are no classes to weigh.
    """
    if class_weight is None:
        return arrays
    if task is None or not isinstance(arrays.y, np.ndarray):
        raise ValueError(
            "`class_weight` needs a model with one output, for classes. Give `sample_weight` "
            f"instead. Received: class_weight={class_weight!r}"
        )
    weights = sample_weights(arrays.y, class_weight, task)
    if arrays.weights is not None:
        given = arrays.weights
        weights = weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))
    return dataclasses.replace(arrays, weights=weights)


def split(arrays: Arrays, share: Any, task: Task | None) -> tuple[Arrays, Arrays]:
    """Training and validation part, cut where `model.fit` cuts: the last samples as they come.

    Raises:
        ValueError: If the share is out of range or leaves a class on one side only.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ValueError(
            "`validation_split` must be a number in (0, 1), the share of the samples to validate "
            f"on. Received: validation_split={share!r}"
        )
    count = len(keras.tree.flatten(arrays.x)[0])
    cut = math.floor(count * (1 - share))
    if cut in (0, count):
        raise ValueError(
            f"`validation_split` leaves one side of {count} samples empty. "
            f"Received: validation_split={share!r}"
        )
    train, held_out = arrays.rows(slice(cut)), arrays.rows(slice(cut, None))
    if task is not None and arrays.y is not None:
        checks.check_split(train.y, held_out.y, task, float(share))
    return train, held_out


def read_validation(validation_data: Any, model: keras.Model, task: Task | None) -> Any:
    """Validation arrays checked like training ones; datasets as they are.

    Raises:
        ValueError: If they do not fit.
    """
    if not isinstance(validation_data, (tuple, list)):
        return validation_data
    if len(validation_data) not in (2, 3):
        raise ValueError(
            "`validation_data` must be (x, y) or (x, y, sample_weight), or a dataset. "
            f"Received: validation_data with {len(validation_data)} parts"
        )
    if not data.is_array_like(validation_data[0]):
        return validation_data
    x, y, *rest = validation_data
    return read(x, y, rest[0] if rest else None, model, task).parts()
