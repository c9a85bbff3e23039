"""Feature maps by level: strides followed through a backbone's graph by shapes alone."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation.messages import listed, plural
from finetunekit.models import graph

_PROBE = 256  # Rows and columns where the model takes any size; divisible by all usual strides.
_PADDING = (
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)


@dataclass(frozen=True)
class FeatureMap:
    """An intermediate map: its layer, its place, and the call that made it."""

    path: str
    operation: Any
    call: int
    stride: float
    sources: tuple[int, ...]  # The indices of the maps that it was made from.


def find(backbone: keras.Model, levels: int) -> list[FeatureMap]:
    """The last map of each of the largest strides, the deepest last.

    Of parallel branches that is the map after they have been merged: all deeper maps depend on
    it alone.

    Raises:
        ValueError: If there are fewer, or the shapes cannot be followed.
    """
    found = sorted(_last_maps(backbone).values(), key=lambda entry: entry.stride)
    if levels > len(found):
        there = [f"stride {entry.stride:g}: {entry.path}" for entry in found]
        raise ValueError(
            f"`levels` is more than there are: {backbone.name!r} has feature maps of "
            f"{plural(len(found), 'stride')} ({listed(there) or 'none'}). Give at most that, or "
            f"name the layers: `layers=[...]`. Received: levels={levels!r}"
        )
    return found[-levels:]


def _last_maps(backbone: keras.Model) -> dict[float, FeatureMap]:
    inputs = graph.input_structure(backbone)
    images = [tensor for tensor in keras.tree.flatten(inputs) if len(tensor.shape) >= 3]
    if len(images) != 1:
        raise ValueError(
            "`levels` needs a backbone with one input of images (batch, rows, columns, channels); "
            f"this one has {len(images)}. Name the layers instead: `layers=[...]`. "
            f"Received: backbone={backbone!r}"
        )
    follower = _Follower(_spatial_axes(backbone, len(images[0].shape)))
    try:
        probes = keras.tree.map_structure(follower.probe, inputs)
        follower.run(backbone, probes, "")
    except Exception as error:  # A layer of the user's may raise anything for other shapes.
        raise ValueError(
            f"`levels` cannot be found: the shapes inside {backbone.name!r} cannot be followed "
            f"({str(error)[:200]}). Name the layers instead: `layers=[...]`. "
            f"Received: backbone={backbone!r}"
        ) from error
    return _last_of_each(follower.maps)


def _last_of_each(maps: list[FeatureMap]) -> dict[float, FeatureMap]:
    last_use = {number: number for number in range(len(maps))}
    for number, entry in enumerate(maps):
        last_use.update(dict.fromkeys(entry.sources, number))
    last: dict[float, FeatureMap] = {}
    joined: dict[float, FeatureMap] = {}
    furthest = 0
    for number, entry in enumerate(maps):
        if not isinstance(entry.operation, _PADDING):
            last[entry.stride] = entry
            if furthest <= number:
                joined[entry.stride] = entry
        furthest = max(furthest, last_use[number])
    return last | joined


def _spatial_axes(backbone: keras.Model, rank: int) -> slice:
    formats = [getattr(place.layer, "data_format", None) for place in graph.walk(backbone)]
    known = next((value for value in formats if value), keras.config.image_data_format())
    return slice(2, rank) if known == "channels_first" else slice(1, rank - 1)


class _Follower:
    """Runs symbolic shapes through a graph and notes the stride of every map on the way."""

    def __init__(self, axes: slice) -> None:
        self.axes = axes
        self.maps: list[FeatureMap] = []
        self.calls: dict[int, int] = {}
        # id -> stride and number; with the tensor itself, so that no other can come by its id.
        self.known: dict[int, tuple[Any, float, int | None]] = {}

    def probe(self, tensor: Any) -> keras.KerasTensor:
        """An input of the same shape, with sizes where it has none."""
        is_image = len(tensor.shape) >= 3
        shape = list(tensor.shape)
        if is_image:
            shape[self.axes] = [size or _PROBE for size in shape[self.axes]]
        probe = keras.KerasTensor(tuple(shape), dtype=tensor.dtype)
        if is_image:
            self.known[id(probe)] = (probe, 1.0, None)
        return probe

    def run(self, model: keras.Model, inputs: Any, path: str) -> Any:
        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            place = f"{path}/{operation.name}" if path else operation.name
            if graph.is_graph(operation):
                return self.run(operation, (*args, *kwargs.values())[0], place)
            number = self.calls[id(operation)] = self.calls.get(id(operation), -1) + 1
            outputs = operation.compute_output_spec(*args, **kwargs)
            self._note(operation, (args, kwargs), outputs, place, number)
            return outputs

        return graph.run(model, inputs, call)

    def _note(self, operation: Any, given: Any, outputs: Any, path: str, number: int) -> None:
        maps = [x for x in keras.tree.flatten(given) if id(x) in self.known]
        first = keras.tree.flatten(outputs)[0]
        if not maps or len(first.shape) != len(maps[0].shape):
            return
        largest = max(maps, key=self._size)
        stride = self.known[id(largest)][1] * self._step(operation, largest, first)
        if math.isnan(stride):
            return
        numbers = (self.known[id(x)][2] for x in maps)
        sources = tuple(source for source in numbers if source is not None)
        self.known[id(first)] = (first, stride, len(self.maps))
        self.maps.append(FeatureMap(path, operation, number, stride, sources))

    def _size(self, tensor: Any) -> int:
        return math.prod(tensor.shape[self.axes])

    def _step(self, operation: Any, given: Any, made: Any) -> float:
        """How many times smaller the map became; NaN if it was collapsed to one value."""
        if isinstance(operation, _PADDING):
            return 1.0
        ratio = given.shape[self.axes][0] / made.shape[self.axes][0]
        strides = getattr(operation, "strides", None)
        if strides:
            step = float(strides if isinstance(strides, int) else next(iter(strides)))
            return 1 / step if ratio < 1 else step
        if self._size(made) == 1 < self._size(given):
            return math.nan
        return 2.0 ** round(math.log2(ratio))
