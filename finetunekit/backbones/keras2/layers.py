"""Layers of Keras 2 as layers of Keras 3: one config in, one layer out."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import keras

from finetunekit.backbones.keras2 import objects, theano_padding, vocabularies
from finetunekit.backbones.keras2.arguments import CLASSES, fit_arguments
from finetunekit.backbones.keras2.context import CHANGED, Built, Context, unknown
from finetunekit.foundation.causes import cause_of
from finetunekit.models import file_configs

MODELS = ("Functional", "Model", "Sequential")
OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty")
# Arguments of a layer that are layers themselves.
_INNER = ("layer", "forward_layer", "backward_layer", "cell")
_GONE = {
    "RandomCrop": "It cuts out the middle there and does not cut here: build the model in tf_keras "
    "with a CenterCrop in its place, and save that.",
    "TensorFlowOpLayer": "It is a node of a TensorFlow graph, written before TensorFlow 2.4: save "
    "the model there as a SavedModel and load that, or build it with Keras layers in its place.",
}


def is_model(config: dict[str, Any], context: Context) -> bool:
    """Whether a config is that of a model: a graph or a chain of layers."""
    inner = config.get("config")
    if config.get("class_name") in MODELS:
        return True
    graph = isinstance(inner, dict) and {"layers", "input_layers", "output_layers"} <= set(inner)
    return graph and context.find(str(config.get("class_name"))) is None


def build_layer(
    config: dict[str, Any], context: Context, build_model: Callable[..., Built]
) -> Built:
    """Makes a layer, not yet built, with the models and layers inside it.

    Raises:
        ValueError: If there is no such layer in Keras 3, or an argument has no place there.
    """
    class_name, arguments = _parts(config, context)
    name = str(arguments.get("name", config.get("name", class_name)))
    if class_name in _GONE:
        raise context.error(
            f"layer {name!r} is a {class_name}, which Keras 3 has nothing for", _GONE[class_name]
        )
    if is_model(config, context):
        return build_model(config, context)
    if class_name == "InputLayer":
        return Built(name, class_name, _input_layer(arguments, context, name))
    if class_name == "Lambda":
        return Built(name, class_name, _lambda_layer(arguments, context, name))
    return _ordinary(class_name, name, arguments, context, build_model)


def missing(config: Any, context: Context) -> list[str]:
    """The short names of the classes of layers that neither Keras 3 nor the caller has."""
    found = [
        entry["class_name"]
        for entry in _entries(config)
        if not (
            entry["class_name"] in (*OPERATIONS, *CLASSES, *_GONE, "Lambda", "InputLayer")
            or is_model(entry, context)
            or context.find(entry["class_name"])
            or hasattr(keras.layers, entry["class_name"])
        )
    ]
    return list(dict.fromkeys(name.rpartition(">")[2] for name in found))


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """The configs of the layers in a model's config, wherever they are nested."""
    for value in file_configs.dicts(config):
        inner = [*_listed(value.get("layers")), *_listed(value.get("cells"))]
        inner += [value[key] for key in _INNER if key in value]
        for entry in inner:
            if isinstance(entry, dict) and isinstance(entry.get("class_name"), str):
                yield entry


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parts(config: Any, context: Context) -> tuple[str, dict[str, Any]]:
    if (
        not isinstance(config, dict)
        or not isinstance(config.get("class_name"), str)
        or not isinstance(config.get("config"), dict | list)
    ):
        raise context.error(
            "its configuration is not that of a Keras model",
            CHANGED,
        )
    inner = config["config"]
    return config["class_name"], inner if isinstance(inner, dict) else {}


def plain_name(name: str) -> str:
    """A layer's name as Keras 3 allows it; Keras 2 allowed slashes."""
    return name.replace("/", "_")


def _input_layer(arguments: dict[str, Any], context: Context, name: str) -> Any:
    shape = arguments.get("batch_input_shape", arguments.get("batch_shape"))
    if shape is None:
        raise context.error(f"input {name!r} has no shape", "Save it again with tf_keras.")
    if arguments.get("sparse") or arguments.get("ragged"):
        raise context.error(
            f"input {name!r} is sparse or ragged, which is not read here",
            "Give the model a dense input in tf_keras and save it again.",
        )
    dtype = objects.modern(arguments.get("dtype"), context, name) or "float32"
    return keras.layers.InputLayer(batch_shape=tuple(shape), dtype=dtype, name=plain_name(name))


def _lambda_layer(arguments: dict[str, Any], context: Context, name: str) -> Any:
    stored = arguments.get("function")
    given = context.custom_objects.get(name)
    given = None if isinstance(given, type) else given
    if given is None and isinstance(stored, str):
        given = context.find(stored)
        if given is None:
            raise context.error(
                f"layer {name!r} is a Lambda of a function {stored!r}, which is not in the file",
                f"Give it: custom_objects={{{stored!r}: {stored}}}.",
            )
    if given is None:
        code = stored.get("config", stored) if isinstance(stored, dict) else stored
        given = objects.function_from(code, context, name)
    return keras.layers.Lambda(
        given,
        output_shape=_shape(arguments.get("output_shape")),
        arguments=arguments.get("arguments") or {},
        name=plain_name(name),
        dtype=objects.modern(arguments.get("dtype"), context, name),
    )


