"""The classifier at the end of a model: recognised, and taken off."""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import data_formats, graph, metadata

_L = keras.layers
_CONVOLUTIONS = (_L.Conv1D, _L.Conv2D, _L.Conv3D)
_PROBABILITIES = ("softmax", "sigmoid")
_NAMED = ("softmax", "sigmoid", "relu", "leakyrelu", "prelu", "elu", "silu", "gelu", "relu6")


@dataclass(frozen=True)
class Classifier:
    """The last layer with weights, and what follows it.

    Attributes:
        layer: The layer.
        path: Where it stands.
        calls: The graphs that hold it, outermost first, each with the tensor that the layer, or
            the next graph, gives in it.
    """

    layer: keras.layers.Layer
    path: str
    calls: tuple[tuple[keras.Model, Any], ...]


def find(model: keras.Model) -> Classifier | None:
    """The classifier that a model ends in, nested models included; None if there is none.

    That is a Dense layer, or a convolution whose channels are what the model gives, with a softmax
    or sigmoid in the end, or of one pixel and without an activation. A larger one without an
    activation may as well give features.
    """
    calls = _last_with_weights(model)
    if not calls:
        return None
    layer = keras_internals.producer(calls[-1][1])
    if isinstance(layer, _CONVOLUTIONS):
        found, shape = activation(model), model.output_shape
        logits = found is None and set(layer.kernel_size) == {1}
        width = shape[data_formats.output_layouts(model).channel_axis()]
        if width != layer.filters or not (logits or found in _PROBABILITIES):
            return None
    elif not isinstance(layer, _L.Dense):
        return None
    inner = [keras_internals.producer(tensor).name for _, tensor in calls]
    return Classifier(layer, "/".join(inner), tuple(calls))


def gives_probabilities(model: keras.Model, number: int = 0) -> bool:
    """Whether an output of a model is class probabilities rather than features."""
    found = activation(model, number)
    return found == "softmax" or (found == "sigmoid" and len(model.outputs[number].shape) == 2)


def activation(model: keras.Model, number: int = 0) -> str | None:
    """The activation after the last weights before an output; None if none can be read.

    What pools, reshapes or drops out after it does not count.
    """
    return _activation(model, model.outputs[number]) if graph.is_graph(model) else None


def without_probabilities(model: keras.Model) -> keras.Model:
    """A new model without the classifier of one that ends in probabilities; others as they are."""
    found = find(model)
    if found is not None and not gives_probabilities(model):
        found = None
    return model if found is None else take_off(model, found)


def take_off(model: keras.Model, found: Classifier) -> keras.Model:
    """A new model, sharing the layers, up to what enters the classifier.

    Nested models that hold the classifier are rebuilt under their names.
    """
    say(f"the classifier of {model.name!r}, layer {found.path!r} and what follows, is left off")
    inside = _before(list(found.calls[1:]))
    end = _end(found.calls[0][1], inside)
    backbone = keras.Model(graph.input_structure(model), end, name=f"{model.name}_backbone")
    metadata.carry(model, backbone, task=None, backbone=None, head=None)
    return backbone


def _before(calls: list[tuple[keras.Model, Any]]) -> keras.Model | None:
    """The outermost of nested graphs up to what enters the classifier; None if nothing is left."""
    if not calls:
        return None
    (model, tensor), *inner = calls
    end = _end(tensor, _before(inner))
    if any(end is start for start in model.inputs):
        return None
    # As an argument the flag is the model's own; the setter would reach down to its layers.
    inputs = graph.input_structure(model)
    return keras.Model(inputs, end, name=model.name, trainable=model.trainable)


def _end(tensor: Any, inside: keras.Model | None) -> Any:
    """What enters the layer that made a tensor, or what is left of that layer makes of it."""
    before = keras_internals.incoming(tensor)
    if inside is None:
        return before[0]
    return inside(keras.tree.pack_sequence_as(graph.input_structure(inside), before))


def _last_with_weights(model: Any) -> list[tuple[keras.Model, Any]]:
    """The graphs that hold the last layer with weights, each with the tensor that it makes there.

    Empty if something branches after it.
    """
    if not graph.is_graph(model) or len(model.outputs) != 1:
        return []
    tensor, starts = model.outputs[0], {id(start) for start in model.inputs}
    while id(tensor) not in starts:
        layer, before = keras_internals.producer(tensor), keras_internals.incoming(tensor)
        if getattr(layer, "weights", None):
            if not graph.is_graph(layer):
                return [(model, tensor)] if len(before) == 1 else []
            inner = _last_with_weights(layer)
            return [(model, tensor), *inner] if inner else []
        if len(before) != 1:
            return []
        tensor = before[0]
    return []


def _activation(model: keras.Model, tensor: Any) -> str | None:
    starts = {id(start) for start in model.inputs}
    while id(tensor) not in starts:
        operation, before = keras_internals.producer(tensor), keras_internals.incoming(tensor)
        one = graph.is_graph(operation) and len(operation.outputs) == 1
        found = activation(operation) if one else _own(operation)
        if found is not None or getattr(operation, "weights", None) or len(before) != 1:
            return found
        tensor = before[0]
    return None


def _own(operation: Any) -> str | None:
    kind = type(operation).__name__.lower()
    if kind in _NAMED:
        return kind
    function = getattr(operation, "activation", None)
    if function is None:
        return None
    name = keras.activations.serialize(function)
    return None if name == "linear" else name if isinstance(name, str) else "unknown"
