"""Arrays as a reader: their features are computed once and found by position."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from finetunekit.caching import extract, memory, memory_stores
from finetunekit.caching.cut import FrozenSplit, flat_inputs
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import CacheOptions
from finetunekit.caching.progress import Progress
from finetunekit.caching.store import FeatureStore
from finetunekit.data.array_batches import ArrayBatches
from finetunekit.data.batches import KerasData
from finetunekit.data.order import Order
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.readers import Reader, is_marker, marker
from finetunekit.execution.ready_samples import Contents, ReadySamples
from finetunekit.execution.stores import known_store, new_store


class Samples(Reader):
    """Arrays with their features, by position.

    Args:
        batches: The samples, in batches of arrays.
        model: The model that they are for.
        cache: Where the features are kept, and who computes them.
    """

    keras_sees_steps = False

    def __init__(self, batches: ArrayBatches, model: keras.Model, cache: CacheOptions) -> None:
        arrays, order = batches.arrays, batches.order
        # Bit for bit what `model.fit` computes: in its batches.
        lengths = None if cache.engine == "keras" else batches.lengths
        self._numbers: np.ndarray | None = None  # Of the samples, as the user has them.
        if lengths is not None:
            by_length = np.argsort(lengths, kind="stable")
            arrays, lengths = arrays.rows(by_length), lengths[by_length]
            order = _through(order, np.argsort(by_length))
            self._numbers = by_length
        self.lengths = lengths
        self.inputs = [_plain(array) for array in flat_inputs(model, arrays.x) or []]
        self.arrays, self.cache = arrays, cache
        self.size, self.name = batches.size, batches.kind
        self.rows = len(self.inputs[0])
        self.steps = math.ceil(self.rows / self.size)
        self.like = arrays.x
        self._order = order
        self._latest: ReadySamples | None = None
        self._digest = batches.start_digest()

    def ready(self, split: FrozenSplit, key: dict[str, str], extractor: Extractor) -> ReadySamples:
        """The samples with their features: kept ones if they are the same, else computed now."""
        self._latest = None  # What it holds in memory goes before more is needed.
        store, told = self._features(split, key, extractor) if split.features else (None, "")
        contents = Contents(self.inputs, self.arrays.y, self.arrays.weights)
        self._latest = ReadySamples(
            contents, split, store, self.size, self.cache.memory_limit, self._order, told
        )
        return self._latest

    def reads(self, iterator: Any, *, own: bool) -> bool:
        return is_marker(iterator)

    def varies(self, split: FrozenSplit) -> bool:
        """Whether batches are cut to their longest text: features must not tell how long it was."""
        shapes = [shape for _, shape, _ in split.boundary[: len(split.features)]]
        return self.lengths is not None and all(None not in shape[1:] for shape in shapes)

    def training_call(self, call: FitCall) -> FitCall:
        # Without either size, Keras makes batches of validation samples out of `validation_steps`.
        loop = dataclasses.replace(
            call.loop, batch_size=None, validation_batch_size=call.loop.evaluation_size
        )
        return call.replace(data=KerasData(x=marker()), loop=loop)

    def validation_call(self, call: FitCall) -> FitCall:
        return call.replace(validation_data=marker())

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, tuple[Any, ...]] | None:
        """The numbers of the samples of a batch, and what it consists of, as the model takes it."""
        if self._latest is None:
            return None
        rows = self._latest.order(epoch)[number * self.size : (number + 1) * self.size]
        names = rows if self._numbers is None else self._numbers[rows]
        return names, self.arrays.rows(rows).parts()

    def _data_key(self) -> dict[str, str]:
        """What tells these samples from others, in the order in which they are kept."""
        order = "" if self._numbers is None else ", by length"
        return {"data": f"{self._digest.result()}{order}"}

    def _features(
        self, split: FrozenSplit, key: dict[str, str], extractor: Extractor
    ) -> tuple[FeatureStore, str]:
        """The complete store of the features, and in words what was done for it."""
        key = key | self._data_key() | extract.numbers_key(self.cache.engine, self.size)
        layer = split.layers[0]
        store = known_store(self.cache, layer, key)
        known = store.done if store is not None else 0
        if store is None or not store.complete:
            progress = Progress(self.rows, self.cache.verbose, self.name)
            trims = self.varies(split)

            def make(features: list[np.ndarray]) -> FeatureStore:
                columns = extract.columns_of(split, features)
                return new_store(self.cache, columns, self.rows, key, self.name)

            store = extract.fill(
                store,
                extractor,
                lambda first: self._batches(first, trims),
                self.rows,
                make,
                progress.told,
            )
        if store.path is None:
            memory_stores.keep(layer, store, self.cache.memory_limit)
        return store, self._words(store, known, extractor)

    def _batches(self, first: int, trims: bool) -> Iterator[list[Any]]:
        for start in range(first, self.rows, self.size):
            rows = slice(start, start + self.size)
            if trims and self.lengths is not None:
                longest = int(self.lengths[rows].max())
                yield [array[rows, :longest] for array in self.inputs]
            else:
                yield [_text(array[rows]) for array in self.inputs]

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


def _plain(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else keras.ops.convert_to_numpy(array)


def _text(array: np.ndarray) -> Any:
    return keras.ops.convert_to_tensor(array, dtype="string") if array.dtype == object else array
