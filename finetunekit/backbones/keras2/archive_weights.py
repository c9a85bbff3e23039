"""Weights of a Keras 2 `.keras` file, which are stored under class names."""

from collections.abc import Iterator
from typing import Any

import h5py
import keras

from finetunekit.backbones import hdf5
from finetunekit.backbones.keras2 import cudnn, weights
from finetunekit.backbones.keras2.context import CHANGED, Built, Context, snake_case
from finetunekit.backbones.keras2.stored import Array
from finetunekit.foundation import keras_internals


def load(built: Built, root: h5py.Group, context: Context) -> None:
    """Assigns the variables of a rebuilt model their values from `model.weights.h5`.

    Raises:
        ValueError: If a layer's weights and the file's do not agree, with the layer's name.
    """
    for part, group in _layers(built, root):
        if part.below and isinstance(part.layer, keras.Model):
            load(part, group, context) if group is not None else _lacking(part, context)
        elif group is None or not _holds_numbers(group):
            if _variables(part.layer, below=True):
                _lacking(part, context)
        elif isinstance(part.layer, keras.layers.Normalization):
            _load_normalization(part, group, context)
        else:
            _load_layer(part.layer, part.saved_name, group, context)


def _layers(built: Built, root: h5py.Group) -> Iterator[tuple[Built, h5py.Group | None]]:
    """The layers of a model with their groups: class name in snake case, numbered in file order."""
    groups = root.get("layers")
    taken: dict[str, int] = {}
    for part in built.below:
        key = snake_case(part.saved_class.split(">")[-1])
        number = taken[key] = taken.get(key, -1) + 1
        found = groups.get(f"{key}_{number}" if number else key) if groups is not None else None
        yield part, found if isinstance(found, h5py.Group) else None


def _holds_numbers(group: h5py.Group) -> bool:
    return any(isinstance(entry, h5py.Dataset) or _holds_numbers(entry) for entry in group.values())


def _variables(layer: Any, below: bool = False) -> list[Any]:
    found = weights.variables_of(layer) if below else keras_internals.own_weights(layer)
    return [v for v in found if v.name != "seed_generator_state" and not weights.is_count(v)]


def _lacking(part: Built, context: Context) -> None:
    raise context.error(f"it holds no weights of layer {part.saved_name!r}", CHANGED)


def _load_layer(layer: Any, name: str, group: h5py.Group, context: Context) -> None:
    """A layer's own variables by number and shape, then those of the layers inside it."""
    variables = _variables(layer)
    keys = list(group["vars"]) if "vars" in group else []
    if all(key.isdecimal() for key in keys):
        keys.sort(key=int)
    shapes = [hdf5.shape_of(group["vars"], key, name=context.name) for key in keys]
    if cudnn.pairs(layer, shapes):
        _load_cudnn(layer, name, group["vars"], shapes, context)
        return
    if shapes != [tuple(v.shape) for v in variables]:
        raise weights.disagreement(layer, name, keys, shapes, context)
    for variable, key in zip(variables, keys, strict=True):
        shape = tuple(variable.shape)
        value = hdf5.array(group["vars"], key, shape=shape, name=context.name)
        keras_internals.initialize(variable, value)
    _load_inner(layer, name, group, context)


def _load_inner(layer: Any, name: str, group: h5py.Group, context: Context) -> None:
    for key, inner in group.items():
        if key == "vars" or not isinstance(inner, h5py.Group) or not _holds_numbers(inner):
            continue
        found = getattr(layer, key, None)
        if isinstance(found, dict):
            found = list(found.values())
        if isinstance(found, (list, tuple)):
            _load_list(list(found), f"{name}/{key}", inner, context)
        elif isinstance(found, keras.layers.Layer):
            _load_layer(found, f"{name}/{key}", inner, context)
        else:
            raise context.error(
                f"layer {name!r}, a {type(layer).__name__}, has no inner layer {key!r}, which the "
                "file holds weights of",
                "Give a class that has it in `custom_objects`.",
            )


def _load_cudnn(
    layer: Any, name: str, group: h5py.Group, shapes: list[Any], context: Context
) -> None:
    for number, (variable, way) in enumerate(cudnn.pairs(layer, shapes)):
        array = Array(str(number), (str(number),), (shapes[number],), (way,))
        keras_internals.initialize(variable, array.read(group, way, context.name))
    context.convert(f"{name}: {cudnn.NOTE}")


def _load_list(layers: list[Any], name: str, group: h5py.Group, context: Context) -> None:
    taken: dict[str, int] = {}
    for layer in layers:
        key = snake_case(type(layer).__name__)
        number = taken[key] = taken.get(key, -1) + 1
        place = f"{key}_{number}" if number else key
        _load_layer(layer, f"{name}/{place}", hdf5.child(group, place, name=context.name), context)


def _load_normalization(part: Built, group: h5py.Group, context: Context) -> None:
    """Mean, variance and count are stored under these numbers."""
    stored = hdf5.child(group, "vars", name=context.name)
    values = {
        key: hdf5.array(stored, number, shape=None, name=context.name)
        for number, key in (("0", "mean"), ("1", "variance"))
        if number in stored
    }
    weights.set_normalization(part.layer, values, part.saved_name, context)
