"""Arrays of an old file as the weights that they are today."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from finetunekit.backbones import hdf5

Values = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def _as_it_is(parts: Sequence[Values]) -> Values:
    return parts[0]


@dataclass(frozen=True)
class Way:
    """One way to make a weight of today of what is stored.

    `data_format` is the order of axes that it belongs to, `transposed` whether it is for kernels of
    transposed convolutions; None if it is good for both.
    """

    shape: Shape
    make: Callable[[Sequence[Values]], Values] = _as_it_is
    data_format: str | None = None
    transposed: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Array:
    """A weight of today: its name, the arrays in the file that it is made of, and how.

    Where the shapes alone leave more than one way, the first that fits the layer is taken.
    """

    name: str
    keys: tuple[str, ...]
    stored: tuple[Shape, ...]
    ways: tuple[Way, ...]

    @staticmethod
    def plain(name: str, shape: Shape) -> "Array":
        """An array that is a weight as it stands."""
        return Array(name, (name,), (tuple(shape),), (Way(tuple(shape)),))

    def ways_to(self, shape: Shape, data_format: str | None, transposed: bool) -> list[Way]:
        """The ways to a weight of this shape, in a layer of this order of axes, best first."""
        fitting = [
            way
            for way in self.ways
            if way.shape == tuple(shape) and way.transposed in (None, transposed)
        ]
        suited = [way for way in fitting if way.data_format in (None, data_format)]
        return suited or fitting

    def read(self, group: h5py.Group, way: Way, name: str) -> Values:
        """The weight's value."""
        pairs = zip(self.keys, self.stored, strict=True)
        return way.make([hdf5.array(group, key, shape=shape, name=name) for key, shape in pairs])
