"""Features of many places or tokens as one vector; padding never counts, and none give zeros."""

from typing import Any

import keras
from keras import ops

from finetunekit.foundation import keras_internals
from finetunekit.models import data_formats, graph
from finetunekit.models.data_formats import Layout
from finetunekit.tasks.heads import pooling_layer
from finetunekit.text import roles


def pool_features(
    features: Any, pooling: Any, backbone: keras.Model, inputs: Any, layout: Layout | None = None
) -> Any:
    """One vector a sample, by stock layers and operations of Keras.

    Where they are to stay as they are, their channels come last, which the head's layers expect.

    Args:
        features: A backbone's output.
        pooling: `"auto"`, `"avg"`, `"max"`, `"first"`, `"last"`, `"flatten"` or None.
        backbone: What has made them.
        inputs: What it was called on, a padding mask among them if it takes one.
        layout: Which axis of the features counts the channels; None is the last one.

    Raises:
        ValueError: If features of this shape cannot be pooled so.
    """
    features, data_format = _ordered(features, pooling, layout)
    if len(features.shape) != 3 or pooling in (None, "flatten"):
        layer = pooling_layer(features.shape[1:], pooling, data_format)
        return features if layer is None else layer(features)
    mask = roles.mask_of(backbone, inputs)
    if pooling == "auto" and mask is not None and roles.is_causal(backbone):
        pooling = "last"
    if mask is None and pooling in ("last", "max"):
        mask = _implied_mask(backbone, inputs)
    if pooling == "first":
        return features[:, 0]
    if pooling == "last":
        return features[:, -1] if mask is None else _last(features, mask)
    pool: Any = pooling_layer(features.shape[1:], pooling)
    if mask is None and _gives_mask(backbone):
        mask = _implied_mask(backbone, inputs)
    if mask is None:
        return pool(features)
    real = ops.cast(mask, "bool")
    some = ops.any(real, axis=1, keepdims=True)
    if pooling == "max":
        inside = ops.expand_dims(real, -1)
        pooled = pool(ops.where(inside, features, _lowest(features.dtype)))
    else:
        # Over no token Keras divides by zero: a sample of padding only takes all of them.
        pooled = pool(features, mask=ops.logical_or(real, ops.logical_not(some)))
    return ops.where(some, pooled, 0.0)


def _ordered(features: Any, pooling: Any, layout: Layout | None) -> tuple[Any, str]:
    """The features in an order that the layers of Keras take, and its name."""
    rank = len(features.shape)
    channels = rank - 1 if layout is None or rank < 3 else layout.channel_axis()
    if channels == rank - 1:
        return features, data_formats.LAST
    if channels == 1 and rank > 3 and pooling is not None:
        return features, data_formats.FIRST
    rest = [axis for axis in range(1, rank) if axis != channels]
    return keras.layers.Permute((*rest, channels), name="channels_last")(
        features
    ), data_formats.LAST


def _implied_mask(backbone: keras.Model, inputs: Any) -> Any:
    """The mask that an Embedding makes of token ids, where it is 0 that fills up."""
    found = [place.layer for place in graph.walk(backbone)]
    masks = any(isinstance(layer, keras.layers.Embedding) and layer.mask_zero for layer in found)
    tensors = keras.tree.flatten(inputs)
    if not masks or len(tensors) != 1:
        return None
    return ops.not_equal(tensors[0], 0)


def _gives_mask(backbone: keras.Model) -> bool:
    """Whether the mask of an Embedding comes out with the features, so that Keras averages by it.

    From outside of the backbone it is not seen before the model runs.
    """
    return any(keras_internals.mask_of(tensor) is not None for tensor in backbone.outputs)


def _last(features: Any, mask: Any) -> Any:
    """Of each sample the features of its last token, whichever side the padding is on."""
    count = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    place = ops.expand_dims(ops.argmax(count, axis=1, keepdims=True), -1)
    return ops.squeeze(ops.take_along_axis(features, place, axis=1), 1)


def _lowest(dtype: str) -> float:
    """What no feature lies below, in this dtype."""
    return -65504.0 if dtype == "float16" else -3.3e38
