"""Statistics of BatchNormalization, estimated anew for other weights."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from finetunekit.foundation import patches
from finetunekit.models import graph, inputs

Norm = keras.layers.BatchNormalization


def norms(model: keras.Model) -> list[Any]:
    """The BatchNormalization layers of a model, in their order."""
    return [place.layer for place in graph.walk(model) if isinstance(place.layer, Norm)]


def estimate(model: keras.Model, layers: list[Any], x: Any, batch_size: int) -> None:
    """Gives layers the mean statistics of the batches of the data, in place.

    Everything else runs as at inference, Dropout included. Variances are means of those of the
    batches, as in training, so batches should be of the size that was trained with.

    Args:
        model: The model.
        layers: Which of its layers.
        x: Inputs as `fit` takes them, or a dataset whose first part they are.
        batch_size: Samples a batch, for arrays.
    """
    seen = 0
    with contextlib.ExitStack() as stack:
        for layer in layers:
            # A frozen one does not look at its batch.
            stack.enter_context(patches.exchange(layer, "trainable", True))
            stack.enter_context(patches.patch(layer, "call", _on_batch))
        for batch in _batches(model, x, batch_size):
            count = len(keras.tree.flatten(batch)[0])
            with contextlib.ExitStack() as one_batch:
                for layer in layers:
                    momentum = patches.exchange(layer, "momentum", seen / (seen + count))
                    one_batch.enter_context(momentum)
                model(batch, training=False)
            seen += count


def _on_batch(call: Any) -> Any:
    def with_batch_statistics(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return call(inputs, training=True, mask=mask)

    return with_batch_statistics


def _batches(model: keras.Model, x: Any, size: int) -> Iterator[Any]:
    if not inputs.is_array_like(x):
        for batch in x:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
        return
    arrays = inputs.read(x, model, compare=False)
    count = len(keras.tree.flatten(arrays)[0])
    for first in range(0, count, size):
        yield keras.tree.map_structure(lambda a, first=first: a[first : first + size], arrays)
