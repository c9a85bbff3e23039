"""The L2-SP penalty: the distance of weights from where they started."""

from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed
from finetunekit.models import graph, metadata, weight_pairs

ops = keras.ops


class StartPull(keras.regularizers.Regularizer):
    """`strength * sum((w - start) ** 2)`, for one variable.

    No file holds it: its config would have to hold the weights once more.
    """

    def __init__(self, strength: float, start: Any) -> None:
        self.strength = strength
        # A tensor is handed to traced functions by reference; an array would be copied into them.
        self._start = ops.convert_to_tensor(start)

    def __call__(self, x: Any) -> Any:
        """The penalty."""
        return self.strength * ops.sum(ops.square(x - self._start))


def starts_of(model: keras.Model, start: Any) -> dict[int, np.ndarray]:
    """`id(variable)` -> where it started, for the variables that have a pretrained start.

    Args:
        model: The model.
        start: A model that has the starting weights; None for the model's own as they are now,
            those of the task's head left out.

    Raises:
        TypeError: If `start` is not a model.
        ValueError: If it is a model of other layers.
    """
    if start is not None:
        pairs = weight_pairs.weights(model, start, "start")
        found = {id(mine): _values(theirs) for mine, theirs in pairs}
    else:
        kernels = [v for place in graph.leaves(model) for v in keras_internals.kernels(place.layer)]
        found = {id(variable): _values(variable) for variable in kernels}
    return {key: value for key, value in found.items() if key not in _new(model)}


def _new(model: keras.Model) -> set[int]:
    """The variables of the task's head, which were drawn at random."""
    head = metadata.of(model).head
    return set() if head is None else {id(v) for v in head.weights}


def _values(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable))


def with_start(
    model: keras.Model, layers: list[Any], starts: dict[int, Any], given: Any
) -> list[keras.layers.Layer]:
    """Those of the layers whose kernels, or those of layers inside of them, have a start.

    Raises:
        ValueError: If there are none.
    """

    def has_start(layer: keras.layers.Layer) -> bool:
        inner = graph.with_descendants([layer])
        return any(id(v) in starts for one in inner for v in keras_internals.kernels(one))

    found = [layer for layer in layers if has_start(layer)]
    if not found:
        possible = [place.path for place in graph.leaves(model) if has_start(place.layer)]
        raise ValueError(
            "`layers` matches no layer that `l2_sp` could pull to pretrained weights; the head was "
            f"drawn at random, use `l2` for it. Layers with a start are: "
            f"{listed(possible) or 'none'}. Received: layers={given!r}"
        )
    return found
