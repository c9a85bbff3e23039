"""Graphs of Functional and Sequential models of Keras 2, rebuilt by calling their layers."""

import contextlib
import inspect
from typing import Any

import keras

from finetunekit.backbones.keras2 import layers, nodes, operations
from finetunekit.backbones.keras2.context import CHANGED, Built, Context, Unreadable
from finetunekit.foundation import keras_internals
from finetunekit.foundation.causes import cause_of
from finetunekit.foundation.messages import listed

_DEEPEST = 50
# What Keras 2 computed with floats, or rounded, where the input is of whole numbers.
_TO_FLOATS = ("Resizing", "UpSampling2D")
_OTHERWISE = ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
_RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional, keras.layers.ConvLSTM2D)


def build_model(config: dict[str, Any], context: Context, depth: int = 0) -> Built:
    """Makes a model with its graph; its variables are as the scope around it leaves them.

    Raises:
        ValueError: If the graph cannot be rebuilt, with the layer and the remedy.
    """
    if depth > _DEEPEST:
        raise context.error(
            f"its models are nested more than {_DEEPEST} deep",
            CHANGED,
        )

    def inner(inner_config: dict[str, Any], inner_context: Context) -> Built:
        return build_model(inner_config, inner_context, depth + 1)

    class_name = config["class_name"]
    if class_name not in layers.MODELS:
        context.convert(f"{config['config'].get('name')}: the class {class_name} became Functional")
    built = (_chain if class_name == "Sequential" else _graph)(config, context, inner)
    stored = config["config"]
    if isinstance(stored, dict) and stored.get("trainable") is False:
        # The setter reaches down, so only where nothing below trains anyway.
        if not built.layer.trainable_weights:
            built.layer.trainable = False
    return built


def _chain(config: dict[str, Any], context: Context, inner: Any) -> Built:
    stored = config["config"]
    named = isinstance(stored, dict)
    name = (stored.get("name") if named else config.get("name")) or "sequential"
    configs = stored["layers"] if named else stored
    if not isinstance(configs, list) or not configs:
        raise context.error(f"the chain {name!r} holds no layers", "Save it again with tf_keras.")
    below = [layers.build_layer(layer, context, inner) for layer in configs]
    chain = [built.layer for built in below]
    if configs[0].get("class_name") != "InputLayer":
        first = configs[0].get("config")
        first = first if isinstance(first, dict) else {}
        shape = first.get("batch_input_shape") or (
            stored.get("build_input_shape") if named else None
        )
        if shape:
            dtype = _input_dtype(configs[0]["class_name"], first)
            chain.insert(0, keras.layers.InputLayer(batch_shape=tuple(shape), dtype=dtype))
    return Built(name, "Sequential", _connected(chain, name, context), below)


def _input_dtype(class_name: str, config: dict[str, Any]) -> str | None:
    """The dtype of a chain's first input; a layer's own dtype may be one of computation."""
    if class_name == "TextVectorization" or class_name in ("StringLookup", "Hashing"):
        return "string"
    dtype = config.get("input_dtype")
    return dtype if isinstance(dtype, str) else None


def _connected(chain: list[Any], name: str, context: Context) -> Any:
    try:
        model = keras.Sequential(chain, name=layers.plain_name(name))
        if getattr(model, "inputs", None) or not isinstance(chain[0], keras.layers.InputLayer):
            return model
        # Keras passes over a layer that it cannot call; called by itself, it says why.
        tensor = chain[0].output
        for layer in chain[1:]:
            tensor = _called(
                Built(layer.name, type(layer).__name__, layer), ([tensor], {}), context
            )
        return model
    except Unreadable:
        raise
    except Exception as error:  # A layer's build may raise anything.
        raise context.error(
            f"the layers of the chain {name!r} do not fit each other ({cause_of(error)})",
            "The file was changed, or a class given for it is another one.",
        ) from error


def _graph(config: dict[str, Any], context: Context, inner: Any) -> Built:
    stored = config["config"]
    name = str(stored.get("name", "model"))
    entries = [entry for entry in stored["layers"] if isinstance(entry, dict)]
    made: dict[str, Built] = {}
    for entry in entries:
        saved_name = nodes.name_of(entry, context)
        if entry.get("class_name") in layers.OPERATIONS:
            operation = operations.Operation.read(entry, context)
            made[saved_name] = Built(saved_name, entry["class_name"], operation)
        else:
            made[saved_name] = layers.build_layer(entry, context, inner)
            made[saved_name].saved_name = saved_name
    tensors = _wired(entries, made, stored, context)
    inputs = nodes.outer(stored["input_layers"], tensors, context)
    outputs = nodes.outer(stored["output_layers"], tensors, context)
    _check_ends(name, [inputs, outputs], context)
    _tell_apart([built for built in made.values() if _is_layer(built)], outputs, context)
    model = keras.Model(inputs, outputs, name=layers.plain_name(name))
    below = [built for built in made.values() if _is_layer(built)]
    return Built(name, "Functional", model, below)


