"""Data formats: which axis counts the channels, followed through the layers of a model.

Keras' setting says only what a new layer takes; each layer keeps its own `data_format`.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from finetunekit.models import graph

LAST, FIRST = "channels_last", "channels_first"

_L = keras.layers
_FEATURES_LAST = (
    *(_L.Dense, _L.EinsumDense, _L.Embedding),
    *(_L.LSTM, _L.GRU, _L.SimpleRNN),
    *(_L.MultiHeadAttention, _L.GroupQueryAttention, _L.Attention, _L.AdditiveAttention),
)
# They take an axis of time before the image.
_CONV_LSTM = {_L.ConvLSTM1D: 1, _L.ConvLSTM2D: 2, _L.ConvLSTM3D: 3}


@dataclass(frozen=True)
class Layout:
    """What the axes of a tensor mean.

    Attributes:
        axes: For each axis, which one of the model's input it was.
        channels: The axis of the channels; None while no layer has told it.
        source: The number of the input; None if the tensor is not made of one in its shape.
    """

    axes: tuple[int, ...]
    channels: int | None = None
    source: int | None = None

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.axes)

    def channel_axis(self) -> int:
        """The axis of the channels; as Keras' setting says where no layer does."""
        if self.channels is not None:
            return self.channels
        # Keras' setting is about images: tokens have their features last.
        return 1 if self.rank > 3 and keras.config.image_data_format() == FIRST else self.rank - 1

    def spatial_axes(self) -> tuple[int, ...]:
        """All but those of the batch and the channels."""
        return tuple(axis for axis in range(1, self.rank) if axis != self.channel_axis())


def layout_of_input(model: keras.Model, number: int = 0) -> Layout:
    """The layout of an input, as the first layers after it that have a data format take it."""
    tensor = model.inputs[number]
    layout = Layout(tuple(range(len(tensor.shape))), None, number)
    told: dict[int, int] = {}
    if graph.is_graph(model):
        with contextlib.suppress(_Told):  # The rest of the model has no say.
            _follow(model, _inputs(model), told, stop=number)
    return replace(layout, channels=told.get(number))


def of_input(model: keras.Model) -> str:
    """`"channels_last"` or `"channels_first"`: how a model takes images, its first input.

    Args:
        model: The model. If its wiring cannot be read, its layers count where they agree.
    """
    if getattr(model, "inputs", None) and graph.is_graph(model):
        layout = layout_of_input(model)
        return FIRST if layout.rank > 2 and layout.channel_axis() == 1 else LAST
    return _agreed(model) or str(keras.config.image_data_format())


def split_shape(shape: Sequence[Any]) -> tuple[tuple[Any, Any], Any]:
    """The sides of an image and its channels, of a shape in the order of Keras' setting."""
    if keras.config.image_data_format() == FIRST:
        return (shape[1], shape[2]), shape[0]
    return (shape[0], shape[1]), shape[2]


def join_shape(sides: tuple[Any, Any], channels: Any) -> tuple[Any, Any, Any]:
    """The shape of an image in the order of Keras' setting."""
    return (channels, *sides) if keras.config.image_data_format() == FIRST else (*sides, channels)


def order_text() -> str:
    """`"(height, width, channels)"` in the order of Keras' setting."""
    return f"({', '.join(join_shape(('height', 'width'), 'channels'))})"


def per_channel(row: Sequence[float]) -> Any:
    """Numbers for the channels as a list that is broadcast along them, by Keras' setting.

    Where channels come first, Keras' Rescaling does so with the scale, but not with the offset.
    """
    first = keras.config.image_data_format() == FIRST
    return [[[value]] for value in row] if first else list(row)


def output_layouts(model: keras.Model) -> Any:
    """The layouts of a model's outputs, in their structure."""
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    found = _follow(model, _inputs(model), {}) if graph.is_graph(model) else None
    if found is None:
        return keras.tree.map_structure(lambda x: _unknown(len(x.shape)), outputs)
    return keras.tree.pack_sequence_as(outputs, keras.tree.flatten(found))


