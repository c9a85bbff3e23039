"""Stores in memory: the features of the last fits, as long as their layers live."""

import weakref
from collections.abc import Mapping

import keras

from finetunekit.caching.hdf5_table import differences
from finetunekit.caching.store import FeatureStore

# By a layer of the prefix: a new head on the same backbone finds them too.
_kept: "weakref.WeakKeyDictionary[keras.layers.Layer, list[FeatureStore]]" = (
    weakref.WeakKeyDictionary()
)


def find(layer: keras.layers.Layer, key: Mapping[str, str]) -> FeatureStore | None:
    """A store of these features, complete or not."""
    stores = reversed(_kept.get(layer, []))
    return next((store for store in stores if not differences(store.key, key)), None)


def keep(layer: keras.layers.Layer, store: FeatureStore, limit: int) -> None:
    """Keeps a store; the oldest ones go when all together pass the limit in bytes."""
    stores = [other for other in _kept.get(layer, []) if other.key != store.key]
    _kept[layer] = [*stores, store]
    everywhere = [(owner, other) for owner in list(_kept) for other in _kept[owner]]
    size = sum(other.nbytes for _, other in everywhere)
    for owner, other in everywhere:
        if size <= limit or other is store:
            continue
        _kept[owner] = [s for s in _kept[owner] if s is not other]
        size -= other.nbytes


def drop_all() -> int:
    """Forgets all of them; the number of bytes that were held."""
    size = sum(store.nbytes for stores in _kept.values() for store in stores)
    _kept.clear()
    return size
