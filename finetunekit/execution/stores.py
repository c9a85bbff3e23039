"""Stores of features for a fit: in memory, in the user's file, or in a temporary one."""

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import keras

from finetunekit.caching import memory, memory_stores
from finetunekit.caching.options import Settings
from finetunekit.caching.store import FeatureStore, size_of
from finetunekit.foundation.messages import say


def known_store(
    settings: Settings, layer: keras.layers.Layer, key: dict[str, str]
) -> FeatureStore | None:
    """A store with such features that is there already, complete or not.

    Raises:
        StoreMismatch: If the user's file holds features of something else.
    """
    if settings.path is None:
        return memory_stores.find(layer, key)
    exists = Path(settings.path).exists()
    return FeatureStore.open(settings.path, key, write=True) if exists else None


def new_store(
    settings: Settings, columns: Any, rows: int, key: dict[str, str], name: str, **options: Any
) -> FeatureStore:
    """A store where the settings want it; in a temporary file if memory does not do."""
    size = size_of(columns, rows)
    if settings.path is not None:
        say(f"the features of the {name} take {memory.size_text(size)}", settings.verbose)
        return FeatureStore.create(settings.path, columns, rows, key | settings.mark, **options)
    if size <= settings.memory_limit:
        return FeatureStore.in_memory(columns, rows, key, **options)
    folder = tempfile.mkdtemp(prefix="finetunekit-")
    say(
        f"the features of the {name} take {memory.size_text(size)}, more than the "
        f"{memory.size_text(settings.memory_limit)} of `memory_limit`: they go to a temporary file "
        f"in {folder}",
        settings.verbose,
    )
    try:
        store = FeatureStore.create(Path(folder) / "features.h5", columns, rows, key, **options)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    return store
