"""The first layer that gives NaN: one batch goes through the model, layer by layer."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals, patches
from finetunekit.models import graph

ops = keras.ops


@dataclass(frozen=True)
class Cause:
    """Where the first number that is not finite stands; empty if it was not found.

    Args:
        text: In words.
        layer: The path of the layer that gave it.
        rows: In which rows of the batch.
        cure: What helps against this kind.
    """

    text: str = ""
    layer: str | None = None
    rows: list[int] = field(default_factory=list)
    cure: str = ""


def find(model: keras.Model, parts: tuple[Any, ...]) -> Cause:
    """The cause in a batch of inputs, labels and weights; the model is as it was afterwards."""
    x, y, weights = keras.utils.unpack_x_y_sample_weight(parts)
    rows = _bad_rows(x)
    if rows:
        return Cause("the inputs", rows=rows, cure="leave out or repair these samples")
    for place in graph.leaves(model):
        bad = [v.name for v in keras_internals.own_weights(place.layer) if _bad_rows(v[None])]
        if bad:
            path = f"{place.path}/{bad[0]}"
            return Cause(
                f"the weights {path!r}, before the step", place.path, cure="load them again"
            )
    held = [(v, np.array(ops.convert_to_numpy(v))) for v in _state(model)]
    try:
        for training in (False, True):
            cause = _in_forward(model, x, y, weights, training)
            if cause is not None:
                return cause
    finally:
        for variable, value in held:
            variable.assign(value)
    return Cause()


def _in_forward(model: keras.Model, x: Any, y: Any, weights: Any, training: bool) -> Cause | None:
    first: list[Cause] = []

    def look(place: graph.Place, outputs: Any, given: Any) -> None:
        rows = _bad_rows(outputs)
        if rows and not first:
            first.append(_of_layer(place, rows, given))

    with _watched(model, look):
        outputs = model(keras.tree.map_structure(ops.convert_to_tensor, x), training=training)
    if first:
        return first[0]
    loss = model.compute_loss(x, y, outputs, weights, training=training)
    if np.isfinite(float(loss)):
        return None
    return Cause(
        "the loss, of outputs that are finite",
        cure=(
            "a loss that takes logits (`from_logits=True`) instead of probabilities, or a loss of "
            "your own without log(0) and division by 0"
        ),
    )


def _of_layer(place: graph.Place, rows: list[int], given: Any) -> Cause:
    sizes = [np.abs(ops.convert_to_numpy(ops.cast(t, "float32"))).max() for t in _floats(given)]
    largest = f", whose inputs reach {max(sizes):.2g}" if sizes else ""
    cure = ""
    if place.layer.compute_dtype == "float16":
        cure = "float32 or bfloat16 for this layer, since float16 ends at 65504"
    kind = type(place.layer).__name__
    return Cause(f"the output of {place.path!r}, a {kind}{largest}", place.path, rows, cure)


def _state(model: keras.Model) -> list[Any]:
    """What a call in training changes."""
    layers = [model, *(place.layer for place in graph.walk(model))]
    return [
        v
        for layer in layers
        for v in [
            *keras_internals.own_non_trainable_variables(layer),
            *keras_internals.seed_states(layer),
        ]
    ]


@contextlib.contextmanager
def _watched(model: keras.Model, look: Callable[..., None]) -> Iterator[None]:
    """Has each layer's outputs looked at; those of layers inside of others come first."""
    with contextlib.ExitStack() as stack:
        for place in graph.walk(model):
            stack.enter_context(patches.patch(place.layer, "call", _looking(place, look)))
        yield


def _looking(place: graph.Place, look: Callable[..., None]) -> Callable[[Any], Any]:
    def looked_at(call: Callable[..., Any]) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            look(place, outputs, args)
            return outputs

        return called

    return looked_at


def _floats(structure: Any) -> list[Any]:
    tensors = [t for t in keras.tree.flatten(structure) if hasattr(t, "dtype")]
    return [t for t in tensors if "float" in str(getattr(t.dtype, "name", t.dtype))]


def _bad_rows(structure: Any) -> list[int]:
    """The rows that hold anything but finite numbers."""
    found: set[int] = set()
    for tensor in _floats(structure):
        finite = np.isfinite(ops.convert_to_numpy(ops.cast(tensor, "float32")))
        if finite.ndim:
            found |= set(np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1)).tolist())
    return sorted(found)
