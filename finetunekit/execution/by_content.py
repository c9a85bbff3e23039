"""Features found by the content of each sample, in as many stores as it takes."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from finetunekit.caching import extract, identity, memory, memory_stores
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import CacheOptions
from finetunekit.caching.store import FeatureStore, size_of
from finetunekit.execution.stores import known_store, new_store
from finetunekit.foundation.messages import say

_DIGEST = 16  # Bytes


@dataclass(frozen=True)
class Found:
    """The features of a batch.

    Attributes:
        names: For each sample the digest that it is found by.
        columns: Column -> its rows, in the order of the samples.
        new: How many distinct samples had not come before.
    """

    names: list[bytes]
    columns: dict[str, np.ndarray]
    new: int


class FeaturesByContent:
    """Features of samples, each computed once and then found by what the sample holds.

    What an earlier fit has kept, perhaps of other data, is used and stays; it grows by the samples
    of this fit. Where memory does not allow that, only what this fit has asked for stays.

    Args:
        split: Where the model is cut.
        key: What the features depend on beside the sample.
        extractor: What computes them.
        cache: Where they are kept.
        name: What the samples are, for messages.

    Raises:
        StoreMismatch: If the file holds features of something else.
    """

    def __init__(
        self,
        split: FrozenSplit,
        key: dict[str, str],
        extractor: Extractor,
        cache: CacheOptions,
        name: str,
    ) -> None:
        self._split, self._extractor, self._cache, self._name = split, extractor, cache, name
        whose = {"data": f"by content, {name}"} | extract.numbers_key(cache.engine, 0)
        self._key = key | whose
        known = known_store(cache, split.layers[0], self._key)
        self._stores = [] if known is None else [known]
        self._rows = {} if known is None else dict(known.digest_rows())
        self._asked: dict[bytes, None] = {}  # Of this fit, in their order.

    def __len__(self) -> int:
        """How many samples have features."""
        return len(self._rows)

    def find(self, arrays: list[np.ndarray], to_come: int) -> Found:
        """The features of a batch; those that are new are computed, and kept if there is room.

        Args:
            arrays: A batch for each input.
            to_come: How many samples, these included, room is made for; 0 to make none.

        Raises:
            NotConstant: If they cannot be computed once.
            OSError: If they cannot be written.
        """
        digests = identity.row_digests(arrays)
        names = [digest.tobytes() for digest in digests]
        missing = {
            name: n for n, name in reversed(list(enumerate(names))) if name not in self._rows
        }
        new = sorted(missing.values())  # Of samples that are alike, the first.
        computed: list[np.ndarray] = []
        if new:
            batch = arrays if len(new) == len(names) else [array[new] for array in arrays]
            computed = self._extractor(batch, max(len(new), to_come))
            self._keep(computed, digests[new], [names[n] for n in new], to_come)
        self._asked.update(dict.fromkeys(name for name in names if name in self._rows))
        place = {names[n]: number for number, n in enumerate(new)}
        return Found(names, self._gather(names, place, computed), len(new))

    def holds(self, names: list[bytes]) -> bool:
        """Whether all of these samples are kept."""
        return all(name in self._rows for name in names)

    def read(self, names: list[bytes]) -> dict[str, np.ndarray]:
        """The features of samples that were found before."""
        return self._gather(names, {}, [])

    def finish(self) -> None:
        """After a whole pass the user's file is complete, though there was room for more."""
        first = self._stores[0] if self._stores else None
        if first is not None and self._cache.path is not None and not first.complete:
            first.finish()

    def close(self) -> None:
        """Lets go of files."""
        for store in self._stores:
            if store.path is not None:
                store.close()

    def _keep(
        self, computed: list[np.ndarray], digests: np.ndarray, names: list[bytes], to_come: int
    ) -> None:
        full = not self._stores or self._stores[-1].done + len(names) > self._stores[-1].rows
        if full and not to_come:
            return
        if full:
            self._make_room(computed, max(len(names), to_come))
        store = self._stores[-1]
        start = self._offset() + store.done
        try:
            store.append(dict(zip(store.columns, computed, strict=True)), digests)
        except ValueError as error:
            raise NotConstant(f"samples differ in shape from batch to batch ({error})") from error
        self._rows.update({name: start + number for number, name in enumerate(names)})

    def _offset(self) -> int:
        """The number of the last store's first row."""
        return sum(store.rows for store in self._stores[:-1])

    def _make_room(self, computed: list[np.ndarray], rows: int) -> None:
        """Room for so many more samples, at the end of the last store or in another one."""
        columns = extract.columns_of(self._split, computed)
        if not self._stores:
            self._stores = [self._made(columns, rows, self._cache)]
            say(
                f"{self._name}: room for {memory.size_text(self._stores[0].nbytes)} of features",
                self._cache.verbose,
            )
            return
        last = self._stores[-1]
        if last.path is not None:  # A file has the size that it was made with.
            last.flush()
            if not last.complete:
                last.finish()
            self._stores.append(self._made(columns, rows, replace(self._cache, path=None)))
            return
        first = self._offset()
        held = [name for name, row in self._rows.items() if row >= first]
        if size_of(last.columns, len(held) + rows) > self._cache.memory_limit:
            held = [name for name in held if name in self._asked]
        self._move(held, rows)

    def _move(self, names: list[bytes], rows: int) -> None:
        """Puts samples of the last store into one with room for so many more."""
        last, first = self._stores[-1], self._offset()
        numbers = np.array([self._rows[name] - first for name in names], int)
        values = {column: last.read(column, numbers) for column in last.columns}
        self._rows = {name: row for name, row in self._rows.items() if row < first}
        cache = replace(self._cache, path=None)
        store = self._made(last.columns, len(names) + rows, cache)
        if names:
            digests = np.frombuffer(b"".join(names), np.uint8).reshape(-1, _DIGEST)
            store.append(values, digests)
        self._rows.update({name: first + number for number, name in enumerate(names)})
        self._stores[-1] = store

    def _made(self, columns: Any, rows: int, cache: CacheOptions) -> FeatureStore:
        store = new_store(cache, columns, rows, self._key, self._name, digests=True)
        if store.path is None:
            layer: keras.layers.Layer = self._split.layers[0]
            memory_stores.keep(layer, store, self._cache.memory_limit)
        return store

    def _gather(
        self, names: list[bytes], place: dict[bytes, int], computed: list[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Rows of each column, from the stores or from what was computed just now."""
        numbers = np.array([self._rows.get(name, -1) for name in names], int)
        if len(self._stores) == 1 and (numbers >= 0).all():
            store = self._stores[0]
            return {column: store.read(column, numbers) for column in store.columns}
        columns = self._columns(computed)
        fresh = np.flatnonzero(numbers < 0)
        source = [place[names[n]] for n in fresh]
        found = {}
        for index, (column, like) in enumerate(columns.items()):
            rows = np.empty((len(names), *like.shape), like.dtype)
            self._fill(rows, numbers, column)
            if len(fresh):
                rows[fresh] = computed[index][source]
            found[column] = rows
        return found

    def _columns(self, computed: list[np.ndarray]) -> Any:
        return (
            self._stores[0].columns if self._stores else extract.columns_of(self._split, computed)
        )

    def _fill(self, rows: np.ndarray, numbers: np.ndarray, column: str) -> None:
        first = 0
        for store in self._stores:
            inside = np.flatnonzero((numbers >= first) & (numbers < first + store.rows))
            if len(inside):
                rows[inside] = store.read(column, numbers[inside] - first)
            first += store.rows
