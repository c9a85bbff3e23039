"""Objects inside a layer's config: initializers, dtype policies, functions."""

from typing import Any

import keras

from finetunekit.backbones.keras2.context import Context
from finetunekit.foundation import bytecode
from finetunekit.foundation.messages import listed
from finetunekit.models import lambdas

_POLICIES = ("Policy", "PolicyV1")


@keras.saving.register_keras_serializable("finetunekit")
def keras2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's `hard_sigmoid`, `clip(0.2 x + 0.5, 0, 1)`; that of Keras 3 has the slope 1/6."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def modern(value: Any, context: Context, layer: str) -> Any:
    """A config without `module` keys, so that Keras 3 looks classes up by their names."""
    if isinstance(value, list):
        return [modern(part, context, layer) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in _POLICIES:
        return _policy(value, context, layer)
    if value.get("class_name") == "__lambda__":
        return function_from(value["config"], context, layer)
    if value.get("class_name") == "function" and isinstance(value.get("config"), str):
        return value["config"]
    if "class_name" in value and "config" in value:
        kept = (
            {key: value[key] for key in ("class_name", "config", "registered_name")}
            if value.get("registered_name")
            else {k: value[k] for k in ("class_name", "config")}
        )
        return {key: modern(part, context, layer) for key, part in kept.items()}
    return {key: modern(part, context, layer) for key, part in value.items()}


def replace_unknown_initializers(arguments: dict[str, Any], context: Context, layer: str) -> None:
    """Puts zeros in place of initializers that are not known: the file has all the weights."""
    for key, value in arguments.items():
        if not key.endswith("initializer") or value is None:
            continue
        try:
            with keras.saving.custom_object_scope(context.custom_objects):
                keras.initializers.get(value)
        except Exception:  # A class of others may raise anything.
            shown = value.get("class_name") if isinstance(value, dict) else value
            arguments[key] = "zeros"
            context.convert(
                f"{layer}: its {key} {shown!r} is not known and became 'zeros'; its weights are "
                "those of the file"
            )


def _policy(value: dict[str, Any], context: Context, layer: str) -> str:
    config = value["config"]
    name = config.get("name") if isinstance(config, dict) else config
    if isinstance(config, dict) and config.get("loss_scale") is not None:
        context.convert(f"{layer}: the loss scale of its policy belongs to the optimizer now")
    if not isinstance(name, str):
        raise context.error(
            f"layer {layer!r} has a dtype policy without a name", "Save it again with tf_keras."
        )
    return name


def activation(value: Any, context: Context, layer: str) -> Any:
    """An activation of Keras 2 as one of Keras 3."""
    found = context.find(value) if isinstance(value, str) else None
    if found is not None:
        return found
    if value == "hard_sigmoid":
        context.convert(
            f"{layer}: Keras 2's hard_sigmoid has no equal in Keras 3; the file of the model needs "
            "`import finetunekit` to open"
        )
        return keras2_hard_sigmoid
    if isinstance(value, str):
        try:
            keras.activations.get(value)
        except ValueError as error:
            raise context.error(
                f"layer {layer!r} has the activation {value!r}, which Keras 3 does not have",
                f"Give a function of keras.ops: custom_objects={{{value!r}: function}}.",
            ) from error
    return value


def function_from(config: Any, context: Context, layer: str) -> Any:
    """A Python function from its stored bytecode; only of files that the caller trusts."""
    if context.safe_mode:
        names = [layer, *(name for name in context.bytecode if name != layer)]
        wanted = ", ".join(f"{name!r}: lambda x: ..." for name in names)
        more = f", and so are {listed(names[1:])}" if len(names) > 1 else ""
        raise context.error(
            f"layer {layer!r} is Python bytecode (a Lambda){more}, which could do anything",
            f"Give {'each' if more else 'the'} function, custom_objects={{{wanted}}}; or, if you "
            "trust the file's maker and have their Python version, safe_mode=False.",
        )
    try:
        return lambdas.function_from(config, context.custom_objects)
    except bytecode.Foreign as error:
        raise context.error(
            f"the bytecode of layer {layer!r}, a Lambda, cannot be run: {error}",
            f"Give the function by the layer's name: custom_objects={{{layer!r}: lambda x: ...}}.",
        ) from error
