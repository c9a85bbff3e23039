"""What the program that wrote a file stored otherwise: Theano, cuDNN, Keras 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import keras

from finetunekit.backbones import hdf5
from finetunekit.backbones.keras2 import cudnn, keras1_weights, theano
from finetunekit.backbones.keras2.stored import Array, Shape, Values, Way
from finetunekit.models import graph


@dataclass(frozen=True)
class Written:
    """The program that wrote a file, as far as the file says so."""

    keras: str = ""
    backend: str | None = None

    @staticmethod
    def read(
        groups: Sequence[h5py.Group], name: str, otherwise: tuple[str, str | None] = ("", None)
    ) -> "Written":
        """Reads the attributes of the first group that has them; else what is known otherwise."""
        found = [
            next((text for group in groups if (text := _text(group, key, name))), None)
            for key in ("keras_version", "backend")
        ]
        return Written(found[0] or otherwise[0], found[1] or otherwise[1])


def _text(group: h5py.Group, key: str, name: str) -> str | None:
    return hdf5.attribute_text(group, key, name=name)


class LayerArrays:
    """The arrays stored for one layer, as weights of today."""

    def __init__(
        self,
        layer: keras.layers.Layer,
        names: Sequence[str],
        shapes: Sequence[Shape],
        written: Written,
    ) -> None:
        """Finds out what has to be done to which of them.

        Args:
            layer: The built layer or model that they are meant for.
            names: The stored names, such as `"conv1/kernel:0"`.
            shapes: The stored shapes.
            written: What wrote the file.
        """
        old = written.keras in ("", "1") or written.keras.startswith("1.")
        self.by_theano = written.backend == "theano"
        if old and keras1_weights.is_spelled(names):
            arrays = keras1_weights.today(layer, names, shapes)
            self.by_theano |= written.backend is None and keras1_weights.by_theano(names)
        else:
            arrays = [Array.plain(*pair) for pair in zip(names, shapes, strict=True)]
        self.arrays = cudnn.today(arrays, _last)
        self._mirrored = theano.mirrored(layer) if self.by_theano else set()
        self._layers = graph.with_descendants([layer])
        self._places = {
            id(variable): (found.data_format, isinstance(found, theano.TRANSPOSED))
            for found in self._layers
            if hasattr(found, "data_format")
            for variable in found.weights
        }

    @property
    def names(self) -> list[str]:
        """Their names today."""
        return [array.name for array in self.arrays]

    @property
    def shapes(self) -> list[Shape]:
        """Their shapes, where there is one way only; else the first."""
        return [array.ways[0].shape if array.ways else array.stored[0] for array in self.arrays]

    def fits(self, variable: Any, number: int) -> bool:
        """Whether an array, by its number, is or becomes one of the variable's shape."""
        return bool(self._ways(variable, number))

    def _ways(self, variable: Any, number: int) -> list[Way]:
        data_format, transposed = self._places.get(id(variable), (None, False))
        return self.arrays[number].ways_to(tuple(variable.shape), data_format, transposed)

    def read(self, variable: Any, number: int, group: h5py.Group, name: str) -> Values:
        """The value of a variable that an array fits."""
        way = self._ways(variable, number)[0]
        value = self.arrays[number].read(group, way, name)
        return theano.mirror(value) if id(variable) in self._mirrored else value

    def notes(self, variable: Any, number: int) -> list[str]:
        """What is done to the array on the way to the variable, in words."""
        notes = [way.note for way in self._ways(variable, number)[:1] if way.note]
        return notes + ([theano.NOTE] if id(variable) in self._mirrored else [])

    def fault(self, pairs: Sequence[tuple[Any, int]]) -> str | None:
        """Why the layer would compute something else with these weights; None if it would not."""
        if self.by_theano and (fault := theano.padding_fault(self._layers[0])):
            return fault
        chosen = {id(variable) for variable, n in pairs if cudnn.NOTE in self.notes(variable, n)}
        return cudnn.fault(
            layer for layer in self._layers if chosen & {id(v) for v in layer.weights}
        )

    def is_turned(self, pairs: Sequence[tuple[Any, int]]) -> bool:
        """Whether kernels of a model with channels first are read into one with channels last."""
        return any(
            way.data_format not in (None, self._places[id(variable)][0])
            for variable, number in pairs
            if id(variable) in self._places
            for way in self._ways(variable, number)[:1]
        )


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(":")[0]
