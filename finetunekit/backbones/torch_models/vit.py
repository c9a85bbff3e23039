"""Vision Transformer as torchvision has it: ViT-B, L and H.

Position embeddings are resampled where the image has another size than the weights were trained
on. The class token is stored in the first row of the positions, since both are only added.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020; resampling as in timm.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from finetunekit.backbones.torch_models.builder import Builder, Unfit, image_shape, named

TOP = ("heads.head",)
_L = keras.layers
_HEAD_SIZE = {1280: 80}  # ViT-H; all others have 64.
_EPSILON = 1e-6


def recognises(builder: Builder) -> bool:
    """Whether the keys are those of a ViT."""
    return builder.has("conv_proj.weight") and builder.has("encoder.pos_embedding")


def stem(builder: Builder) -> str:
    """The key of the first convolution."""
    return "conv_proj"


def checked_shape(builder: Builder, given: Any, top: bool) -> tuple[Any, ...]:
    """The shape of its images, which must be a multiple of the patches."""
    _, channels, patch, _ = builder.shape("conv_proj.weight")
    side = math.isqrt(builder.shape("encoder.pos_embedding", 3)[1] - 1) * patch
    shape = image_shape(given, (side, side, channels), patch)
    if any(n is None or n % patch for n in shape[:2]):
        raise ValueError(
            f"`input_shape` must have sides that are multiples of {patch}, the size of a patch. "
            f"Received: input_shape={given!r}"
        )
    return shape


def build(builder: Builder, x: Any, top: bool) -> tuple[Any, str]:
    """Features of all tokens, the class token first, or logits; and the name."""
    width, _, patch, _ = builder.shape("conv_proj.weight")
    rows, columns = x.shape[1] // patch, x.shape[2] // patch
    x = _patches(builder, x, patch)
    x = _L.Reshape((rows * columns, width), name="tokens")(x)
    # A row of zeros in front, which the first row of the positions makes the class token.
    x = _L.ZeroPadding1D((1, 0), name="class_token")(x)
    index = ops.cumsum(ops.ones_like(x[..., 0], dtype="int32"), axis=1) - 1
    positions = _L.Embedding(rows * columns + 1, width, name="encoder_pos_embedding")
    builder.later(positions, [_positions(builder, rows, columns)])
    x = _L.Add(name="embedded")([x, positions(index)])
    for number in range(len(builder.numbers("encoder.layers.encoder_layer_")) or _count(builder)):
        x = _block(builder, x, f"encoder.layers.encoder_layer_{number}")
    x = builder.layer_norm(x, "encoder.ln", _EPSILON)
    if top:
        x = builder.dense(x[:, 0], "heads.head")
    return x, f"vit_{width}_{patch}"


def _count(builder: Builder) -> int:
    return sum(key.endswith(".ln_1.weight") for key in builder.state)


def _patches(builder: Builder, x: Any, patch: int) -> Any:
    kernel, bias = builder.take("conv_proj.weight", 4), builder.take("conv_proj.bias", 1)
    layer = _L.Conv2D(len(kernel), patch, strides=patch, name="conv_proj")
    builder.later(layer, [kernel.transpose(2, 3, 1, 0), bias])
    return layer(x)


def _positions(builder: Builder, rows: int, columns: int) -> np.ndarray:
    table = builder.take("encoder.pos_embedding", 3)[0].astype("float32")
    token = builder.take("class_token", 3)[0].astype("float32")
    first, grid = table[:1] + token, table[1:]
    side = math.isqrt(len(grid))
    if side * side != len(grid):
        raise Unfit(f"'encoder.pos_embedding' has {len(grid)} places")
    if (side, side) != (rows, columns):
        square = grid.reshape(side, side, -1)
        resized = keras.ops.image.resize(
            square, (rows, columns), interpolation="bicubic", antialias=True
        )
        grid = np.asarray(keras.ops.convert_to_numpy(resized)).reshape(rows * columns, -1)
    return np.concatenate([first, grid])


def _block(builder: Builder, inputs: Any, key: str) -> Any:
    x = _attention(builder, builder.layer_norm(inputs, f"{key}.ln_1", _EPSILON), key)
    inputs = _L.Add(name=named(f"{key}.add_1"))([inputs, x])
    x = builder.layer_norm(inputs, f"{key}.ln_2", _EPSILON)
    # torchvision has had two names for the two layers.
    names = (
        ("mlp.0", "mlp.3")
        if builder.has(f"{key}.mlp.0.weight")
        else ("mlp.linear_1", "mlp.linear_2")
    )
    x = builder.dense(x, f"{key}.{names[0]}", activation="gelu")
    return _L.Add(name=named(f"{key}.add_2"))([inputs, builder.dense(x, f"{key}.{names[1]}")])


def _attention(builder: Builder, x: Any, key: str) -> Any:
    key = f"{key}.self_attention"
    weight, bias = builder.take(f"{key}.in_proj_weight", 2), builder.take(f"{key}.in_proj_bias", 1)
    width = weight.shape[1]
    size = _HEAD_SIZE.get(width, 64)
    heads = width // size
    if weight.shape[0] != 3 * width or heads * size != width:
        raise Unfit(f"'{key}.in_proj_weight' has the shape {weight.shape}")
    arrays = []
    for kernel, offset in zip(np.split(weight, 3), np.split(bias, 3), strict=True):
        arrays += [kernel.T.reshape(width, heads, size), offset.reshape(heads, size)]
    out = builder.take(f"{key}.out_proj.weight", 2)
    arrays += [out.T.reshape(heads, size, width), builder.take(f"{key}.out_proj.bias", 1)]
    layer = _L.MultiHeadAttention(heads, size, name=named(key))
    # Keras lists query, key, value and output; torch's rows are in this order.
    builder.later(layer, arrays)
    return layer(x, x)
