"""From the data as the user gave them to batches: read, checked and tokenized, once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import (
    arrays,
    batch_checks,
    batch_form,
    label_checks,
    mixing,
    pipeline_batches,
    pipelines,
    weight_checks,
)
from finetunekit.data.array_batches import ArrayBatches, Cutting, MixedArrayBatches, TextBatches
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import Batches
from finetunekit.data.class_weights import check_pipeline_weights
from finetunekit.data.order import drawn_seed
from finetunekit.foundation.messages import say
from finetunekit.models import inputs
from finetunekit.models.metadata import Task
from finetunekit.text import lengths as text_lengths

_HELD_OUT = "validation samples"


@dataclass(frozen=True, kw_only=True)
class Given:
    """The data as the user gave them, and how they are to be batched.

    Attributes:
        x: Inputs, or a dataset.
        y: Labels, if `x` is arrays.
        sample_weight: A weight for each sample, or None.
        class_weight: `"balanced"`, integer label -> weight, or None.
        split: The share of the samples to validate on.
        validation: `(x, y)` or a dataset to validate on, or None.
        mix: Layers that mix the samples of a training batch.
        shuffle: Whether the order changes from epoch to epoch.
        seed: Seed of that order; None to draw one.
        size: Samples in a batch; None for Keras' number.
        steps: Batches in an epoch, if the user gave it.
        validation_size: Samples in a batch of validation arrays, or None.
        validation_steps: Batches of a validation, if the user gave it.
        by_length: Whether batches of texts may be cut to their longest.
        deterministic: Whether each epoch is said to have the same batches.
    """

    x: Any
    y: Any
    sample_weight: Any
    class_weight: Any
    split: Any
    validation: Any
    mix: Sequence[Any]
    shuffle: bool
    seed: int | None
    size: int | None
    steps: int | None
    validation_size: int | None
    validation_steps: int | None
    by_length: bool
    deterministic: bool


def read(given: Given, model: keras.Model, task: Task | None) -> tuple[Batches, Batches | None]:
    """Training and validation data; nothing is drawn from a pipeline.

    Args:
        given: The data.
        model: The model that they are for.
        task: Its task, or None if it has a loss of its own.

    Raises:
        ValueError: If data, model and options do not fit together.
    """
    if given.split and given.validation is not None:
        raise ValueError(
            "`validation_split` and `validation_data` both say what to validate on; give one. "
            f"Received: validation_split={given.split!r}"
        )
    if given.mix:
        unfit = {
            "sample_weight": given.sample_weight,
            "class_weight": given.class_weight,
            "steps_per_epoch": given.steps,
        }
        mixing.check(model, given.x, task, unfit)
    held_out = arrays.read_validation(given.validation, model, task, given.validation_steps)
    if inputs.is_array_like(given.x) or isinstance(given.x, (str, bytes, os.PathLike)):
        train, validation = _arrays(given, held_out, model, task)
    else:
        train = _pipeline(given, model, task)
        validation = _validation(given, held_out, model, task)
    if validation is not None and not given.split:
        batch_checks.warn_of_other_size(model, train.spec[0], validation.spec[0])
    return train, validation


def _arrays(
    given: Given, held_out: Any, model: keras.Model, task: Task | None
) -> tuple[Batches, Batches | None]:
    train = arrays.read(given.x, given.y, given.sample_weight, model, task, compare=False)
    batch_checks.warn_of(model, train.x, task, train.y)
    if given.split:
        train, last = arrays.split(train, given.split, model, task)
        held_out = last.parts()
    if given.mix and task is not None:
        train, held_out = mixing.prepared(train, held_out, task, model)
    # After the split, since Keras does not weight validation by class.
    train = arrays.weighted(train, given.class_weight, model, task)
    weight_checks.check(model, train.weights, train.y)
    weight_checks.warn_of_zeros(train.weights, model)
    batches = _batched(train, given, model)
    by_length = isinstance(batches, TextBatches)
    return batches, _validation(given, held_out, model, task, by_length=by_length)


def _batched(train: Arrays, given: Given, model: keras.Model) -> ArrayBatches:
    """Batches of arrays: mixed, of texts of like length, or as they come."""
    ours = given.steps is None
    if given.shuffle and not ours:
        say("with steps_per_epoch the order of arrays is left to Keras, which may repeat it")
    cutting = Cutting(
        size=given.size,
        seed=drawn_seed(given.seed) if given.shuffle and ours else None,
        keras_steps=given.steps,
        keras_shuffles=given.shuffle,
    )
    if given.mix:
        return MixedArrayBatches(train, given.mix, cutting)
    return _by_length(train, model, cutting, allowed=given.by_length and ours)


def _by_length(
    read: Arrays, model: keras.Model, cutting: Cutting, *, allowed: bool
) -> ArrayBatches:
    """Batches of texts of like length, if these are texts and it is allowed."""
    lengths = text_lengths.of(model, read.x) if allowed else None
    return ArrayBatches(read, cutting) if lengths is None else TextBatches(read, lengths, cutting)


def _pipeline(given: Given, model: keras.Model, task: Task | None) -> Batches:
    pipelines.check_alone(given.x, given.y, given.split, given.sample_weight)
    check_pipeline_weights(given.class_weight, task)
    pipelines.check_length(given.x, given.steps, "x", "steps_per_epoch")
    pipelines.check(given.x, model, "x", labelled=task is not None)
    form = batch_form.of(model, task, "x")
    batch_form.check(form, pipelines.shown_batch(given.x))
    if given.deterministic:
        pipelines.check_whole_epochs(given.x, given.steps)
    batches = pipeline_batches.of(
        given.x,
        steps=given.steps,
        class_weight=given.class_weight,
        shuffle=given.shuffle,
        form=form,
    )
    batch = batches.spec[0]
    weight_checks.check(model, given.x, batches.spec[1], class_weight=given.class_weight)
    # Nothing is drawn from a tf.data pipeline, which tells its shapes only.
    known = batch is not None and all(hasattr(p, "__getitem__") for p in keras.tree.flatten(batch))
    batch_checks.warn_of(model, inputs.read(batch, model, compare=False) if known else None)
    if not known:
        batch_checks.warn_of_size(model, batch, "x")
    return batches


def _check_held_out(read: Arrays, model: keras.Model, task: Task | None) -> None:
    """Says of validation arrays what loss and metrics cannot do with them."""
    weight_checks.check(model, read.weights, read.y)
    weight_checks.warn_of_zeros(read.weights, model, _HELD_OUT)
    if task is not None and isinstance(read.y, np.ndarray):
        label_checks.warn_of_one_sided(read.y, task)


def _validation(
    given: Given, held_out: Any, model: keras.Model, task: Task | None, *, by_length: bool = False
) -> Batches | None:
    """Validation data that `arrays.read_validation` has read already."""
    if held_out is None:
        return None
    steps = given.validation_steps
    if not isinstance(held_out, tuple):
        form = batch_form.of(model, task, "validation_data")
        batches = pipeline_batches.of(held_out, steps=steps, kind=_HELD_OUT, form=form)
        weight_checks.check(model, held_out, batches.spec[1])
        return batches
    read = Arrays(*held_out)
    _check_held_out(read, model, task)
    cutting = Cutting(size=given.validation_size, keras_steps=steps, kind=_HELD_OUT)
    return _by_length(read, model, cutting, allowed=by_length and steps is None)
