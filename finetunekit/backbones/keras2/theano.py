"""Kernels and padding of Theano, which mirrors the kernels of a convolution."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.keras2.context import Context
from finetunekit.models import graph

NOTE = "its kernels were mirrored, as Theano stores them, and are turned back"

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_RECURRENT = (keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D)
# Separable and depthwise layers mirrored theirs themselves.
_MIRRORED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    *TRANSPOSED,
    *_RECURRENT,
)


def mirrored(layer: keras.layers.Layer) -> set[int]:
    """The kernels in a layer, and in those inside it, that Theano stores mirrored, by `id`."""
    return {
        id(variable)
        for found in graph.with_descendants([layer])
        if isinstance(found, _MIRRORED)
        for variable in found.weights
        if variable.name in ("kernel", "recurrent_kernel")
    }


def mirror(kernel: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A kernel reversed along its spatial axes."""
    return np.flip(kernel, axis=tuple(range(kernel.ndim - 2)))


def check_padding(model: keras.Model, context: Context) -> None:
    """Refuses a model with a layer that Theano pads otherwise.

    Raises:
        ValueError: If there is such a layer, with its name.
    """
    fault = padding_fault(model)
    if fault is not None:
        raise context.error(
            fault,
            "Build the model with explicit padding and padding='valid' in its place, and load the "
            "weights: `ftk.load_weights(model, path)`.",
        )


def padding_fault(layer: keras.layers.Layer) -> str | None:
    """Which layer in it has its `"same"` padding elsewhere under Theano, in words; None if none.

    Theano pads both sides by half of the kernel. TensorFlow pads as little as the strides need,
    and the odd one at the end.
    """
    for found in graph.with_descendants([layer]):
        sizes = getattr(found, "kernel_size", None) or getattr(found, "pool_size", None)
        if sizes is None or not hasattr(found, "strides"):
            continue
        if isinstance(found, _RECURRENT) and any(size % 2 == 0 for size in sizes):
            return (
                f"layer {found.name!r}, a {type(found).__name__}, has a kernel of the even size "
                f"{tuple(sizes)}, whose states Theano pads elsewhere"
            )
        if getattr(found, "padding", None) == "same" and not all(
            _agrees(found, number, size) for number, size in enumerate(sizes)
        ):
            return (
                f"layer {found.name!r}, a {type(found).__name__}, has padding='same' with the "
                f"size {tuple(sizes)} and strides {tuple(found.strides)}, where Theano puts the "
                "zeros elsewhere"
            )
    return None


def _agrees(layer: Any, axis: int, size: int) -> bool:
    """Whether both pad one axis by as much at its beginning."""
    stride = layer.strides[axis]
    if hasattr(layer, "pool_size"):
        if size == 1:
            return True
        theirs = size - 2 if size > 2 and size % 2 else size - 1
    else:
        size = (size - 1) * _axis(layer, "dilation_rate", axis, 1) + 1
        theirs = size // 2
    if isinstance(layer, TRANSPOSED):
        return theirs == max(size - stride, 0) // 2
    return all(theirs == ours for ours in _before(layer, axis, size, stride))


def _axis(layer: Any, attribute: str, axis: int, default: int) -> int:
    value = getattr(layer, attribute, default)
    return int(value[axis] if isinstance(value, Sequence) else value)


def _before(layer: Any, axis: int, size: int, stride: int) -> list[int]:
    """By how much TensorFlow pads the beginning; all that is possible, if lengths are unknown."""
    length = _length(layer, axis)
    lengths = [length] if length else range(size + stride, size + 2 * stride)
    return [max((-(-n // stride) - 1) * stride + size - n, 0) // 2 for n in lengths]


def _length(layer: Any, axis: int) -> int | None:
    try:
        shape = tuple(layer.input.shape)
    except (AttributeError, ValueError):  # Called several times, or inside a wrapper.
        return None
    rank = len(layer.strides)
    spatial = shape[-rank:] if layer.data_format == "channels_first" else shape[-rank - 1 : -1]
    return spatial[axis]
