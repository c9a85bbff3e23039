"""Weights of Keras 1: names such as `dense_1_W`, one array for each gate, kernels of Theano."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.keras2.stored import Array, Shape, Values, Way
from finetunekit.models import graph

NOTE = "its kernels were stored as (outputs, inputs, rows, columns)"

# What a weight was called -> what it is called today. The statistic was called a deviation, and
# is a variance.
_NAMES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "alphas": "alpha",
    "beta": "beta",
    "depthwise_kernel": "depthwise_kernel",
    "gamma": "gamma",
    "pointwise_kernel": "pointwise_kernel",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
# Gates in today's order; Keras 1 stored those of LSTM in another.
_GATES = ("ifco", "zrh")
_NAME = re.compile(
    rf"(?P<owner>.+)_(?P<weight>{'|'.join(_NAMES)})(?:_(?P<gate>[ifcozrh]))?(?:_\d+)?(?::0)?"
)


def is_spelled(names: Sequence[str]) -> bool:
    """Whether all weights of a layer are named as Keras 1 did."""
    return bool(names) and all(_NAME.fullmatch(name) for name in names)


def by_theano(names: Sequence[str]) -> bool:
    """Whether Keras 1 wrote these names with Theano: TensorFlow appends `:0`."""
    return not any(name.endswith(":0") for name in names)


def today(layer: keras.layers.Layer, names: Sequence[str], shapes: Sequence[Shape]) -> list[Array]:
    """The arrays of a layer under names of today, gates joined.

    Args:
        layer: The layer or model that they are meant for.
        names: The stored names, as `is_spelled` accepts them.
        shapes: The stored shapes.
    """
    joined: dict[tuple[str, str], dict[str, tuple[str, Shape]]] = {}
    matches = [found for name in names if (found := _NAME.fullmatch(name))]
    for name, found, shape in zip(names, matches, shapes, strict=True):
        place = joined.setdefault((found["owner"], found["weight"]), {})
        # A second weight of equal name is one of its own.
        gate = found["gate"] or ""
        place[gate if gate not in place else name] = (name, tuple(shape))
    embeddings = _embeddings(layer)
    arrays = []
    for (owner, weight), parts in joined.items():
        new = _NAMES[weight]
        if new == "kernel" and (owner in embeddings or re.fullmatch(r"embedding_\d+", owner)):
            new = "embeddings"
        order = next((gates for gates in _GATES if set(parts) == set(gates)), None)
        if order:
            arrays.append(_array(f"{owner}/{new}", [parts[gate] for gate in order]))
        else:
            arrays += [_array(f"{owner}/{new}", [part]) for part in parts.values()]
    return arrays


def _embeddings(layer: keras.layers.Layer) -> set[str]:
    """Names of Embedding layers, whose table was called a kernel."""
    found = [x for x in graph.with_descendants([layer]) if isinstance(x, keras.layers.Embedding)]
    return {x.name for x in found}


def _array(name: str, parts: list[tuple[str, Shape]]) -> Array:
    keys, shapes = zip(*parts, strict=True)
    ways = [
        Way((*shape[:-1], shape[-1] * len(parts)), _Joined(axes), data_format, transposed, note)
        for axes, data_format, transposed in _orders(name.rsplit("/", 1)[-1], len(shapes[0]))
        if (shape := _moved(shapes[0], axes)) is not None
        for note in [NOTE if data_format == "channels_first" else ""]
    ]
    return Array(name, tuple(keys), tuple(shapes), tuple(ways))


# How a kernel's axes are to be taken, for which data format, and whether in a transposed
# convolution. Those of Theano's order stood as (outputs, inputs, rows, columns); a kernel in one
# dimension had a second of length 1, which is left out.
_Order = tuple[tuple[int, ...] | None, str | None, bool | None]
_ORDERS: dict[int, list[_Order]] = {
    4: [
        (None, "channels_last", False),
        ((2, 3, 1, 0), "channels_first", False),
        ((0, 1, 3, 2), "channels_last", True),
        ((2, 3, 0, 1), "channels_first", True),
        ((0, 2, 3), None, False),
        ((2, 1, 0), None, False),
    ],
    5: [(None, "channels_last", False), ((2, 3, 4, 1, 0), "channels_first", False)],
}


def _orders(weight: str, rank: int) -> list[_Order]:
    is_kernel = weight in ("kernel", "recurrent_kernel")
    return _ORDERS.get(rank, [(None, None, None)]) if is_kernel else [(None, None, None)]


def _moved(shape: Shape, axes: tuple[int, ...] | None) -> Shape | None:
    """The shape with its axes in that order; None if one that is left out is longer than 1."""
    if axes is None:
        return shape
    left_out = set(range(len(shape))) - set(axes)
    return None if any(shape[axis] != 1 for axis in left_out) else tuple(shape[a] for a in axes)


class _Joined:
    """Gates with their axes in today's order, side by side."""

    def __init__(self, axes: tuple[int, ...] | None) -> None:
        self.axes = axes

    def __call__(self, parts: Sequence[Values]) -> Values:
        return np.concatenate([self._moved(part) for part in parts], axis=-1)

    def _moved(self, part: Values) -> Any:
        if self.axes is None:
            return part
        moved = _moved(part.shape, self.axes)
        dropped = tuple(set(range(part.ndim)) - set(self.axes))
        return np.transpose(part, (*self.axes, *dropped)).reshape(moved)
