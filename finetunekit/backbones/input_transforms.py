"""Transforms of an input before the first weights: scaling, flips, embeddings.

The graph is followed with placeholders for the tensors, so nothing is computed.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from finetunekit.models import data_formats, graph, value_ranges

RANDOM = ("Random", "AugMix", "RandAugment", "CutMix", "MixUp")
"""How the names of augmentation layers begin."""
_KEEPS_SCALE = (
    *RANDOM,
    *("Resizing", "CenterCrop", "Cropping", "ZeroPadding", "Cast"),
    *("Dropout", "SpatialDropout", "Gaussian", "Identity", "InputLayer"),
)


@dataclass(frozen=True)
class Signal:
    """A transformed input: `scale * x + offset`, with its channels perhaps reversed."""

    name: str
    scale: np.ndarray = field(default_factory=lambda: np.ones(1))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(1))
    flipped: bool = False
    channel: int = -1  # The axis of the channels, counted from the end.

    def times(self, scale: Any, offset: Any = 0.0) -> "Signal | None":
        """What a layer that scales makes of it; None if not by one number for each channel."""
        factor, shift = np.asarray(scale, "float64"), np.asarray(offset, "float64")
        if not all(self._by_channel(row) for row in (factor, shift)):
            return None
        factor, shift = factor.ravel(), shift.ravel()
        if len({row.size for row in (self.scale, factor, shift)} - {1}) > 1:
            return None
        return replace(self, scale=self.scale * factor, offset=self.offset * factor + shift)

    def _by_channel(self, row: np.ndarray) -> bool:
        if row.size == 1:
            return True
        return row.ndim >= -self.channel and row.shape[self.channel] == row.size

    @property
    def touched(self) -> bool:
        """Whether anything has been done to the values."""
        return bool(self.flipped or (self.scale != 1).any() or (self.offset != 0).any())


@dataclass
class Front:
    """The layers before the first weights, in the order of the graph."""

    stages: list[tuple[Any, Signal]] = field(default_factory=list)
    """Scaling layers and nested models, each with the signal that enters it."""
    embeddings: list[tuple[str, Any]] = field(default_factory=list)
    """Name of an input, and an Embedding that looks up its values."""
    augmentations: list[tuple[Any, Signal]] = field(default_factory=list)
    """Layers that are told the range of the values, each with the signal that enters it."""
    ends: list[Signal] = field(default_factory=list)
    """The signals as the first layers with weights see them."""


def walk(model: keras.Model) -> Front:
    """The front of a model; an empty one if its wiring cannot be read."""
    front = Front()
    if graph.is_graph(model):
        signals = [
            Signal(tensor.name, channel=_channel(model, number, len(tensor.shape)))
            for number, tensor in enumerate(model.inputs)
        ]
        _through(model, signals, front)
    return front


def _channel(model: keras.Model, number: int, rank: int) -> int:
    if rank != 4:
        return -1
    return data_formats.layout_of_input(model, number).channel_axis() - rank


class _Lost:
    """A placeholder for a tensor that no longer depends on one input in this simple form."""


_LOST = _Lost()


def _through(model: keras.Model, signals: list[Any], front: Front) -> Any:
    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        parts = keras.tree.flatten((args, kwargs))
        coming = [part for part in parts if isinstance(part, Signal)]
        if not coming:
            return _lost(operation)
        if graph.is_graph(operation):
            for signal in coming:
                front.stages.append((operation, signal))
            given = [part for part in parts if isinstance(part, (Signal, _Lost))]
            return _through(operation, given, front)
        made = _after(operation, coming[0], args, kwargs, front) if len(coming) == 1 else None
        if made is not None:
            return made
        front.ends.extend(coming)
        return _lost(operation)

    return graph.run(model, signals if len(signals) > 1 else signals[0], call)


def _lost(operation: Any) -> Any:
    return keras.tree.map_structure(lambda tensor: _LOST, operation.output)


def _after(operation: Any, signal: Signal, args: Any, kwargs: Any, front: Front) -> Signal | None:
    """The signal that leaves a layer without weights; None if it ends here."""
    # KerasHub's TokenAndPositionEmbedding holds the one that looks tokens up.
    lookup = getattr(operation, "token_embedding", operation)
    if isinstance(lookup, keras.layers.Embedding):
        front.embeddings.append((signal.name, lookup))
        return None
    if isinstance(operation, keras.layers.Rescaling):
        front.stages.append((operation, signal))
        return signal.times(_rescaling(operation.scale), operation.offset)
    if isinstance(operation, keras.layers.Normalization):
        front.stages.append((operation, signal))
        return _normalised(operation, signal)
    kind = type(operation).__name__
    told = isinstance(operation, keras.layers.Layer) and any(value_ranges.ranged([operation]))
    if told:
        front.augmentations.append((operation, signal))
    if told or kind.startswith(_KEEPS_SCALE):
        return signal
    if _reversed_axis(kind, operation, args, kwargs) == signal.channel:
        return replace(
            signal,
            scale=signal.scale[::-1],
            offset=signal.offset[::-1],
            flipped=not signal.flipped,
        )
    return _arithmetic(kind, signal, args)


def _normalised(layer: keras.layers.Normalization, signal: Signal) -> Signal | None:
    if layer.mean is None or layer.variance is None:
        return None
    mean = np.asarray(keras.ops.convert_to_numpy(layer.mean), "float64")
    std = np.sqrt(np.asarray(keras.ops.convert_to_numpy(layer.variance), "float64"))
    if layer.invert or not (std > 0).all():
        return None
    return signal.times(1 / std, -mean / std)


def _rescaling(scale: Any) -> Any:
    """The scale as Rescaling has it take part: by Keras' setting a list is one for channels."""
    row = np.asarray(scale, "float64")
    by_channel = row.ndim and keras.config.image_data_format() == data_formats.FIRST
    return row.reshape(row.shape + (1,) * (3 - row.ndim)) if by_channel else row


def _reversed_axis(kind: str, operation: Any, args: Any, kwargs: Any) -> int | None:
    """The one axis of images that an operation reverses, counted from the end, if it does that."""
    if kind == "Flip":
        axis = getattr(operation, "axis", None)
        return axis if axis is None or not isinstance(axis, int) or axis < 0 else axis - 4
    key = args[1] if len(args) > 1 else kwargs.get("key")
    if kind != "GetItem" or not isinstance(key, tuple):
        return None
    places = [place for place, part in enumerate(key) if part == slice(None, None, -1)]
    rest = [part for part in key if part != slice(None, None, -1)]
    if len(places) != 1 or not all(part in (Ellipsis, slice(None)) for part in rest):
        return None
    from_the_end = Ellipsis in key[: places[0]]
    return places[0] - (len(key) if from_the_end else 4)


def _arithmetic(kind: str, signal: Signal, args: Any) -> Signal | None:
    """Sums, differences, products and quotients with a number."""
    if len(args) != 2:
        return None
    first = isinstance(args[0], Signal)
    try:
        number = np.asarray(args[1] if first else args[0], "float64")
    except (TypeError, ValueError):
        return None
    if kind == "Multiply":
        return signal.times(number)
    if kind == "Add":
        return signal.times(1.0, number)
    if kind in ("TrueDivide", "Divide") and first and (number != 0).all():
        return signal.times(1 / number)
    if kind == "Subtract":
        return signal.times(1.0, -number) if first else signal.times(-1.0, number)
    return None
