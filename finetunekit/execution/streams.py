"""What if a pipeline gives other samples in each epoch? Features are found by their content."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.caching import extract, identity, memory, memory_stores
from finetunekit.caching.cut import FrozenSplit, NotConstant, flat_inputs
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import Settings
from finetunekit.caching.store import FeatureStore
from finetunekit.execution.samples import new_store
from finetunekit.execution.tail import Parts
from finetunekit.foundation.messages import say, warn

_JUDGED = 8  # Batches of the second epoch after which it is clear whether samples come again.
_ENOUGH = 0.5  # Share of them that must, for the features to be worth it.


class Stream:
    """Batches of a pipeline, whose features are found by the content of each sample.

    Labels and weights are taken as they come. A sample that has not come before is computed. If
    samples hardly come again, caching stops.

    Args:
        like: The specs, or a batch, of the inputs.
        steps: The number of batches in an epoch.
        settings: Where the features are kept, and who computes them.
        name: What the samples are, for messages.
    """

    def __init__(self, like: Any, steps: int, settings: Settings, name: str) -> None:
        self.like, self.steps, self.settings, self.name = like, steps, settings, name
        self.capacity = 0
        self.told = ""
        self.stopped = False
        self._split: FrozenSplit  # Set by `load`, like the two below.
        self._extractor: Extractor
        self._store: FeatureStore  # Set once the first features are there.
        self._has_store = False
        self._rows: dict[bytes, int] = {}
        self._key: dict[str, str]
        self._iterator: Any = None
        self._passes = 0
        self._batches = self._hits = self._seen = 0
        self._recorded: list[tuple[np.ndarray, Parts]] = []

    def load(self, split: FrozenSplit, key: dict[str, str], engine: Extractor) -> None:
        """Takes up the features of a split that are there; the others come with the batches."""
        self._split, self._extractor = split, engine
        self._recorded, self._passes, self._iterator = [], 0, None
        if not split.features:
            return
        self._key = (
            key
            | {"data": f"by content, {self.name}"}
            | extract.numbers_key(self.settings.engine, 0)
        )
        path = self.settings.path
        if path is None:
            store = memory_stores.find(split.layers[0], self._key)
        else:
            exists = Path(path).exists()
            store = FeatureStore.open(path, self._key, write=True) if exists else None
        self._has_store = store is not None
        if store is not None:
            self._store = store
        self._rows = dict(store.digest_rows()) if store is not None else {}
        found = f", {len(self._rows):,} found" if self._rows else ""
        self.told = f"{self.name}: by the content of each sample{found}"

    def run(self, iterator: Any, fit: Any, training: bool) -> Any:
        """The next steps, as many as the model runs in one execution."""
        if iterator is not self._iterator:
            self._iterator = iterator
            self._end_pass()
        logs = None
        for _ in range(int(fit.model.steps_per_execution)):
            try:
                parts = self._next(iterator, fit.model)
            except StopIteration:
                if logs is None:
                    raise
                break
            if parts is None:  # Caching has stopped, and the batch is Keras' to train on.
                return fit.keras_step(self._batch, training)
            logs = fit.tail.step(parts, training=training)
        return logs

    def close(self) -> None:
        """Writes what is waiting, and lets go of the file."""
        self._finish_whole_file()
        if self._has_store and self._store.path is not None:
            self._store.close()

    def _end_pass(self) -> None:
        self._finish_whole_file()
        self._passes += 1
        self._batches = self._hits = self._seen = 0

    def _finish_whole_file(self) -> None:
        """After a whole pass a file is complete, though there was room for a fuller last batch."""
        whole = self._passes > 0 and self._batches >= self.steps
        if whole and self.settings.path is not None and not self._store.complete:
            self._store.finish()

    def _next(self, iterator: Any, model: keras.Model) -> Parts | None:
        if self.settings.deterministic and self._passes > 1:
            if self._batches == len(self._recorded):
                raise StopIteration
            known, parts = self._recorded[self._batches]
            self._batches += 1
            return self._with_features(known, parts)
        self._batch = next(iterator)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(self._batch)
        flat = flat_inputs(model, x)
        if flat is None:
            self._stop("the batches do not hold one array for each input of the model")
            return None
        arrays = [keras.ops.convert_to_numpy(part) for part in flat]
        try:
            rows, features = self._found(arrays)
        except (NotConstant, OSError) as error:
            if isinstance(error, OSError) and self.settings.path is not None:
                raise
            self._stop(str(error))
            return None
        self._batches += 1
        if self._hardly_hits():
            self._stop(
                f"of {self._seen:,} samples of the second epoch only {self._hits:,} had come "
                "before. If the pipeline augments them, put the augmentation into the model, "
                "behind the frozen part, or train without a cache, `cache=False`"
            )
        passed = [flat[self._split.inputs.index(value)] for value in self._split.passed]
        parts = Parts([], [], passed, y, weights)
        if self.settings.deterministic and rows is not None:
            self._recorded.append((rows, parts))
        if rows is None:
            return self._of(features, parts)
        return self._with_features(rows, parts)

    def _found(self, arrays: list[np.ndarray]) -> tuple[np.ndarray | None, Any]:
        """The rows of the samples in the store; or their features, if it has no room for them."""
        self.capacity = self.capacity or self.steps * len(arrays[0])
        digests = identity.row_digests(arrays)
        names = [digest.tobytes() for digest in digests]
        # Of samples that are alike, the first.
        missing = [n for n, name in enumerate(names) if name not in self._rows]
        new = sorted({names[n]: n for n in reversed(missing)}.values())
        self._seen += len(names)
        self._hits += len(names) - len(new)
        if new:
            whole = len(new) == len(names)
            batch = arrays if whole else [array[new] for array in arrays]
            features = self._compute(batch)
            if not self._has_store:
                self._store, self._has_store = self._make(features), True
            if self._store.rows < self.capacity and self._store.path is None:
                self._store = self._larger()
            if self._store.done + len(new) > self._store.rows:
                return None, self._mixed(names, new, features)
            try:
                self._store.append(
                    dict(zip(self._store.columns, features, strict=True)), digests[new]
                )
            except ValueError as error:
                raise NotConstant(
                    f"samples differ in shape from batch to batch ({error})"
                ) from error
            start = self._store.done - len(new)
            self._rows.update({names[n]: start + place for place, n in enumerate(new)})
        return np.array([self._rows[name] for name in names]), None

    def _compute(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        return self._extractor(batch, self.capacity - len(self._rows))

    def _mixed(self, names: list[bytes], new: list[int], features: Any) -> Any:
        """Features of a batch, some from the store and some that it has no room for."""
        place = {names[n]: number for number, n in enumerate(new)}
        rows = [self._rows.get(name) for name in names]
        mixed = []
        for column, computed in zip(self._store.columns, features, strict=True):
            parts = [
                computed[place[name]]
                if row is None
                else self._store.read(column, np.array([row]))[0]
                for name, row in zip(names, rows, strict=True)
            ]
            mixed.append(np.stack(parts))
        return mixed

    def _make(self, features: list[np.ndarray]) -> FeatureStore:
        columns = extract.columns_of(self._split, features)
        store = new_store(self.settings, columns, self.capacity, self._key, self.name, digests=True)
        if store.path is None:
            memory_stores.keep(self._split.layers[0], store, self.settings.memory_limit)
        say(
            f"{self.name}: room for {memory.size_text(store.nbytes)} of features",
            self.settings.verbose,
        )
        return store

    def _larger(self) -> FeatureStore:
        """A store that was kept from a fit on fewer samples, with room for these."""
        old = self._store
        store = FeatureStore.in_memory(old.columns, self.capacity, old.key, digests=True)
        names = sorted(self._rows, key=self._rows.__getitem__)
        digests = np.frombuffer(b"".join(names), np.uint8).reshape(-1, 16)
        store.append({name: old.read(name, slice(None)) for name in old.columns}, digests)
        memory_stores.keep(self._split.layers[0], store, self.settings.memory_limit)
        return store

    def _with_features(self, rows: np.ndarray, parts: Parts) -> Parts:
        return self._of([self._store.read(name, rows) for name in self._store.columns], parts)

    def _of(self, features: list[Any], parts: Parts) -> Parts:
        named = dict(zip(self._store.columns, features, strict=True))
        numbers = range(len(self._split.features))
        return Parts(
            [named[f"feature_{number}"] for number in numbers],
            [named.get(f"mask_{number}") for number in numbers],
            parts.passed,
            parts.y,
            parts.weights,
        )

    def _hardly_hits(self) -> bool:
        judged = self._passes == 2 and self._batches == min(_JUDGED, self.steps)
        return judged and self._hits < _ENOUGH * self._seen

    def _stop(self, why: str) -> None:
        warn(f"{self.name}: features are no longer kept, and training goes on without: {why}")
        self.stopped = True
