"""EfficientNet: torchvision's B0 to B4, and Google's and its Lite ones as efficientnet-pytorch has.

Google's weights want TensorFlow's padding and an epsilon of 1e-3; with torch's they lose six
points of accuracy without an error.

Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
2019.
"""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.backbones.torch_models.builder import Builder, Unfit, image_shape, named

TOP: tuple[str, ...] = ("classifier.1", "_fc")
_L = keras.layers
_STRIDES = (1, 2, 2, 2, 1, 2, 1)


@dataclass(frozen=True)
class _Block:
    """The keys of one block: pairs of convolution and normalisation, and those of the squeeze."""

    key: str
    stride: int
    expand: tuple[str, str] | None
    depthwise: tuple[str, str]
    squeeze: tuple[str, str] | None
    project: tuple[str, str]


def recognises(builder: Builder) -> bool:
    """Whether the keys are those of an EfficientNet."""
    return builder.has("features.1.0.block.0.0.weight") or builder.has("_conv_stem.weight")


def _is_google(builder: Builder) -> bool:
    return builder.has("_conv_stem.weight")


def stem(builder: Builder) -> str:
    """The key of the first convolution."""
    return "_conv_stem" if _is_google(builder) else "features.0.0"


def checked_shape(builder: Builder, given: Any, top: bool) -> tuple[Any, ...]:
    """The shape of its images."""
    stem = "_conv_stem.weight" if _is_google(builder) else "features.0.0.weight"
    return image_shape(given, (None, None, builder.shape(stem)[1]))


def build(builder: Builder, x: Any, top: bool) -> tuple[Any, str]:
    """Features or logits, and the name."""
    google = _is_google(builder)
    padding = "same" if google else "torch"
    epsilon, momentum = (1e-3, 0.01) if google else (1e-5, 0.1)
    blocks = _google_blocks(builder) if google else _torchvision_blocks(builder)
    lite = all(block.squeeze is None for block in blocks)

    def step(x: Any, keys: tuple[str, str], *, active: bool = True, stride: int = 1) -> Any:
        x = builder.conv(x, keys[0], stride=stride, padding=padding)
        x = builder.norm(x, keys[1], epsilon, momentum)
        name = named(f"{keys[0]}.act")
        if not active:
            return x
        return _L.ReLU(6.0, name=name)(x) if lite else _L.Activation("silu", name=name)(x)

    last = builder.numbers("features.")[-1] if not google else 0
    stem = ("_conv_stem", "_bn0") if google else ("features.0.0", "features.0.1")
    x = step(x, stem, stride=2)
    for block in blocks:
        inputs = x
        if block.expand:
            x = step(x, block.expand)
        x = step(x, block.depthwise, stride=block.stride)
        if block.squeeze:
            x = _squeeze(builder, x, block.squeeze)
        x = step(x, block.project, active=False)
        if block.stride == 1 and x.shape[-1] == inputs.shape[-1]:
            x = _L.Add(name=named(f"{block.key}.add"))([inputs, x])
    x = step(x, ("_conv_head", "_bn1") if google else (f"features.{last}.0", f"features.{last}.1"))
    if top:
        x = _L.GlobalAveragePooling2D(name="avgpool")(x)
        x = builder.dense(x, "_fc" if google else "classifier.1")
    return x, "efficientnet_lite" if lite else "efficientnet"


def _squeeze(builder: Builder, inputs: Any, keys: tuple[str, str]) -> Any:
    x = _L.GlobalAveragePooling2D(keepdims=True, name=named(f"{keys[0]}.pool"))(inputs)
    x = _L.Activation("silu", name=named(f"{keys[0]}.act"))(builder.conv(x, keys[0]))
    x = _L.Activation("sigmoid", name=named(f"{keys[1]}.act"))(builder.conv(x, keys[1]))
    return _L.Multiply(name=named(f"{keys[1]}.scale"))([inputs, x])


def _torchvision_blocks(builder: Builder) -> list[_Block]:
    stages = builder.numbers("features.")[1:-1]
    if len(stages) != len(_STRIDES):
        raise Unfit(f"it has {len(stages)} stages")
    blocks = []
    for stage in stages:
        for number in builder.numbers(f"features.{stage}."):
            key = f"features.{stage}.{number}.block"
            parts = [f"{key}.{part}" for part in builder.numbers(f"{key}.")]
            squeezes = [part for part in parts if builder.has(f"{part}.fc1.weight")]
            convs = [(f"{part}.0", f"{part}.1") for part in parts if part not in squeezes]
            if len(convs) not in (2, 3) or len(squeezes) > 1:
                raise Unfit(f"{key!r} has {len(parts)} parts")
            blocks.append(
                _Block(
                    key,
                    _STRIDES[stage - 1] if number == 0 else 1,
                    convs[0] if len(convs) == 3 else None,
                    convs[-2],
                    (f"{squeezes[0]}.fc1", f"{squeezes[0]}.fc2") if squeezes else None,
                    convs[-1],
                )
            )
    return blocks


def _google_blocks(builder: Builder) -> list[_Block]:
    blocks: list[_Block] = []
    channels, stage = 0, -1
    for number in builder.numbers("_blocks."):
        key = f"_blocks.{number}"
        width = builder.shape(f"{key}._project_conv.weight")[0]
        first = width != channels
        stage += first
        channels = width
        if stage >= len(_STRIDES):
            raise Unfit(f"it has more than {len(_STRIDES)} stages")
        expands = builder.has(f"{key}._expand_conv.weight")
        squeezes = builder.has(f"{key}._se_reduce.weight")
        blocks.append(
            _Block(
                key,
                _STRIDES[stage] if first else 1,
                (f"{key}._expand_conv", f"{key}._bn0") if expands else None,
                (f"{key}._depthwise_conv", f"{key}._bn1"),
                (f"{key}._se_reduce", f"{key}._se_expand") if squeezes else None,
                (f"{key}._project_conv", f"{key}._bn2"),
            )
        )
    return blocks
