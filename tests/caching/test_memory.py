"""How much is kept in memory, and what goes first?"""

from __future__ import annotations

import gc
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.caching import memory, memory_stores
from finetunekit.caching.store import Column, FeatureStore

COLUMNS = {"a": Column((25,), "float32")}  # 100 bytes a row.


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """No test finds the features of another."""
    memory_stores.drop_all()


def store(name: str, rows: int = 1) -> FeatureStore:
    made = FeatureStore.in_memory(COLUMNS, rows, {"data": name})
    made.append({"a": np.zeros((rows, 25), "float32")})
    return made


def kept(layer: Any) -> set[str]:
    return {n for n in "abcdef" if memory_stores.find(layer, {"data": n}) is not None}


def test_the_oldest_go_when_all_together_pass_the_limit() -> None:
    one, other = keras.layers.Dense(1), keras.layers.Dense(1)
    for layer, name in ((one, "a"), (other, "b"), (one, "c")):
        memory_stores.keep(layer, store(name), 300)
    assert kept(one) | kept(other) == {"a", "b", "c"}  # Exactly the limit.
    memory_stores.keep(other, store("d"), 300)
    assert (kept(one), kept(other)) == ({"c"}, {"b", "d"})
    # The new one stays, though it is too large alone.
    memory_stores.keep(one, store("e", 5), 300)
    assert (kept(one), kept(other)) == ({"e"}, set())
    assert memory_stores.drop_all() == 500
    assert kept(one) == set()


def test_the_last_store_of_a_key_takes_the_place_of_the_one_before() -> None:
    layer = keras.layers.Dense(1)
    first, second = store("a"), store("a", 2)
    memory_stores.keep(layer, first, 1000)
    memory_stores.keep(layer, second, 1000)
    assert memory_stores.find(layer, {"data": "a"}) is second
    assert memory_stores.drop_all() == 200


def test_of_stores_that_fit_the_last_is_found() -> None:
    layer = keras.layers.Dense(1)
    for engine in ("keras in batches of 8", "any"):
        made = FeatureStore.in_memory(COLUMNS, 1, {"data": "a", "engine": engine})
        memory_stores.keep(layer, made, 1000)
    found = memory_stores.find(layer, {"data": "a", "engine": "any"})
    assert found is not None
    assert found.key["engine"] == "any"
    exact = {"data": "a", "engine": "keras in batches of 4"}
    assert memory_stores.find(layer, exact) is None


def test_features_go_with_their_layers() -> None:
    layer = keras.layers.Dense(1)
    memory_stores.keep(layer, store("a"), 1000)
    del layer
    gc.collect()
    assert memory_stores.drop_all() == 0


LIMITS = {"2 GB": 2 * 10**9, "1.5kb": 1500, "3 MiB": 3 * 2**20, " 7 b ": 7, 12: 12, 0.5e3: 500}


@pytest.mark.parametrize("given", LIMITS, ids=str)
def test_limits(given: Any) -> None:
    assert memory.limit_of(given) == LIMITS[given]


def test_by_default_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1001)
    assert memory.limit_of(None) == 500


@pytest.mark.parametrize("given", [0, -1, True, "2", "2 XB", "1.2.3 GB", [1]], ids=str)
def test_what_is_no_limit(given: Any) -> None:
    with pytest.raises(ValueError, match="Received: memory_limit="):
        memory.limit_of(given)


def test_sizes_in_words() -> None:
    words = [memory.size_text(n) for n in (0, 999, 1000, 1.5e6, 2e9, 3e13)]
    assert words == ["0 bytes", "999 bytes", "1.0 kB", "1.5 MB", "2.0 GB", "30,000.0 GB"]
