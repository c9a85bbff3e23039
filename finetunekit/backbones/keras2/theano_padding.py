"""Layers that Theano pads otherwise than TensorFlow does, with their padding made explicit."""

from typing import Any

import keras

from finetunekit.backbones.keras2.context import Context

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_TRANSPOSED = (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_ZEROS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
_CROPPING = (keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)


def explicit(layer: Any, context: Context) -> Any:
    """A padded layer of Theano's as a chain that pads or crops as it did; others unchanged.

    Theano puts half of the kernel before the first pixel, whatever strides and sizes are;
    TensorFlow so only for odd kernels without strides.

    Args:
        layer: A layer that is not yet built.
        context: The file being read, for the report.
    """
    if not context.by_theano or getattr(layer, "padding", None) != "same":
        return layer
    if isinstance(layer, _CONVOLUTIONS):
        parts = _with_zeros(layer)
    elif isinstance(layer, _TRANSPOSED):
        parts = _cropped(layer)
    else:
        return layer
    if not parts:
        return layer
    layer.padding = "valid"
    context.convert(f"{layer.name}: its padding is explicit, as Theano puts the zeros elsewhere")
    return keras.Sequential(parts, name=layer.name)


def _with_zeros(layer: Any) -> list[Any]:
    """Zeros before a convolution; nothing if both backends agree."""
    rates = layer.dilation_rate
    rates = [rates] * len(layer.kernel_size) if isinstance(rates, int) else rates
    sizes = [(n - 1) * rate + 1 for n, rate in zip(layer.kernel_size, rates, strict=True)]
    if all(n == 1 or (n % 2 and s == 1) for n, s in zip(sizes, layer.strides, strict=True)):
        return []
    # Behind a convolution of even size Theano's Keras cut the last pixel off, but not here.
    whole = isinstance(layer, _SEPARABLE)
    pairs = [(n // 2, n // 2 if whole else n - 1 - n // 2) for n in sizes]
    return [_made(_ZEROS, pairs, layer, f"{layer.name}_zeros"), layer]


def _cropped(layer: Any) -> list[Any]:
    """A cropping behind a transposed convolution; nothing if both agree, or it would not do."""
    axes = list(zip(layer.kernel_size, layer.strides, strict=True))
    pairs = [(size // 2, size - stride - size // 2) for size, stride in axes]
    if all(stride == 1 for _, stride in axes) or min(after for _, after in pairs) < 0:
        return []
    return [layer, _made(_CROPPING, pairs, layer, f"{layer.name}_cropping")]


def _made(classes: tuple[Any, ...], pairs: list[tuple[int, int]], layer: Any, name: str) -> Any:
    rank = len(pairs)
    options = {} if rank == 1 and classes is _CROPPING else {"data_format": layer.data_format}
    return classes[rank - 1](pairs[0] if rank == 1 else tuple(pairs), name=name, **options)
