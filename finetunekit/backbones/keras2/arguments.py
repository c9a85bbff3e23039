"""Arguments of Keras 2 layers in Keras 3: renames, defaults, and those that are dropped."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from finetunekit.backbones.keras2 import vocabularies
from finetunekit.backbones.keras2.context import Context

# What every layer of Keras 3 takes, besides the arguments of its own class.
_OF_ALL = {"name", "trainable", "dtype", "activity_regularizer"}

# Arguments without effect on what the layer computes: (argument, values for which that holds).
# None means any value.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...] | None] = {
    "adjustment": (None,),
    "autocast": None,
    "batch_size": None,
    "causal": (False,),
    "trainable": None,  # Of layers without weights, which do not take it.
    "experimental_autocast": None,
    "fused": None,
    "groups": (1,),
    "implementation": None,
    "input_dim": None,
    "input_dtype": None,
    "input_length": None,
    "input_shape": None,
    "jit_compile": None,
    "key_shape": None,
    "max_tokens": (None,),
    "noise_shape": (None,),
    "optional": (False,),
    "query_shape": None,
    "ragged": (False,),
    "renorm": (False,),
    "renorm_clipping": None,
    "renorm_momentum": None,
    "reverse_state_order": (False,),
    "rng_type": None,
    "softmax_robust_masking": None,
    "sparse": (False,),
    "time_major": (False,),
    "value_shape": None,
    "virtual_batch_size": (None,),
    "vocabulary_size": None,
}
# Depthwise layers carry the kernel's arguments of the layer that they inherit from; their own
# are called depthwise_* and pointwise_*.
_INHERITED = {"kernel_initializer", "kernel_regularizer", "kernel_constraint"}
_DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")

# Old names of classes -> the class of today and what it needs besides.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "BatchNormalizationV2": ("BatchNormalization", {}),
    "FixedDropout": (
        "Dropout",
        {},
    ),  # Of the package efficientnet: None stands for an input's size.
    "Convolution1D": ("Conv1D", {}),
    "Convolution2D": ("Conv2D", {}),
    "Convolution3D": ("Conv3D", {}),
    "Convolution2DTranspose": ("Conv2DTranspose", {}),
    "CuDNNGRU": ("GRU", {"reset_after": True}),
    "CuDNNLSTM": ("LSTM", {}),
    "GRUV2": ("GRU", {}),
    "LSTMV2": ("LSTM", {}),
    "SeparableConvolution2D": ("SeparableConv2D", {}),
    "SyncBatchNormalization": ("BatchNormalization", {"synchronized": True}),
    "ThresholdedReLU": ("ReLU", {}),
}


def fit_arguments(
    class_name: str, cls: Callable[..., Any], config: dict[str, Any], context: Context
) -> dict[str, Any]:
    """The config as arguments of the class today; what is dropped is recorded, or an error.

    Raises:
        ValueError: If an argument that matters has no place in Keras 3.
    """
    layer = str(config.get("name"))
    config = _renamed(class_name, dict(config))
    if config.get("interpolation") in ("gaussian", "mitchellcubic"):
        raise context.error(
            f"layer {layer!r} interpolates by {config['interpolation']!r}, which Keras 3 cannot",
            f"Give a class of your own that does: custom_objects={{{class_name!r}: ...}}.",
        )
    known = _known(cls) | ({"vocabulary_size"} if class_name in vocabularies.LAYERS else set())
    for key in [key for key in config if key not in known]:
        value = config.pop(key)
        if key == "batch_input_shape":  # The first layer's is the model's input; others repeat it.
            continue
        if class_name in _DEPTHWISE and key in _INHERITED:
            continue
        harmless = _WITHOUT_EFFECT.get(key, ())
        if harmless is not None and value not in harmless:
            raise context.error(
                f"layer {layer!r}, a {class_name}, has {key}={value!r}, which Keras 3 has no place "
                "for",
                f"Give a class of your own that takes it: custom_objects={{{class_name!r}: ...}}.",
            )
        context.drop(layer, key, value)
    return config


def _renamed(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    axis = config.get("axis")
    if isinstance(axis, list) and len(axis) == 1 and class_name != "Normalization":
        config["axis"] = axis[0]
    if class_name == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = _number(config.pop("alpha"))
    if class_name == "ThresholdedReLU":
        config["threshold"] = _number(config.pop("theta"))
    if class_name == "GRU" and "reset_after" not in config:
        config["reset_after"] = False  # Before Keras 2.2 there was no other way.
    if class_name == "Embedding" or class_name in _DEPTHWISE:
        for key in ("input_length", "groups"):
            if config.get(key) in (None, 1) or key == "input_length":
                config.pop(key, None)
    return config


def _number(value: Any) -> Any:
    """Some files hold numbers as `{"type": "ndarray", "value": 0.3}`."""
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _known(cls: Any) -> set[str]:
    """The arguments that a class takes, those of its bases included."""
    own = inspect.signature(cls.__init__).parameters
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in own.values()):
        return set(own) - {"self"}
    names = set(_OF_ALL)
    for base in cls.__mro__:
        if base not in (object, keras.layers.Layer):
            names |= set(inspect.signature(base.__init__).parameters)
    return names - {"self", "args", "kwargs", "autocast", "input_shape", "batch_input_shape"}
