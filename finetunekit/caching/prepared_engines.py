"""Engines that were prepared in this process, as long as the layers that they compute live."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras

Made = dict[Any, Callable[..., Any]]

# Those whose functions stand for themselves: another one would hold the layers, and so its key.
KEPT = ("litert",)
_MOST = 4  # Each holds a copy of the weights.

_kept: "weakref.WeakKeyDictionary[keras.layers.Layer, tuple[dict[str, str], str, Made]]" = (
    weakref.WeakKeyDictionary()
)


def find(layer: keras.layers.Layer, key: Mapping[str, str] | None) -> tuple[str, Made] | None:
    """The name and the functions of the engine that was prepared for this very prefix, if any."""
    found = _kept.get(layer)
    return None if found is None or found[0] != key else (found[1], found[2])


def keep(layer: keras.layers.Layer, key: Mapping[str, str], name: str, made: Made) -> None:
    """Keeps an engine in the place of the one before; of all of them the last few."""
    if name not in KEPT:
        return
    _kept.pop(layer, None)
    for other in list(_kept)[: max(0, len(_kept) + 1 - _MOST)]:
        del _kept[other]
    _kept[layer] = (dict(key), name, dict(made))


def drop_all() -> None:
    """Forgets all of them."""
    _kept.clear()
