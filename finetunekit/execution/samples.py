"""How do arrays become features and batches? Computed once, kept, and given out in order."""

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.caching import extract, identity, memory, memory_stores
from finetunekit.caching.cut import FrozenSplit, flat_inputs
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import Settings
from finetunekit.caching.progress import Progress
from finetunekit.caching.store import FeatureStore, size_of
from finetunekit.data.arrays import Arrays
from finetunekit.data.order import Order
from finetunekit.execution.tail import Parts
from finetunekit.foundation.messages import say
from finetunekit.text import lengths as text_lengths


class Samples:
    """Arrays with their features, by position.

    Args:
        arrays: Inputs, labels and weights.
        model: The model that they are for.
        size: Samples in a batch.
        settings: Where the features are kept, and who computes them.
        order: Epoch -> the order of the samples; None for their own.
        name: What the samples are, for messages.
    """

    def __init__(
        self,
        arrays: Arrays,
        model: keras.Model,
        size: int,
        settings: Settings,
        *,
        order: Order | None = None,
        name: str = "samples",
    ) -> None:
        # Bit for bit what `model.fit` computes: in its batches.
        lengths = None if settings.engine == "keras" else text_lengths.of(model, arrays.x)
        self._numbers: np.ndarray | None = None  # Of the samples, as the user has them.
        if lengths is not None:
            by_length = np.argsort(lengths, kind="stable")
            arrays, lengths = arrays.rows(by_length), lengths[by_length]
            order = _through(order, np.argsort(by_length))
            self._numbers = by_length
        self.lengths = lengths
        self.inputs = [_plain(array) for array in flat_inputs(model, arrays.x) or []]
        self.arrays, self.size, self.settings, self.name = arrays, size, settings, name
        self.rows = len(self.inputs[0])
        self.steps = math.ceil(self.rows / size)
        self.like = arrays.x
        self.told = ""  # What the last extraction did, in words.
        self._order = order
        # Digests are made while Python is busy with other things.
        pool = ThreadPoolExecutor(1)
        self._data: Future[dict[str, str]] = pool.submit(identity.data_key, self.inputs)
        pool.shutdown(wait=False)
        self._store: FeatureStore | None = None
        self._split: FrozenSplit  # Set by `load`.
        self._tensors: Parts | None = None
        self._trims = False

    def load(self, split: FrozenSplit, key: dict[str, str], engine: Extractor) -> None:
        """Gets the features of a split: kept ones if they are the same, else computed now.

        Raises:
            NotConstant: If a batch shows that they cannot be computed once.
            StoreMismatch: If the file holds features of something else.
        """
        self._tensors, self._split, self._store = None, split, None
        if not split.features:
            return
        key = key | self._data.result() | extract.numbers_key(self.settings.engine, self.size)
        layer = split.layers[0]
        path = self.settings.path
        self._trims = self.varies(split)
        store = memory_stores.find(layer, key) if path is None else _in_file(path, key)
        known = store.done if store is not None else 0
        if store is None or not store.complete:
            progress = Progress(self.rows, self.settings.verbose, self.name)
            store = extract.fill(
                store, engine, self._batches, self.rows, self._maker(split, key), progress.told
            )
        self.told = self._words(store, known, engine)
        self._store = store
        if store.path is None:
            memory_stores.keep(layer, store, self.settings.memory_limit)

    def varies(self, split: FrozenSplit) -> bool:
        """Whether batches are cut to their longest text: features must not tell how long it was."""
        shapes = [shape for _, shape, _ in split.boundary[: len(split.features)]]
        return self.lengths is not None and all(None not in shape[1:] for shape in shapes)

    def close(self) -> None:
        """Lets go of the file."""
        if self._store is not None and self._store.path is not None:
            self._store.close()

    def windows(self, epoch: int) -> Iterator[tuple[Parts, np.ndarray, int]]:
        """The samples of an epoch: tensors, the order of their rows, the number of steps."""
        if self._fits():
            if self._tensors is None:
                self._tensors = self._parts(slice(None))
            order = np.arange(self.rows) if self._order is None else self._order(epoch)
            yield self._tensors, order, self.steps
            return
        for rows in self._blocks(epoch):
            steps = math.ceil(len(rows) / self.size)
            first = rows.min()
            parts = (
                self._parts(slice(first, rows.max() + 1)) if _is_run(rows) else self._parts(rows)
            )
            order = rows - first if _is_run(rows) else np.arange(len(rows))
            yield parts, order, steps

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, tuple[Any, ...]] | None:
        """The numbers of the samples of a batch, and what it consists of, as the model takes it."""
        if not self._fits():
            return None
        order = np.arange(self.rows) if self._order is None else self._order(epoch)
        rows = order[number * self.size : (number + 1) * self.size]
        names = rows if self._numbers is None else self._numbers[rows]
        return names, self.arrays.rows(rows).parts()

    def _fits(self) -> bool:
        """Whether all that the tail takes is in memory, or may be."""
        return self._bytes_to_load() <= self.settings.memory_limit // 2

    def _bytes_to_load(self) -> int:
        """The size of what is in a file, and of inputs that would be copied for the tail."""
        passed = [self.inputs[self._split.inputs.index(value)] for value in self._split.passed]
        in_file = self._store is not None and self._store.path is not None
        stored = self._store.nbytes if self._store is not None and in_file else 0
        return stored + sum(array.nbytes for array in passed)

    def _blocks(self, epoch: int) -> Iterator[np.ndarray]:
        """Rows of as many samples as memory may hold; shuffled, they are drawn from runs of rows.

        Runs in random order, and the rows of some of them at a time in random order.
        """
        each = max(1, self._bytes_to_load() // self.rows)
        room = max(self.size, self.settings.memory_limit // 4 // each // self.size * self.size)
        if self._order is None:
            for first in range(0, self.rows, room):
                yield np.arange(first, min(first + room, self.rows))
            return
        run = max(1, room // 16)
        random = np.random.default_rng(self._order(epoch)[: min(self.rows, 8)])
        starts = random.permutation(np.arange(0, self.rows, run))
        rows = np.concatenate([np.arange(s, min(s + run, self.rows)) for s in starts])
        for first in range(0, self.rows, room):
            yield random.permutation(rows[first : first + room])

    def _parts(self, rows: Any) -> Parts:
        import tensorflow as tf

        split, store = self._split, self._store

        def column(name: str) -> Any:
            if store is None or name not in store.columns:
                return None
            whole = store.array(name) if isinstance(rows, slice) else None
            return tf.constant(store.read(name, rows)) if whole is None else _tensor(whole[rows])

        passed = [self.inputs[split.inputs.index(value)] for value in split.passed]
        numbers = range(len(split.features))
        return Parts(
            [column(f"feature_{number}") for number in numbers],
            [column(f"mask_{number}") for number in numbers],
            [_tensor(array[rows]) for array in passed],
            *(
                None if part is None else keras.tree.map_structure(lambda a: _tensor(a[rows]), part)
                for part in (self.arrays.y, self.arrays.weights)
            ),
        )

    def _batches(self, first: int) -> Iterator[list[Any]]:
        for start in range(first, self.rows, self.size):
            rows = slice(start, start + self.size)
            if self._trims and self.lengths is not None:
                longest = int(self.lengths[rows].max())
                yield [array[rows, :longest] for array in self.inputs]
            else:
                yield [_text(array[rows]) for array in self.inputs]

    def _maker(self, split: FrozenSplit, key: dict[str, str]) -> Any:
        def make(features: list[np.ndarray]) -> FeatureStore:
            columns = extract.columns_of(split, features)
            return new_store(self.settings, columns, self.rows, key, self.name)

        return make

    def _words(self, store: FeatureStore, known: int, engine: Extractor) -> str:
        where = "in memory" if store.path is None else f"in {store.path}"
        size = memory.size_text(store.nbytes)
        if known == self.rows:
            return f"{self.rows:,} {self.name}: found {where} ({size})"
        begun = f", {known:,} of them found" if known else ""
        return (
            f"{self.rows:,} {self.name}: {size} {where}{begun}; engine {engine.name} ({engine.why})"
        )


def _through(order: Order | None, place: np.ndarray) -> Order:
    """The same order of samples that lie in other places now."""
    return lambda epoch: place if order is None else place[order(epoch)]


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


def _in_file(path: str, key: dict[str, str]) -> FeatureStore | None:
    return FeatureStore.open(path, key, write=True) if Path(path).exists() else None


def _is_run(rows: np.ndarray) -> bool:
    return bool(rows.max() - rows.min() + 1 == len(rows))


def _plain(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else keras.ops.convert_to_numpy(array)


def _text(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array, dtype="string") if array.dtype == object else array


def _tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.dtype == object:
        return tf.constant(array, tf.string)
    return tf.convert_to_tensor(array)
