"""Feature maps by level: strides followed through a backbone's graph by shapes alone."""

import math
from dataclasses import dataclass, replace
from typing import Any

import keras

from finetunekit.foundation.messages import listed, plural
from finetunekit.models import data_formats, graph
from finetunekit.models.data_formats import Layout

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
    number = next(n for n, x in enumerate(backbone.inputs) if x is images[0])
    follower = _Follower(data_formats.layout_of_input(backbone, number))
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


@dataclass(frozen=True)
class _Known:
    """A map on the way: its tensor, stride, number and layout."""

    tensor: Any
    stride: float
    number: int | None
    layout: Layout

    def sides(self) -> list[int]:
        return [self.tensor.shape[axis] for axis in self.layout.spatial_axes()]

    def size(self) -> int:
        return math.prod(self.sides())


class _Follower:
    """Runs symbolic shapes through a graph and notes the stride of every map on the way."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.maps: list[FeatureMap] = []
        self.calls: dict[int, int] = {}
        # By id; with the tensor itself, so that no other can come by its id.
        self.known: dict[int, _Known] = {}

    def probe(self, tensor: Any) -> keras.KerasTensor:
        """An input of the same shape, with sizes where it has none."""
        is_image = len(tensor.shape) >= 3
        shape = list(tensor.shape)
        if is_image:
            for axis in self.layout.spatial_axes():
                shape[axis] = shape[axis] or _PROBE
        probe = keras.KerasTensor(tuple(shape), dtype=tensor.dtype)
        if is_image:
            self.known[id(probe)] = _Known(probe, 1.0, None, self.layout)
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
        coming = [self.known[id(x)] for x in maps]
        largest = max(coming, key=_Known.size)
        layout = data_formats.after(operation, [x.layout for x in coming], len(first.shape))
        made = _Known(first, largest.stride, len(self.maps), layout)
        stride = largest.stride * self._step(operation, largest, made)
        if math.isnan(stride):
            return
        sources = tuple(x.number for x in coming if x.number is not None)
        self.known[id(first)] = replace(made, stride=stride)
        self.maps.append(FeatureMap(path, operation, number, stride, sources))

    def _step(self, operation: Any, given: _Known, made: _Known) -> float:
        """How many times smaller the map became; NaN if it was collapsed to one value."""
        if isinstance(operation, _PADDING):
            return 1.0
        ratio = given.sides()[0] / made.sides()[0]
        strides = getattr(operation, "strides", None)
        if strides:
            step = float(strides if isinstance(strides, int) else next(iter(strides)))
            return 1 / step if ratio < 1 else step
        if made.size() == 1 < given.size():
            return math.nan
        return 2.0 ** round(math.log2(ratio))
