"""MobileNetV2 as torchvision has it.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018.
"""

from typing import Any

import keras

from finetunekit.backbones.torch_models.builder import Builder, image_shape, named

TOP = ("classifier.1",)
_L = keras.layers
# The first blocks of their stages that halve the image: table 2 of the paper.
_HALVING = (2, 4, 7, 14)


def recognises(builder: Builder) -> bool:
    """Whether the keys are those of a MobileNetV2."""
    return builder.has("features.0.0.weight") and builder.has("features.1.conv.0.0.weight")


def stem(builder: Builder) -> str:
    """The key of the first convolution."""
    return "features.0.0"


def checked_shape(builder: Builder, given: Any, top: bool) -> tuple[Any, ...]:
    """The shape of its images."""
    return image_shape(given, (None, None, builder.shape("features.0.0.weight")[1]))


def build(builder: Builder, x: Any, top: bool) -> tuple[Any, str]:
    """Features or logits, and the name."""
    *_, last = builder.numbers("features.")
    x = _conv(builder, x, "features.0.0", "features.0.1", stride=2)
    for number in range(1, last):
        x = _block(builder, x, f"features.{number}.conv", 2 if number in _HALVING else 1)
    x = _conv(builder, x, f"features.{last}.0", f"features.{last}.1")
    if top:
        x = builder.dense(_L.GlobalAveragePooling2D(name="avgpool")(x), "classifier.1")
    return x, "mobilenet_v2"


def _conv(builder: Builder, x: Any, conv: str, norm: str, *, stride: int = 1) -> Any:
    x = builder.norm(builder.conv(x, conv, stride=stride), norm)
    return _L.ReLU(6.0, name=named(f"{conv}.relu"))(x)


def _block(builder: Builder, inputs: Any, key: str, stride: int) -> Any:
    parts = builder.numbers(f"{key}.")
    widened = len(parts) == 4
    x = inputs
    if widened:
        x = _conv(builder, x, f"{key}.0.0", f"{key}.0.1")
    depthwise = int(widened)
    x = _conv(builder, x, f"{key}.{depthwise}.0", f"{key}.{depthwise}.1", stride=stride)
    x = builder.norm(builder.conv(x, f"{key}.{depthwise + 1}"), f"{key}.{depthwise + 2}")
    if stride == 1 and x.shape[-1] == inputs.shape[-1]:
        x = _L.Add(name=named(f"{key}.add"))([inputs, x])
    return x
