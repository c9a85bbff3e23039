"""In which batches and in which order does `model.fit` get arrays?"""

import functools
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from finetunekit.caching.options import Settings
from finetunekit.data import arrays
from finetunekit.data.order import Order, OrderedBatches, epoch_order
from finetunekit.execution.feature_fit import BATCH_SIZE
from finetunekit.execution.samples import Samples
from finetunekit.foundation.messages import say
from finetunekit.text import lengths as text_lengths


def order_of(
    samples: int, options: dict[str, Any], shuffle: bool, seed: int | None
) -> Order | None:
    """Epoch -> the order of the samples; None if they stay as they are, or Keras orders them."""
    if shuffle and options.get("steps_per_epoch") is not None:
        say("with steps_per_epoch the order of arrays is left to Keras, which may repeat it")
        return None
    if not shuffle:
        return None
    # An order, not a secret.
    return functools.partial(
        epoch_order, samples, random.randrange(2**32) if seed is None else seed
    )


def array_options(
    model: keras.Model,
    train: arrays.Arrays,
    options: dict[str, Any],
    shuffle: bool,
    order: Order | None,
    settings: Settings,
) -> dict[str, Any]:
    """How `model.fit` gets the arrays: as they are, in our order, or texts by their length."""
    if settings.cache is not False and options.get("steps_per_epoch") is None:
        lengths = text_lengths.of(model, train.x)
        if lengths is not None:
            return _options_by_length(model, train, lengths, options, order)
    if order is None:
        return {"x": train.x, "y": train.y, "sample_weight": train.weights, "shuffle": shuffle}
    size = options["batch_size"] or BATCH_SIZE
    return ordered(OrderedBatches(train.parts(), size, order, options["initial_epoch"]), options)


def ordered(batches: OrderedBatches, options: dict[str, Any]) -> dict[str, Any]:
    """How `model.fit` gets batches of ours."""
    return {
        "x": batches,
        "shuffle": False,
        "batch_size": None,
        "validation_batch_size": _validation_size(options),
    }


def _validation_size(options: dict[str, Any]) -> int | None:
    """As Keras takes it; without either it makes batches out of `validation_steps`, or of 32."""
    return options.get("validation_batch_size") or options["batch_size"]


def _options_by_length(
    model: keras.Model,
    train: arrays.Arrays,
    lengths: np.ndarray,
    options: dict[str, Any],
    order: Order | None,
) -> dict[str, Any]:
    """Batches no longer than their longest text, of texts of like length if they are shuffled."""
    size = options["batch_size"] or BATCH_SIZE

    def batched(epoch: int) -> np.ndarray:
        if order is None:
            return np.arange(len(lengths))
        return text_lengths.batched(order(epoch), lengths, size)

    first = options["initial_epoch"]
    found = {
        "x": text_lengths.ByLength(train.parts(), lengths, size, batched, first),
        "shuffle": False,
        "batch_size": None,
        "validation_batch_size": _validation_size(options),
    }
    held_out = options.get("validation_data")
    if isinstance(held_out, tuple) and options.get("validation_steps") is None:
        its_lengths = text_lengths.of(model, held_out[0])
        if its_lengths is not None:
            each = options.get("validation_batch_size") or size
            found["validation_data"] = text_lengths.ByLength(held_out, its_lengths, each)
    return found


def batch_of(
    options: dict[str, Any], source: Any
) -> Callable[[int, int], tuple[np.ndarray, Any] | None] | None:
    """How to get a batch of the running epoch by number; None if that is not known.

    It gives the numbers of the samples, and inputs, labels and weights.
    """
    if isinstance(source, Samples):
        return source.batch
    x, size = options["x"], options["batch_size"] or BATCH_SIZE
    if isinstance(x, (OrderedBatches, text_lengths.ByLength)):
        return lambda epoch, number: (x.rows(number), x[number])
    if options.get("y") is None:
        return None
    whole = arrays.Arrays(x, options["y"], options["sample_weight"])
    numbers = np.arange(len(keras.tree.flatten(x)[0]))

    def batch(epoch: int, number: int) -> tuple[np.ndarray, Any]:
        rows = numbers[number * size : (number + 1) * size]
        return rows, whole.rows(rows).parts()

    return batch
