"""Architectures of torch state dicts, recognised from their keys, as stock Keras layers."""

import dataclasses
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import applications
from finetunekit.backbones.torch_models import (
    efficientnet,
    mobilenet_v2,
    prefixes,
    resnet,
    vgg,
    vit,
)
from finetunekit.backbones.torch_models.builder import Builder, Unfit
from finetunekit.foundation.messages import listed
from finetunekit.models.metadata import InputContract

# The first whose keys are there counts.
_FAMILIES = (resnet, mobilenet_v2, efficientnet, vit, vgg)
FAMILIES = "ResNet, VGG, MobileNetV2, EfficientNet and ViT"


# How efficientnet-pytorch feeds the Lite ones: (pixels - 127) / 128.
_LITE_MEAN, _LITE_STD = 127.0, 128.0


def is_lite(builder: Builder) -> bool:
    """Whether it is an EfficientNet-Lite of Google, which expects pixels scaled differently."""
    return builder.has("_conv_stem.weight") and not builder.has("_blocks.0._se_reduce.weight")


def preprocess(builder: Builder, image: Any) -> Any:
    """Pixels of 0 to 255 as the weights were trained on them, by a stock layer."""
    if is_lite(builder):
        layer = keras.layers.Rescaling(1 / _LITE_STD, -_LITE_MEAN / _LITE_STD, name="preprocessing")
        return layer(image)
    return applications.preprocess(image, "torch")


def contract(state: dict[str, np.ndarray], preprocessing: str) -> InputContract:
    """The contract of its inputs."""
    known = applications.contract("torch", preprocessing, (224, 224))
    if not is_lite(Builder(state)):
        return known
    mean, std = (_LITE_MEAN,) * 3, (_LITE_STD,) * 3
    if preprocessing == "inside":
        return dataclasses.replace(known, mean=mean, std=std)
    note = "RGB pixels that you normalise, (pixels - 127) / 128"
    return dataclasses.replace(known, mean=mean, std=std, value_range=(-1.0, 1.0), note=note)


def locate(state: dict[str, np.ndarray], source: str, key: str) -> prefixes.Located:
    """The part of a state dict that is of a known architecture; all of it, if none is.

    Raises:
        ValueError: If it is not clear which part is meant.
    """

    def recognises(part: dict[str, np.ndarray]) -> bool:
        return any(family.recognises(Builder(part)) for family in _FAMILIES)

    try:
        return prefixes.locate(state, recognises, key)
    except prefixes.Unclear as fault:
        raise ValueError(f"`source` {fault}. Received: source={source!r}") from fault


def build(
    state: dict[str, np.ndarray],
    source: str,
    *,
    include_top: Any,
    input_shape: tuple[int | None, ...] | None,
    preprocessing: str,
) -> tuple[keras.Model, str, list[str]]:
    """A new model with a checkpoint's weights, the name of its architecture, and what is left out.

    Args:
        state: The state dict.
        source: The file, for messages.
        include_top: Whether the classifier comes too; `"auto"` means if it is there.
        input_shape: Height, width and channels; None for what the architecture takes.
        preprocessing: `"inside"` if it is to take pixels of 0 to 255.

    Raises:
        ValueError: If it is of no known architecture, or does not fit the options.
    """
    builder = Builder(state)
    family = next((found for found in _FAMILIES if found.recognises(builder)), None)
    if family is None:
        raise ValueError(
            f"`source` does not hold the weights of a known architecture: {FAMILIES}, with "
            "the names of torchvision. Build the model in Keras and use "
            f"`ftk.load_weights_from_torch(model, path)`. Its keys begin with {listed(state, 4)}. "
            f"Received: source={source!r}"
        )
    there = any(f"{part}.weight" in state for part in family.TOP)
    top = there if include_top == "auto" else bool(include_top)
    try:
        stem = family.stem(builder)
        channels = builder.shape(f"{stem}.weight")[1]
        shape = family.checked_shape(builder, input_shape, top)
    except Unfit as fault:
        raise _unfit(family, fault, source) from fault
    try:
        if shape[2] != channels:
            builder.adapt(stem, shape[2])
        image = keras.Input(shape, name="image")
        x: Any = image
        if preprocessing == "inside":
            x = preprocess(builder, image)
        outputs, name = family.build(builder, x, top)
        model = keras.Model(image, outputs, name=name)
        left = builder.assign_weights(skipped=() if top else family.TOP)
    except (Unfit, ValueError, TypeError, ArithmeticError, LookupError) as fault:
        # Keras, too, finds sizes that cannot be.
        raise _unfit(family, fault, source) from fault
    return model, name, left if include_top == "auto" else []


def _unfit(family: Any, fault: Exception, source: str) -> ValueError:
    lines = str(fault).strip().splitlines()
    return ValueError(
        f"`source` looks like a {family.__name__.rpartition('.')[2]}, but "
        f"{lines[0][:300] if lines else type(fault).__name__}. Build the model in Keras and use "
        f"`ftk.load_weights_from_torch(model, path)`. Received: source={source!r}"
    )
