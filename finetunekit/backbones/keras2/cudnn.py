"""Weights of CuDNNLSTM and CuDNNGRU as those of LSTM and GRU, which compute the same."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.keras2.stored import Array, Shape, Values, Way
from finetunekit.foundation import keras_internals

NOTE = "converted from CuDNN's layout"

_GATES = {4: "LSTM", 3: "GRU"}


def gates_of(shapes: Sequence[Shape]) -> int | None:
    """The number of gates, if these are a kernel, recurrent kernel and bias of cuDNN; else None.

    Only cuDNN has one axis of two biases: LSTM has one bias, GRU with `reset_after` two rows.
    """
    if [len(shape) for shape in shapes] != [2, 2, 1]:
        return None
    units = shapes[1][0]
    for gates in _GATES:
        wide = gates * units
        if units and (shapes[0][1], shapes[1][1], shapes[2][0]) == (wide, wide, 2 * wide):
            return gates
    return None


def ways(shapes: Sequence[Shape], gates: int) -> list[Way]:
    """How kernel, recurrent kernel and bias become those of LSTM or GRU."""

    def kernel(parts: Sequence[Values]) -> Values:
        # One gate is a matrix of (units, inputs), whose rows follow each other in memory.
        split = np.split(parts[0], gates, axis=1)
        return np.hstack([gate.reshape(gate.shape[::-1]).T for gate in split])

    def summed(parts: Sequence[Values]) -> Values:
        return parts[0].reshape(2, -1).sum(axis=0)

    def in_rows(parts: Sequence[Values]) -> Values:
        return parts[0].reshape(2, -1)

    half = shapes[2][0] // 2
    bias = Way((half,), summed, note=NOTE) if gates == 4 else Way((2, half), in_rows, note=NOTE)
    return [Way(shapes[0], kernel, note=NOTE), Way(shapes[1], kernel, note=NOTE), bias]


def today(arrays: Sequence[Array], last: Callable[[str], str]) -> list[Array]:
    """The arrays of a layer, those of cuDNN converted.

    Args:
        arrays: In the order of the file.
        last: Gives the last part of a weight's name.
    """
    found = list(arrays)
    for number in range(len(found) - 2):
        three = found[number : number + 3]
        names = [last(array.name) for array in three]
        shapes = [array.stored[0] for array in three]
        gates = gates_of(shapes)
        if gates and names == ["kernel", "recurrent_kernel", "bias"]:
            found[number : number + 3] = [
                Array(array.name, array.keys, array.stored, (way,))
                for array, way in zip(three, ways(shapes, gates), strict=True)
            ]
    return found


def pairs(layer: Any, shapes: Sequence[Shape]) -> list[tuple[Any, Way]]:
    """The variables of an LSTM or GRU with what makes them of arrays that have only an order.

    Empty if the layer is another one, or the arrays are not those of its cuDNN counterpart.
    """
    if not isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
        return []
    gates = gates_of(shapes)
    if gates is None:
        return []
    variables = keras_internals.own_weights(layer.cell)
    found = ways(shapes, gates)
    if [tuple(variable.shape) for variable in variables] != [way.shape for way in found]:
        return []
    return list(zip(variables, found, strict=True))


def fault(layers: Iterable[keras.layers.Layer]) -> str | None:
    """Which of the layers computes something else than cuDNN does, in words; None if none."""
    for layer in layers:
        if isinstance(layer, (keras.layers.LSTM, keras.layers.GRU)):
            given = (layer.activation, layer.recurrent_activation)
            if given != (keras.activations.tanh, keras.activations.sigmoid):
                return (
                    f"{layer.name!r} must have activation='tanh' and recurrent_activation='sigmoid'"
                    ", as the cuDNN layer in the file has"
                )
    return None
