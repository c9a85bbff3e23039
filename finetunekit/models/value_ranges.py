"""The range of values that an augmentation layer works on, against the one that comes to it."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from finetunekit.models import graph

_APART = 0.25  # Of the width of the range: what the ends may be off, as resized pixels are.


def ranged(layers: Iterable[keras.layers.Layer]) -> Iterator[tuple[Any, tuple[float, float]]]:
    """The layers that are told the range of values, and the range, nested ones among them.

    Keras has more than a dozen of them, such as RandomBrightness and RandAugment: they scale, clip
    or fill by their `value_range`, which is 0 to 255 unless said.
    """
    for layer in layers:
        own = _range_of(layer)
        if own is not None:
            yield layer, own  # Layers inside of it get their range from it.
        else:
            yield from ranged(
                place.layer for place in graph.walk(layer) if len(place.ancestors) == 1
            )


def doubts(
    layers: Iterable[keras.layers.Layer], low: float, high: float, model_name: str
) -> Iterator[str]:
    """What is wrong with layers for values between `low` and `high`, each with its fix."""
    width = high - low
    for layer, (start, end) in ranged(layers):
        if max(abs(start - low), abs(end - high)) > _APART * width:
            yield (
                f"{layer.name!r}, a {type(layer).__name__}, works on values of {start:.3g} to "
                f"{end:.3g}, and those of {model_name!r} lie between {low:.3g} and {high:.3g}: it "
                "clips or shifts them until nothing is to be seen. Give the layer "
                f"`value_range=({low:.4g}, {high:.4g})`"
            )


def _range_of(layer: Any) -> tuple[float, float] | None:
    found = getattr(layer, "value_range", None)
    if not isinstance(found, (list, tuple)) or len(found) != 2:
        return None
    return float(found[0]), float(found[1])
