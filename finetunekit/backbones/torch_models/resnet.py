"""ResNet 18 to 152, and those with wider or grouped blocks, as torchvision has them.

Source: He et al., "Deep Residual Learning for Image Recognition", 2015; the stride of a bottleneck
is in its second convolution.
"""

from typing import Any

import keras

from finetunekit.backbones.torch_models.builder import Builder, image_shape, named

TOP = ("fc",)
_L = keras.layers
_NAMES: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}


def recognises(builder: Builder) -> bool:
    """Whether the keys are those of a ResNet."""
    return builder.has("conv1.weight") and builder.has("layer1.0.conv1.weight")


def stem(builder: Builder) -> str:
    """The key of the first convolution."""
    return "conv1"


def checked_shape(builder: Builder, given: Any, top: bool) -> tuple[Any, ...]:
    """The shape of its images."""
    return image_shape(given, (None, None, builder.shape("conv1.weight")[1]))


def build(builder: Builder, x: Any, top: bool) -> tuple[Any, str]:
    """Features or logits, and the name."""
    x = builder.norm(builder.conv(x, "conv1", stride=2), "bn1")
    x = _L.ReLU(name="relu")(x)
    # Nothing is below 0 behind a ReLU: zeros around do not win.
    x = _L.MaxPooling2D(3, 2, name="maxpool")(_L.ZeroPadding2D(1, name="maxpool_pad")(x))
    deep = builder.has("layer1.0.conv3.weight")
    counts = []
    for stage in range(1, 5):
        blocks = builder.numbers(f"layer{stage}.")
        counts.append(len(blocks))
        for number in blocks:
            stride = 2 if stage > 1 and number == 0 else 1
            x = _block(builder, x, f"layer{stage}.{number}", stride, deep)
    if top:
        x = builder.dense(_L.GlobalAveragePooling2D(name="avgpool")(x), "fc")
    return x, _NAMES.get((deep, tuple(counts)), "resnet")


def _block(builder: Builder, inputs: Any, key: str, stride: int, deep: bool) -> Any:
    strides = (1, stride, 1) if deep else (stride, 1)
    x = inputs
    for number, step in enumerate(strides, 1):
        x = builder.norm(builder.conv(x, f"{key}.conv{number}", stride=step), f"{key}.bn{number}")
        if number < len(strides):
            x = _L.ReLU(name=named(f"{key}.relu{number}"))(x)
    if builder.has(f"{key}.downsample.0.weight"):
        inputs = builder.conv(inputs, f"{key}.downsample.0", stride=stride)
        inputs = builder.norm(inputs, f"{key}.downsample.1")
    return _L.ReLU(name=named(f"{key}.relu"))(_L.Add(name=named(f"{key}.add"))([inputs, x]))
