"""Arrays as training and validation data: read, checked, weighted, split."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import batch_form, label_checks, output_labels, output_names, pipelines
from finetunekit.data.class_weights import sample_weights
from finetunekit.foundation import arguments
from finetunekit.models import inputs
from finetunekit.models.metadata import Task


@dataclass(frozen=True)
class Arrays:
    """Inputs, labels and sample weights, each an array, a structure of arrays, or None."""

    x: Any
    y: Any
    weights: Any = None

    def rows(self, rows: slice | np.ndarray) -> "Arrays":
        """Some of the samples."""
        return Arrays(
            *(
                keras.tree.map_structure(lambda a: None if a is None else a[rows], part)
                for part in (self.x, self.y, self.weights)
            )
        )

    def parts(self) -> tuple[Any, ...]:
        """What a batch consists of."""
        given = (self.x,) if self.y is None else (self.x, self.y)
        return given if self.weights is None else (*given, self.weights)


def read(
    x: Any,
    y: Any,
    sample_weight: Any,
    model: keras.Model,
    task: Task | None,
    *,
    compare: bool = True,
) -> Arrays:
    """Arrays in the structure that the model takes, checked against model and task.

    Args:
        x: Inputs.
        y: Labels, or None.
        sample_weight: Weights, or None.
        model: The model.
        task: Its task, or None if it has a loss of its own.
        compare: Whether to compare the range of the values with the input contract.

    Raises:
        ValueError: If they do not fit.
    """
    x = inputs.read(x, model, compare=compare)
    count = len(keras.tree.flatten(x)[0])
    y = output_labels.read_labels(y, model, task)
    for part in keras.tree.flatten(y):
        if part is not None and len(part) != count:
            raise ValueError(
                "`x` and `y` must hold the same number of samples. Received: x "
                f"with {count}, y with {len(part)} samples"
            )
    sample_weight = output_names.of(model).arranged(sample_weight, "sample_weight")
    return Arrays(x, y, output_labels.read_weights(sample_weight, y, count))


def weighted(arrays: Arrays, class_weight: Any, model: keras.Model, task: Task | None) -> Arrays:
    """The same with class weights in the sample weights.

    Raises:
        ValueError: If there are no classes to weight.
    """
    if class_weight is None:
        return arrays
    if task is None or not isinstance(arrays.y, np.ndarray):
        raise ValueError(
            "`class_weight` needs a model with one output, for classes. Give `sample_weight` "
            f"instead. Received: class_weight={class_weight!r}"
        )
    counts = label_checks.has_class(arrays.y, model)
    weights = sample_weights(arrays.y, class_weight, task, model.output_shape, counts)
    given = arrays.weights
    if given is not None:
        while given.ndim > weights.ndim and given.shape[-1] == 1:
            given = given[..., 0]
        weights = weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))
    return dataclasses.replace(arrays, weights=weights)


def split(
    arrays: Arrays, share: Any, model: keras.Model, task: Task | None
) -> tuple[Arrays, Arrays]:
    """Training and validation part, cut where `model.fit` cuts: the last samples as they come.

    Raises:
        ValueError: If the share is out of range or leaves a class on one side only.
    """
    what = "the share of the samples to validate on"
    share = arguments.check_number(share, "validation_split", arguments.SHARE, what)
    count = len(keras.tree.flatten(arrays.x)[0])
    cut = math.floor(count * (1 - share))
    if cut in (0, count):
        raise ValueError(
            f"`validation_split` leaves one side of {count} samples empty; choose another share, "
            f"or give `validation_data`. Received: validation_split={share!r}"
        )
    train, held_out = arrays.rows(slice(cut)), arrays.rows(slice(cut, None))
    if task is not None and arrays.y is not None:
        kept, cut_off = (label_checks.with_class(part.y, model) for part in (train, held_out))
        label_checks.check_split(kept, cut_off, task, model.output_shape, float(share))
    return train, held_out


def read_validation(
    validation_data: Any, model: keras.Model, task: Task | None, steps: int | None
) -> Any:
    """Validation arrays checked like training ones; of datasets, shapes and length.

    Raises:
        ValueError: If they do not fit.
    """
    if validation_data is None:
        return None
    if hasattr(validation_data, "shape") or (
        isinstance(validation_data, (tuple, list)) and len(validation_data) not in (2, 3)
    ):
        raise ValueError(
            "`validation_data` must be (x, y) or (x, y, sample_weight), or a dataset. "
            f"Received: validation_data={type(validation_data).__name__}"
        )
    if isinstance(validation_data, (tuple, list)) and inputs.is_array_like(validation_data[0]):
        x, y, *rest = validation_data
        weights = rest[0] if rest else None
        try:
            held_out = read(x, y, weights, model, task, compare=False)
        except (ValueError, TypeError) as error:
            raise type(error)(f"In `validation_data`: {error}") from error
        # Their size is compared with that of the training data, by who reads both.
        flat = keras.tree.flatten(held_out.x)
        if len(flat) == 1:
            inputs.compare_range(flat[0], model)
        return held_out.parts()
    if not isinstance(validation_data, (tuple, list)):
        pipelines.check_length(validation_data, steps, "validation_data", "validation_steps")
        pipelines.check(validation_data, model, "validation_data", labelled=task is not None)
        form = batch_form.of(model, task, "validation_data")
        batch_form.check(form, pipelines.shown_batch(validation_data))
    return validation_data