def after(operation: Any, coming: Sequence[Layout], rank: int) -> Layout:
    """The layout of what an operation gives, from those of its inputs.

    Args:
        operation: A layer or another operation of Keras.
        coming: The layouts of its inputs.
        rank: The number of axes of its output.
    """
    same = [layout for layout in coming if layout.rank == rank]
    known = [layout for layout in same if layout.channels is not None]
    layout = next(iter(known or same), _unknown(rank))
    order = _order(operation, rank)
    if order is not None:
        channels = None if layout.channels is None else order.index(layout.channels)
        return replace(layout, axes=tuple(layout.axes[n] for n in order), channels=channels)
    told = _channel_axis(operation, rank)
    return layout if told is None else replace(layout, channels=told)


class _Told(Exception):
    """Ends the walk where the input's layout is known."""


def _inputs(model: keras.Model) -> list[Layout]:
    ranks = [len(tensor.shape) for tensor in model.inputs]
    return [Layout(tuple(range(rank)), None, number) for number, rank in enumerate(ranks)]


def _unknown(rank: int) -> Layout:
    return Layout(tuple(range(rank)))


def _follow(
    model: keras.Model, layouts: list[Layout], told: dict[int, int], stop: int | None = None
) -> Any:
    """Calls a graph on layouts, and notes the axis of the channels of each input."""

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        parts = keras.tree.flatten((args, kwargs))
        coming = [part for part in parts if isinstance(part, Layout)]
        if graph.is_graph(operation):
            return _follow(operation, coming, told, stop)
        for layout in coming:
            axis = _channel_axis(operation, layout.rank)
            if axis is not None and layout.source is not None:
                told.setdefault(layout.source, layout.axes[axis])
        if stop in told:
            raise _Told
        return keras.tree.map_structure(
            lambda tensor: after(operation, coming, len(tensor.shape)), operation.output
        )

    return graph.run(model, layouts if len(layouts) > 1 else layouts[0], call)


def _channel_axis(operation: Any, rank: int) -> int | None:
    """Which axis is that of the channels in what a layer takes or gives; None if it has no say."""
    if isinstance(operation, _L.TimeDistributed):
        inner = _channel_axis(operation.layer, rank - 1)
        return None if inner is None else inner + 1
    if isinstance(operation, _L.Bidirectional):
        return _channel_axis(operation.forward_layer, rank)
    if rank < 3:
        return None
    if isinstance(operation, _FEATURES_LAST):
        return rank - 1
    found = getattr(operation, "data_format", None) or _agreed(operation)
    if found == FIRST:
        return rank - 1 - _CONV_LSTM.get(type(operation), rank - 2)
    return rank - 1 if found == LAST else None


def _agreed(layer: Any) -> str | None:
    """The data format that all layers inside of a layer have."""
    if not isinstance(layer, keras.layers.Layer):
        return None
    found = {getattr(place.layer, "data_format", None) for place in graph.walk(layer)} - {None}
    return found.pop() if len(found) == 1 else None


def _order(operation: Any, rank: int) -> tuple[int, ...] | None:
    """For each axis of the output, which one of the input it was, if an operation moves axes."""
    kind, axes = type(operation).__name__, list(range(rank))
    if isinstance(operation, _L.Permute):
        return (0, *operation.dims)
    if kind == "Transpose":
        order = getattr(operation, "axes", None) or axes[::-1]
        return tuple(axis % rank for axis in order)
    if kind == "Swapaxes":
        one, other = operation.axis1, operation.axis2
        axes[one], axes[other] = axes[other], axes[one]
        return tuple(axes)
    if kind == "Moveaxis":
        moves = zip(_list(operation.destination), _list(operation.source), strict=True)
        places = {to % rank: start % rank for to, start in moves}
        rest = iter(axis for axis in axes if axis not in places.values())
        return tuple(places[to] if to in places else next(rest) for to in axes)
    return None


def _list(value: Any) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
