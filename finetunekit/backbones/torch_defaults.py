"""Settings that no checkpoint holds, and that torch sets otherwise than Keras does by default."""

from collections.abc import Iterable
from typing import Any

import keras

from finetunekit.foundation.messages import listed

_L = keras.layers
_KERAS_EPSILON = 1e-3
_TRANSPOSED = (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose)


def doubts(layers: Iterable[tuple[str, Any]]) -> list[str]:
    """What is probably not as in torch, although all weights agree; a sentence each.

    Args:
        layers: Paths and layers.
    """
    rows = list(layers)
    epsilons = [path for path, layer in rows if getattr(layer, "epsilon", None) == _KERAS_EPSILON]
    padded = [path for path, layer in rows if _pads_unevenly(layer)]
    found = []
    if epsilons:
        found.append(
            f"{listed(epsilons, 4)}: epsilon is 0.001, the default of Keras; that of torch is "
            "1e-05. Build the model with the epsilon that the weights were trained with"
        )
    if padded:
        found.append(
            f"{listed(padded, 4)}: strides with padding='same' pad more at the end than in front, "
            "torch pads both sides alike. Put ZeroPadding in front of padding='valid'"
        )
    return found


def _pads_unevenly(layer: Any) -> bool:
    if getattr(layer, "padding", None) != "same" or isinstance(layer, _TRANSPOSED):
        return False
    return any(
        step > 1 and side > 1 for step, side in zip(layer.strides, layer.kernel_size, strict=True)
    )
