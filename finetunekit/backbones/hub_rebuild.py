"""KerasHub backbones rebuilt from their own layers, with other settings or fewer outputs."""

from typing import Any

import keras

from finetunekit.backbones.hub_settings import Changes


def rebuilt(model: keras.Model, changes: Changes, *, has_pooler: bool) -> keras.Model:
    """The model as a plain Functional of KerasHub's layers, with the changes, of equal weights.

    KerasHub's own classes build their blocks with fixed settings, also when a file is loaded, so
    that a change in place would be lost by `save`; in a plain graph each layer keeps its own.
    """
    outputs = model.output
    if not has_pooler:
        outputs = {key: tensor for key, tensor in outputs.items() if key != "pooled_output"}
    plain = keras.Model(model.input, outputs, name=model.name)
    if not changes:
        return plain
    changed = keras.models.clone_model(plain, clone_function=lambda layer: _copy(layer, changes))
    changed.set_weights(plain.get_weights())
    return changed


def _copy(layer: keras.layers.Layer, changes: Changes) -> keras.layers.Layer:
    config = layer.get_config()
    is_norm = isinstance(layer, keras.layers.LayerNormalization)
    if changes.epsilon is not None:
        for name in ("layer_norm_epsilon", *(["epsilon"] if is_norm else [])):
            if name in config:
                config[name] = changes.epsilon
    # Blocks alone have both; the pooler's activation is another matter.
    if changes.activation is not None and {"activation", "layer_norm_epsilon"} <= set(config):
        config["activation"] = _activation(changes.activation)
    return type(layer).from_config(config)


def _activation(name: str) -> Any:
    if name != "gelu_tanh":
        return name
    # Keras' own GELU has the choice as an argument, which a name cannot carry.
    return keras.saving.get_registered_object("keras_hub>gelu_approximate")