def _shape(value: Any) -> Any:
    """A stored output shape; of one that is bytecode, or a name, Keras finds out the result."""
    whole = isinstance(value, list) and all(size is None or isinstance(size, int) for size in value)
    return tuple(value) if whole else None


def _ordinary(
    class_name: str,
    name: str,
    arguments: dict[str, Any],
    context: Context,
    build_model: Callable[..., Built],
) -> Built:
    own = context.find(class_name)
    modern_name, extra = (class_name, {}) if own else CLASSES.get(class_name, (class_name, {}))
    cls = own or getattr(keras.layers, modern_name, None)
    if not (isinstance(cls, type) and issubclass(cls, keras.layers.Layer)):
        raise unknown(context, "layer", class_name, name)
    if modern_name != class_name:
        context.convert(f"{name}: {class_name} became {modern_name}")
    arguments = dict(arguments)
    if own is None and modern_name == "Bidirectional":
        _tell_directions(arguments)
    below = [] if own else _inner_layers(arguments, context, build_model)
    if own is None and _is_layer(arguments.get("activation"), context):
        arguments["activation"] = _activation_layer(arguments, name, context, build_model)
    arguments = objects.modern(arguments, context, name) | extra
    for key in ("activation", "recurrent_activation"):
        if key in arguments and own is None:
            arguments[key] = objects.activation(arguments[key], context, name)
    if own is None:
        objects.replace_unknown_initializers(arguments, context, name)
        vocabularies.check(class_name, name, arguments, context)
        arguments = fit_arguments(class_name, cls, arguments, context)
    if "name" in arguments:
        arguments["name"] = plain_name(name)
        if arguments["name"] != name:
            context.convert(f"{name}: named {arguments['name']}, as Keras 3 allows no slash")
    layer = _made(cls, arguments, below, class_name, name, context)
    return Built(name, class_name, layer, below, arguments.get("trainable") is False)


def _tell_directions(arguments: dict[str, Any]) -> None:
    """Writes out the second layer where the first goes backwards: Keras 3 would let both do so."""
    first = arguments.get("layer")
    if not isinstance(first, dict) or not isinstance(inner := first.get("config"), dict):
        return
    if not inner.get("go_backwards"):
        return
    if arguments.get("backward_layer") is None:
        name = str(inner.get("name", "")).removeprefix("forward_")
        other = {**inner, "go_backwards": False, "name": f"backward_{name}"}
        arguments["backward_layer"] = {**first, "config": other}


def _activation_layer(
    arguments: dict[str, Any], name: str, context: Context, build_model: Callable[..., Built]
) -> Any:
    activation = build_layer(arguments["activation"], context, build_model)
    if activation.saved_class == "PReLU":
        raise context.error(
            f"layer {name!r} has a PReLU, which has weights, as its activation",
            "Put it behind the layer in tf_keras and save the model again.",
        )
    return activation.layer


def _is_layer(value: Any, context: Context) -> bool:
    """Whether an activation is a layer, such as `Dense(4, activation=LeakyReLU(0.3))`."""
    name = value.get("class_name") if isinstance(value, dict) else None
    found = getattr(keras.layers, CLASSES.get(name, (name, {}))[0], None) if name else None
    return isinstance(found, type) and issubclass(found, keras.layers.Layer)


def _inner_layers(
    arguments: dict[str, Any], context: Context, build_model: Callable[..., Built]
) -> list[Built]:
    """Replaces the configs of inner layers by the layers."""
    below = []
    for key in _INNER:
        if isinstance(arguments.get(key), dict):
            below.append(build_layer(arguments[key], context, build_model))
            arguments[key] = below[-1].layer
    if isinstance(arguments.get("cells"), list):
        cells = [build_layer(cell, context, build_model) for cell in arguments["cells"]]
        arguments["cells"] = [cell.layer for cell in cells]
        below += cells
    return below


def _made(
    cls: Any,
    arguments: dict[str, Any],
    below: list[Built],
    class_name: str,
    name: str,
    context: Context,
) -> Any:
    """The layer; `from_config` of a wrapper would read its inner layers again."""
    try:
        with keras.saving.custom_object_scope(context.custom_objects):
            layer = cls(**arguments) if below else cls.from_config(arguments)
            return theano_padding.explicit(layer, context)
    except Exception as error:  # Keras and a class of the caller's may raise anything.
        raise context.error(
            f"layer {name!r}, a {class_name}, cannot be made of its configuration "
            f"({cause_of(error)})",
            _remedy(class_name, arguments, error, context),
        ) from error


_IDENTIFIER = re.compile(r"identifier: '?([\w>]+)'?$")


def _remedy(class_name: str, arguments: dict[str, Any], error: Exception, context: Context) -> str:
    """What to give for a layer that cannot be made: what its config names, or its own class."""
    names = file_configs.unknown(arguments, context.custom_objects)
    if not names and (found := _IDENTIFIER.search(cause_of(error))):
        names = [found[1]]
    if names:
        return f"Give it: custom_objects={{{', '.join(f'{name!r}: {name}' for name in names)}}}."
    return f"Give a class that takes it: custom_objects={{{class_name!r}: ...}}."