def _check_ends(name: str, ends: Any, context: Context) -> None:
    if not all(isinstance(end, keras.KerasTensor) for end in keras.tree.flatten(ends)):
        raise context.error(
            f"model {name!r} gives out sizes of its inputs, which are no tensors here",
            "Leave that output out in tf_keras and save it again.",
        )


def _is_layer(built: Built) -> bool:
    return built.saved_class not in layers.OPERATIONS


def _tell_apart(parts: list[Built], outputs: Any, context: Context) -> None:
    """Makes names unique: slashes were removed, and Keras names the nodes of masks itself."""
    taken: dict[str, Any] = {}
    for part in parts:
        name = _unique(part.layer, taken)
        if name != part.layer.name:
            context.convert(f"{part.saved_name}: named {name}, as {part.layer.name} is another one")
            part.layer.name = name
    waiting = keras.tree.flatten(outputs)
    seen = set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            operation = keras_internals.producer(tensor)
            operation.name = _unique(operation, taken)
            waiting += keras_internals.incoming(tensor)


def _unique(operation: Any, taken: dict[str, Any]) -> str:
    name, number = operation.name, 0
    while taken.setdefault(name, operation) is not operation:
        number += 1
        name = f"{operation.name}_{number}"
    return name


def _wired(
    entries: list[dict[str, Any]], made: dict[str, Built], stored: Any, context: Context
) -> nodes.Tensors:
    """Calls every layer as it was called, once its inputs exist."""
    tensors = nodes.Tensors(entries, stored, context)
    for built in made.values():
        if built.saved_class == "InputLayer":
            tensors.put(built.saved_name, 0, built.layer.output)
    waiting = [
        (nodes.name_of(entry, context), number, node)
        for entry in entries
        for number, node in enumerate(entry.get("inbound_nodes") or [])
    ]
    while waiting:
        left = []
        for saved_name, number, node in waiting:
            if not tensors.ready(node):
                left.append((saved_name, number, node))
                continue
            outputs = _called(made[saved_name], nodes.arguments(node, tensors, context), context)
            tensors.put(saved_name, number, outputs)
        if len(left) == len(waiting):
            names = listed(dict.fromkeys(saved_name for saved_name, _, _ in left), 6)
            raise context.error(
                f"the inputs of these layers come from nowhere: {names}",
                CHANGED,
            )
        waiting = left
    return tensors


def _as_keras2_took(built: Built, positional: list[Any], context: Context) -> list[Any]:
    """Casts integers where only Keras 2 did."""
    first = positional[0]
    if not isinstance(first, keras.KerasTensor) or "int" not in first.dtype:
        return positional
    if built.saved_class in (*_OTHERWISE, "LayerNormalization"):
        raise context.error(
            f"layer {built.saved_name!r}, a {built.saved_class}, takes whole numbers "
            f"({first.dtype}), which Keras 3 does otherwise",
            "Put a cast to float32 before it in tf_keras and save the model again.",
        )
    nearest = getattr(built.layer, "interpolation", None) == "nearest"
    if built.saved_class in _TO_FLOATS and (built.saved_class == "Resizing" or not nearest):
        return [keras.ops.cast(first, built.layer.compute_dtype), *positional[1:]]
    return positional


def _called(built: Built, arguments: tuple[list[Any], dict[str, Any]], context: Context) -> Any:
    positional, named = arguments
    try:
        if isinstance(built.layer, operations.Operation):
            return built.layer(positional, named)
        named = {key: value for key, value in named.items() if value is not None}
        positional = _as_keras2_took(built, positional, context)
        if isinstance(built.layer, _RECURRENT) and isinstance(positional[0], list):
            # Keras 2 kept the initial states beside the input; Keras 3 wants them by name.
            first, *states = positional[0]
            positional, named = [first], named | ({"initial_state": states} if states else {})
        with keras.saving.custom_object_scope(context.custom_objects):
            return built.layer(*positional, **named)
    except Unreadable:
        raise
    except Exception as error:  # A layer's call may raise anything.
        given = built.saved_name if built.saved_class == "Lambda" else built.saved_class
        raise context.error(
            f"layer {built.saved_name!r}, a {built.saved_class}, cannot be called as it was, on "
            f"{_shapes(positional)} ({_cause(built.layer, positional, error)})",
            f"Give a class or function for it: custom_objects={{{given!r}: ...}}.",
        ) from error


def _shapes(positional: Any) -> str:
    """The shapes of what a layer was called on."""
    tensors = [t for t in keras.tree.flatten(positional) if isinstance(t, keras.KerasTensor)]
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"


def _cause(layer: Any, positional: list[Any], error: Exception) -> str:
    """Why a call failed; Keras does not tell of a Lambda whose function takes other arguments."""
    if isinstance(layer, keras.layers.Lambda):
        with contextlib.suppress(ValueError):  # Some functions have no signature.
            try:
                inspect.signature(layer.function).bind(*positional[:1], **layer.arguments)
            except TypeError as mismatch:
                return f"its function, given one input, fails with: {mismatch}"
        try:
            layer.function(*positional[:1], **layer.arguments)
        except Exception as inner:  # It may raise anything.
            return f"{type(inner).__name__}: {cause_of(inner)}"
    return cause_of(error)
