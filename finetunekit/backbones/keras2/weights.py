"""Stored arrays paired with variables, by names and shapes, never by shape alone."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import keras
import numpy as np

from finetunekit.backbones import hdf5, weights_nested
from finetunekit.backbones.keras2.context import CHANGED, Built, Context
from finetunekit.backbones.keras2.conversions import LayerArrays, Written
from finetunekit.backbones.weights_nested import Pairs
from finetunekit.foundation import keras_internals

# What a weight was called in Keras 2 -> what it is called today.
_RENAMED = {"depthwise_kernel": "kernel", "sn_u": "vector_u"}
# State of Keras 2 that has no counterpart, as it is made again.
_STATE = ("StateVar", "seed_generator_state")


def variables_of(layer: keras.layers.Layer) -> list[Any]:
    """A layer's weights in Keras 2's order: those that train, then the others."""
    weights = layer.trainable_weights + layer.non_trainable_weights
    return [v for v in weights if v.name != "seed_generator_state" and not is_count(v)]


def is_count(variable: Any) -> bool:
    """Whether it counts the batches that a Normalization layer has seen."""
    whole = "int" in variable.dtype
    return bool(variable.name == "count" and whole and tuple(variable.shape) == ())


def match_layer(
    layer: keras.layers.Layer,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    fits: Callable[[Any, int], bool] | None = None,
    *,
    renumbered: bool = False,
) -> weights_nested.Match | None:
    """Pairs a layer's variables with stored arrays, each by its position.

    Args:
        layer: A built layer or model.
        names: The stored names, such as `"conv1/kernel:0"`.
        shapes: The stored shapes.
        fits: Whether an array, by its position, has or takes the shape of a variable.
        renumbered: Whether Keras may have numbered the names of the file from elsewhere than
            those of the layer, as in a file of weights alone.

    Returns:
        A pair for each variable; None if they do not agree in number, name and shape, or names
        and shapes leave several ways.
    """
    stored = [
        number
        for number, name in enumerate(names)
        if _last(name) not in _STATE
        and not (_last(name) == "count" and tuple(shapes[number]) == ())
    ]
    fits = fits or (lambda variable, number: tuple(variable.shape) == tuple(shapes[number]))

    def match_one(inner: keras.layers.Layer, numbers: Sequence[int]) -> Pairs | None:
        found = _by_names(inner, names, numbers, fits)
        return _in_order(inner, names, numbers, fits) if found is None else found

    if not weights_nested.holds_models(layer):
        found = match_one(layer, stored)
        return None if found is None else weights_nested.Match(found)
    found = _by_names(layer, names, stored, fits)
    if found is not None:
        return weights_nested.Match(found)
    own = {number: names[number] for number in stored}
    match = weights_nested.match(layer, own, match_one, renumbered=renumbered)
    if match is not None:
        return match
    found = _in_order(layer, names, stored, fits)
    if found is None or not weights_nested.certain(layer, found, own, renumbered=renumbered):
        return None
    return weights_nested.Match(found, by_order=True)


def _by_names(layer: Any, names: Sequence[str], numbers: Sequence[int], fits: Any) -> Pairs | None:
    """Pairs of equal names; those of the models around may differ."""
    variables = variables_of(layer)
    if len(numbers) != len(variables):
        return None
    for parts in (None, 3, 2):
        found = {_tail(names[number], parts): number for number in numbers}
        if len(found) < len(numbers):
            continue
        keys = [_tail(variable.path, parts) for variable in variables]
        if set(keys) == set(found):
            pairs = [(v, found[key]) for v, key in zip(variables, keys, strict=True)]
            return pairs if _agree(pairs, names, fits) else None
    return None


def _in_order(layer: Any, names: Sequence[str], numbers: Sequence[int], fits: Any) -> Pairs | None:
    variables = variables_of(layer)
    if len(numbers) != len(variables):
        return None
    pairs = list(zip(variables, numbers, strict=True))
    return pairs if _agree(pairs, names, fits) else None


def _agree(pairs: Pairs, names: Sequence[str], fits: Callable[[Any, int], bool]) -> bool:
    return all(
        # TensorFlow 1 numbered the second kernel of a scope, as of stacked cells: `kernel_1`.
        _last(variable.name) in (_last(names[number]), re.sub(r"_\d+$", "", _last(names[number])))
        and fits(variable, number)
        for variable, number in pairs
    )


def _last(name: str) -> str:
    last = name.rsplit("/", 1)[-1].split(":")[0]
    return _RENAMED.get(last, last)


def _tail(name: str, parts: int | None) -> str:
    """The last parts of a name; what it is called today."""
    found = name.split(":")[0].split("/")
    found[-1] = _last(name)
    return "/".join(found if parts is None else found[-parts:])


def load_hdf5(built: Built, group: h5py.Group, context: Context) -> None:
    """Assigns the variables of a rebuilt model their values from a whole-model HDF5 file.

    Raises:
        ValueError: If a layer's weights and the file's do not agree, with the layer's name.
    """
    written = Written.read([group, group.file], context.name, context.written)
    by_name = {part.saved_name: part for part in (built.below or [built])}
    left = {name for name, part in by_name.items() if variables_of(part.layer)}
    for name in hdf5.attribute_list(group, "layer_names", name=context.name):
        if name == "top_level_model_weights":
            continue
        inner = hdf5.child(group, name, name=context.name)
        names = hdf5.attribute_list(inner, "weight_names", name=context.name)
        if name in by_name:
            _load_layer(by_name[name].layer, name, inner, names, written, context)
            left.discard(name)
        elif names:
            raise context.error(
                f"it holds weights of a layer {name!r}, which its configuration lacks",
                CHANGED,
            )
    if left:
        raise context.error(f"it holds no weights of layer {min(left)!r}", CHANGED)


def _load_layer(
    layer: Any,
    name: str,
    group: h5py.Group,
    names: list[str],
    written: Written,
    context: Context,
) -> None:
    if isinstance(layer, keras.layers.Normalization):
        values = {
            _last(key): hdf5.array(group, key, shape=None, name=context.name) for key in names
        }
        set_normalization(layer, values, name, context)
        return
    shapes = [hdf5.shape_of(group, key, name=context.name) for key in names]
    arrays = LayerArrays(layer, names, shapes, written)
    found = match_layer(layer, arrays.names, arrays.shapes, arrays.fits)
    if found is None:
        raise disagreement(layer, name, names, shapes, context)
    for variable, number in found.pairs:
        keras_internals.initialize(variable, arrays.read(variable, number, group, context.name))
    for note in dict.fromkeys(note for pair in found.pairs for note in arrays.notes(*pair)):
        context.convert(f"{name}: {note}")


def disagreement(
    layer: Any, name: str, names: Sequence[str], shapes: Sequence[Any], context: Context
) -> ValueError:
    """The error about a layer whose weights are not those in the file."""
    wanted = ", ".join(f"{v.name} {tuple(v.shape)}" for v in variables_of(layer)[:6]) or "none"
    found = ", ".join(f"{_last(n)} {tuple(s)}" for n, s in zip(names[:6], shapes[:6], strict=False))
    return context.error(
        f"layer {name!r}, a {type(layer).__name__}, takes the weights {wanted}, but the file holds "
        f"{found or 'none'}",
        "The file was changed, or a class given for it is another one.",
    )


def set_normalization(
    layer: Any, values: dict[str, np.ndarray[Any, Any]], name: str, context: Context
) -> None:
    """Sets the statistics of an adapted Normalization layer; those in its config stay."""
    if not values:
        return
    variables = {v.name: v for v in layer.weights}
    for key in ("mean", "variance"):
        variable = variables.get(key)
        if variable is None or key not in values or values[key].size != np.prod(variable.shape):
            raise context.error(
                f"layer {name!r} has other statistics than the file holds",
                CHANGED,
            )
        keras_internals.initialize(variable, values[key].reshape(tuple(variable.shape)))
