"""Engines that were prepared: in memory as long as their layers live, and beside features."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import keras

from finetunekit.caching import engine_file

Made = dict[Any, Callable[..., Any]]

# The one whose functions stand for themselves: another one would hold the layers, and so its key.
_KEPT_ENGINE = "litert"
_MOST = 4  # Each holds a copy of the weights.

_kept: "weakref.WeakKeyDictionary[keras.layers.Layer, tuple[dict[str, str], str, Made]]" = (
    weakref.WeakKeyDictionary()
)


def find(
    layer: keras.layers.Layer, key: Mapping[str, str] | None, folder: str | None = None
) -> tuple[str, Made]:
    """The name and the functions of the engine that was prepared for this very prefix, if any.

    Args:
        layer: The first layer of the prefix.
        key: That of the prefix.
        folder: Where another process may have kept it.
    """
    if key is None:
        return "", {}
    kept_key, name, made = _kept.get(layer, ({}, "", {}))
    if kept_key == key:
        return name, made
    return _KEPT_ENGINE, {} if folder is None else dict(engine_file.read(folder, key) or {})


def keep(
    layer: keras.layers.Layer,
    key: Mapping[str, str],
    name: str,
    made: Made,
    folder: str | None = None,
) -> None:
    """Keeps an engine in the place of the one before; of all of them the last few.

    Args:
        layer: The first layer of the prefix.
        key: That of the prefix.
        name: The engine's.
        made: Its functions.
        folder: Where it is kept for other processes, too.
    """
    if name != _KEPT_ENGINE:
        return
    _kept.pop(layer, None)
    for other in list(_kept)[: max(0, len(_kept) + 1 - _MOST)]:
        del _kept[other]
    _kept[layer] = (dict(key), name, dict(made))
    if folder is not None:
        engine_file.write(folder, key, made)


def drop_all() -> None:
    """Forgets those in memory."""
    _kept.clear()
