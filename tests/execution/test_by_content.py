"""Features found by content: each sample is computed once, and its own row comes back."""

from __future__ import annotations

import functools
import hashlib
import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.caching import cut, memory_stores
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.hdf5_table import StoreMismatch
from finetunekit.caching.options import CacheOptions
from finetunekit.caching.store import FeatureStore
from finetunekit.execution.by_content import FeaturesByContent

L = keras.layers
X = np.arange(36, dtype="float32").reshape(12, 3)
KEY = {"prefix weights": "these"}
ROW = 4 * (3 + 1)  # Bytes of a row of both features.


@functools.cache
def two_features() -> FrozenSplit:
    """A model whose frozen part gives two tensors to the rest."""
    inputs = keras.Input((3,))
    frozen = [L.Dense(width, trainable=False)(inputs) for width in (3, 1)]
    return cut.split_frozen(keras.Model(inputs, L.Add()([L.Dense(1)(x) for x in frozen])))


def features(x: np.ndarray) -> list[np.ndarray]:
    return [2 * x + 1, x.sum(axis=1, keepdims=True)]


class Computing:
    """Computes features, and notes of what and how many rows it was told to come."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []
        self.told: list[int] = []

    def __call__(self, batch: list[np.ndarray], rows_left: int) -> list[np.ndarray]:
        self.batches.append(batch[0])
        self.told.append(rows_left)
        return features(batch[0])


def made(
    split: FrozenSplit, computing: Any = None, name: str = "samples", **options: Any
) -> FeaturesByContent:
    cache = CacheOptions(**({"memory_limit": 1 << 20, "verbose": 0} | options))
    return FeaturesByContent(split, KEY, computing or Computing(), cache, name)


def check(columns: dict[str, np.ndarray], x: np.ndarray) -> None:
    assert list(columns) == ["feature_0", "feature_1"]
    for found, expected in zip(columns.values(), features(x), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(b"float32 (3,) " + row.tobytes(), digest_size=16).digest()


def kept(known: FeaturesByContent) -> list[int]:
    """The samples that have features."""
    return [number for number, row in enumerate(X) if known.holds([digest(row)])]


def store_in_memory(split: FrozenSplit, name: str = "samples", engine: str = "any") -> Any:
    key = KEY | {"data": f"by content, {name}", "engine": engine}
    return memory_stores.find(split.layers[0], key)


def test_of_samples_that_are_alike_the_first_is_computed() -> None:
    computing = Computing()
    known = made(two_features(), computing)
    assert len(known) == 0
    x = X[[4, 1, 4, 0, 1]]
    found = known.find([x], 7)
    assert found.names == [digest(row) for row in x]
    assert found.new == 3
    check(found.columns, x)
    np.testing.assert_array_equal(computing.batches, [X[[4, 1, 0]]])
    assert computing.told == [7]
    assert len(known) == 3
    assert kept(known) == [0, 1, 4]


def test_what_has_come_before_is_not_computed_again() -> None:
    computing = Computing()
    known = made(two_features(), computing)
    known.find([X[:2]], 6)
    found = known.find([X[[1, 3, 0, 2]]], 4)
    assert found.new == 2
    check(found.columns, X[[1, 3, 0, 2]])
    again = known.find([X[[3, 0]]], 2)
    assert again.new == 0
    check(again.columns, X[[3, 0]])
    assert [batch.tolist() for batch in computing.batches] == [X[:2].tolist(), X[[3, 2]].tolist()]
    assert computing.told == [6, 4]


def test_a_batch_that_is_new_as_a_whole_is_not_copied() -> None:
    computing = Computing()
    x = X[:2]
    made(two_features(), computing).find([x], 2)
    assert computing.batches[0] is x


def test_the_extractor_hears_of_all_that_is_new_even_if_fewer_were_said_to_come() -> None:
    computing = Computing()
    known = made(two_features(), computing)
    known.find([X[:3]], 1)
    assert computing.told == [3]
    assert kept(known) == [0, 1, 2]


def test_samples_differ_in_any_of_their_inputs() -> None:
    calls: list[int] = []

    def computing(batch: list[np.ndarray], rows_left: int) -> list[np.ndarray]:
        calls.append(len(batch[1]))
        return features(batch[0] + batch[1])

    known = made(two_features(), computing)
    other = np.array([[1.0], [1.0], [2.0]], "float32")
    x = X[[0, 0, 0]]
    found = known.find([x, other], 3)
    assert found.new == 2
    check(found.columns, x + other)
    check(known.find([X[[0, 1]], other[1:]], 2).columns, X[[0, 1]] + other[1:])
    assert calls == [2, 1]


def test_without_room_nothing_is_kept() -> None:
    split, computing = two_features(), Computing()
    known = made(split, computing)
    for _ in range(2):
        found = known.find([X[[2, 2, 5]]], 0)
        assert found.new == 2
        check(found.columns, X[[2, 2, 5]])
        assert not known.holds(found.names)
    assert len(known) == 0
    assert computing.told == [2, 2]
    assert store_in_memory(split) is None


def test_the_last_room_is_used_and_what_comes_after_is_computed_each_time() -> None:
    computing = Computing()
    known = made(two_features(), computing)
    known.find([X[:2]], 4)
    known.find([X[2:4]], 0)
    assert kept(known) == [0, 1, 2, 3]
    for _ in range(2):
        found = known.find([X[[5, 1, 4, 5, 3]]], 0)
        assert found.new == 2
        check(found.columns, X[[5, 1, 4, 5, 3]])
    assert kept(known) == [0, 1, 2, 3]
    assert [len(batch) for batch in computing.batches] == [2, 2, 2, 2]


def test_all_of_the_names_must_be_kept_to_be_held() -> None:
    known = made(two_features())
    known.find([X[:2]], 2)
    assert known.holds([digest(X[0]), digest(X[1])])
    assert not known.holds([digest(X[0]), digest(X[2])])


def test_names_are_read_in_their_order() -> None:
    known = made(two_features())
    known.find([X[:4]], 4)
    check(known.read([digest(X[n]) for n in (3, 0, 3, 1)]), X[[3, 0, 3, 1]])


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_room_is_told_once(verbose: int, caplog: pytest.LogCaptureFixture) -> None:
    known = made(two_features(), verbose=verbose, name="pictures")
    with caplog.at_level(logging.INFO, "finetunekit"):
        known.find([X[:2]], 5)
        known.find([X[2:8]], 9)
    told = [f"pictures: room for {5 * ROW} bytes of features"]
    assert [record.getMessage() for record in caplog.records] == (told if verbose else [])


def test_memory_grows_by_what_is_to_come() -> None:
    split, computing = two_features(), Computing()
    known = made(split, computing)
    known.find([X[[3, 1]]], 2)
    assert store_in_memory(split).rows == 2
    found = known.find([X[[1, 0, 2]]], 5)
    assert found.new == 2
    check(found.columns, X[[1, 0, 2]])
    store = store_in_memory(split)
    assert (store.done, store.rows) == (4, 7)
    np.testing.assert_array_equal(store.array("feature_0"), features(X[[3, 1, 0, 2]])[0])
    check(known.find([X[:4]], 0).columns, X[:4])
    assert [len(batch) for batch in computing.batches] == [2, 2]


def test_a_later_fit_finds_what_is_in_memory() -> None:
    split, computing = two_features(), Computing()
    first = made(split)
    first.find([X[[3, 1]]], 2)
    first.find([X[[0, 2]]], 2)
    first.close()
    later = made(split, computing)
    assert len(later) == 4
    found = later.find([X[:4]], 0)
    assert found.new == 0
    check(found.columns, X[:4])
    assert computing.batches == []


@pytest.mark.parametrize(
    "other", [{"name": "validation samples"}, {"engine": "keras"}], ids=["name", "engine"]
)
def test_features_of_something_else_are_not_taken(other: dict[str, Any]) -> None:
    split = two_features()
    made(split).find([X[:2]], 2)
    first = store_in_memory(split)
    known = made(split, **other)
    assert len(known) == 0
    known.find([X[:3]], 3)
    engine = "keras in batches of 0" if "engine" in other else "any"
    assert store_in_memory(split, other.get("name", "samples"), engine).done == 3
    assert first.done == 2


@pytest.mark.parametrize(
    ("limit", "stay"), [(7 * ROW, [0, 1, 2, 3, 4, 5, 6]), (7 * ROW - 1, [1, 3, 4, 5, 6])]
)
def test_beyond_the_limit_only_what_this_fit_asked_for_stays(limit: int, stay: list[int]) -> None:
    split, computing = two_features(), Computing()
    made(split).find([X[:4]], 4)
    known = made(split, computing, memory_limit=limit)
    known.find([X[[3, 1]]], 0)
    found = known.find([X[[1, 4, 5, 6]]], 3)
    check(found.columns, X[[1, 4, 5, 6]])
    assert kept(known) == stay
    check(known.read([digest(X[n]) for n in stay]), X[stay])
    assert len(computing.batches) == 1


def test_what_a_fit_has_computed_itself_stays_beyond_the_limit() -> None:
    split = two_features()
    made(split).find([X[:2]], 4)
    known = made(split, memory_limit=5 * ROW)
    known.find([X[[2, 3]]], 2)
    known.find([X[[4, 5]]], 2)
    assert kept(known) == [2, 3, 4, 5]
    check(known.read([digest(X[n]) for n in (5, 2, 4, 3)]), X[[5, 2, 4, 3]])


def test_nothing_that_was_kept_need_stay() -> None:
    split = two_features()
    made(split).find([X[:3]], 3)
    known = made(split, memory_limit=3 * ROW)
    check(known.find([X[4:6]], 2).columns, X[4:6])
    assert kept(known) == [4, 5]
    assert store_in_memory(split).rows == 2


def test_a_file_is_filled_and_the_rest_goes_to_memory(tmp_path: Path) -> None:
    split, computing = two_features(), Computing()
    path = tmp_path / "features.h5"
    known = made(split, computing, path=str(path))
    known.find([X[:2]], 3)
    assert store_in_memory(split) is None
    # Two do not fit behind two of three: the file ends, and they go elsewhere.
    check(known.find([X[[0, 4, 3]]], 2).columns, X[[0, 4, 3]])
    assert (store_in_memory(split).done, store_in_memory(split).rows) == (2, 2)
    # The memory grows, the file does not.
    check(known.find([X[[5, 4, 1]]], 3).columns, X[[5, 4, 1]])
    assert (store_in_memory(split).done, store_in_memory(split).rows) == (3, 5)
    assert kept(known) == [0, 1, 3, 4, 5]
    order = [5, 0, 4, 1, 3, 0]
    check(known.read([digest(X[n]) for n in order]), X[order])
    mixed = known.find([X[[7, 1, 6, 5, 7]]], 0)  # The last room takes both.
    check(mixed.columns, X[[7, 1, 6, 5, 7]])
    check(known.find([X[[8, 5, 0, 8]]], 0).columns, X[[8, 5, 0, 8]])
    assert [len(batch) for batch in computing.batches] == [2, 2, 1, 2, 1]
    assert kept(known) == [0, 1, 3, 4, 5, 6, 7]
    known.close()
    with FeatureStore.open(path) as store:
        assert (store.done, store.rows) == (2, 2)
        assert store.digest_rows() == {digest(X[0]): 0, digest(X[1]): 1}
        assert store.key == KEY | {"data": "by content, samples", "engine": "any"}
        columns = {name: store.read(name, slice(None)) for name in store.columns}
        check(columns, X[:2])


def test_a_full_file_stays_as_it_is(tmp_path: Path) -> None:
    split = two_features()
    path = tmp_path / "features.h5"
    known = made(split, path=str(path))
    known.find([X[:2]], 2)
    known.find([X[2:4]], 4)
    check(known.read([digest(X[n]) for n in (3, 0, 2, 1)]), X[[3, 0, 2, 1]])
    assert (store_in_memory(split).done, store_in_memory(split).rows) == (2, 4)
    known.close()
    with FeatureStore.open(path) as store:
        assert (store.done, store.rows) == (2, 2)


def test_another_fit_goes_on_with_the_file(tmp_path: Path) -> None:
    split, computing = two_features(), Computing()
    options = {"path": str(tmp_path / "features.h5")}
    first = made(split, **options)
    first.find([X[:2]], 4)
    first.close()
    later = made(split, computing, **options)
    assert kept(later) == [0, 1]
    check(later.find([X[[2, 1, 3]]], 3).columns, X[[2, 1, 3]])
    np.testing.assert_array_equal(computing.batches, [X[[2, 3]]])
    later.close()
    with FeatureStore.open(options["path"]) as store:
        assert list(store.digest_rows()) == [digest(X[n]) for n in range(4)]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "features.h5")
    first = made(two_features(), path=path)
    first.find([X[:2]], 2)
    first.close()
    with pytest.raises(StoreMismatch, match="data"):
        made(two_features(), path=path, name="validation samples")


def test_after_a_whole_pass_the_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "features.h5"
    known = made(two_features(), path=str(path))
    known.finish()  # There is nothing yet.
    known.find([X[:2]], 4)
    known.finish()
    known.finish()
    known.find([X[2:4]], 0)
    assert kept(known) == [0, 1]
    known.close()
    with FeatureStore.open(path) as store:
        assert (store.done, store.rows) == (2, 2)


def test_memory_keeps_its_room_after_a_whole_pass() -> None:
    known = made(two_features())
    known.find([X[:2]], 4)
    known.finish()
    known.find([X[2:4]], 0)
    assert kept(known) == [0, 1, 2, 3]


def test_temporary_files_follow_each_other_where_memory_does_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    split = two_features()
    known = made(split, memory_limit=1)
    known.find([X[:2]], 3)
    known.finish()  # Of the user's file only.
    known.find([X[2:3]], 0)
    known.find([X[3:5]], 2)
    known.find([X[5:7]], 2)
    assert kept(known) == [0, 1, 2, 3, 4, 5, 6]
    check(known.read([digest(X[n]) for n in (6, 0, 4, 2)]), X[[6, 0, 4, 2]])
    assert store_in_memory(split) is None
    files = list(tmp_path.glob("*/features.h5"))
    assert len(files) == 3
    known.close()
    for path in files:
        with FeatureStore.open(path) as store:
            assert store.complete
    for number in (0, 4, 6):  # One of each file.
        with pytest.raises(OSError, match="Bad file descriptor"):
            known.read([digest(X[number])])


def test_samples_of_another_shape_are_not_constant() -> None:
    def computing(batch: list[np.ndarray], rows_left: int) -> list[np.ndarray]:
        return [batch[0], batch[0][:, :1]]

    known = made(two_features(), computing)
    known.find([X[:2]], 4)
    words = "samples differ in shape from batch to batch (`values['feature_0']` must be float32"
    with pytest.raises(NotConstant, match=re.escape(words)):
        known.find([X[2:4, :2]], 4)
    assert len(known) == 2


def test_a_feature_that_comes_later_is_not_constant() -> None:
    more: list[np.ndarray] = []
    known = made(two_features(), lambda batch, rows_left: [*features(batch[0]), *more])
    known.find([X[:2]], 4)
    more.append(X[2:4])
    with pytest.raises(NotConstant, match="samples differ in shape from batch to batch"):
        known.find([X[2:4]], 4)
    assert len(known) == 2
