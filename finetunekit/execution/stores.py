"""Stores of features for a fit: in memory, in the user's file, or in a temporary one."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import keras

from finetunekit.caching import memory, memory_stores
from finetunekit.caching.options import CacheOptions
from finetunekit.caching.store import FeatureStore, size_of
from finetunekit.foundation.messages import say


def known_store(
    cache: CacheOptions, layer: keras.layers.Layer, key: dict[str, str]
) -> FeatureStore | None:
    """A store with such features that is there already, complete or not.

    Raises:
        StoreMismatch: If the user's file holds features of something else.
    """
    if cache.path is None:
        return memory_stores.find(layer, key)
    exists = Path(cache.path).exists()
    return FeatureStore.open(cache.path, key, write=True) if exists else None


def new_store(
    cache: CacheOptions, columns: Any, rows: int, key: dict[str, str], name: str, **options: Any
) -> FeatureStore:
    """A store where the cache options want it; in a temporary file if memory does not do."""
    size = size_of(columns, rows)
    if cache.path is not None:
        say(f"the features of the {name} take {memory.size_text(size)}", cache.verbose)
        return FeatureStore.create(cache.path, columns, rows, key | cache.mark, **options)
    if size <= cache.memory_limit:
        return FeatureStore.in_memory(columns, rows, key, **options)
    folder = tempfile.mkdtemp(prefix="finetunekit-")
    say(
        f"the features of the {name} take {memory.size_text(size)}, more than the "
        f"{memory.size_text(cache.memory_limit)} of `memory_limit`: they go to a temporary file "
        f"in {folder}",
        cache.verbose,
    )
    try:
        store = FeatureStore.create(Path(folder) / "features.h5", columns, rows, key, **options)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    return store
