"""Samples with their features, by position: the order of an epoch, and the steps on it."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.store import FeatureStore
from finetunekit.data.order import Order
from finetunekit.execution.readers import Phase, ReadyReader
from finetunekit.execution.tail import Parts


@dataclass(frozen=True)
class Contents:
    """What the samples consist of beside their features."""

    inputs: list[np.ndarray]  # In the model's order.
    y: Any
    weights: Any


class Window(NamedTuple):
    """Samples that are in memory together, and their order."""

    parts: Parts
    order: np.ndarray
    steps: int


class Begun(NamedTuple):
    """An epoch in the middle: the order of all samples, and how many steps of it are done."""

    rows: np.ndarray
    done: int
    announced: bool = False  # Whether callbacks know that the next step begins.


class ReadySamples(ReadyReader):
    """Samples whose features are all there.

    Args:
        contents: Inputs, labels and weights.
        split: Where the model is cut.
        store: The features; None if the model is not cut.
        size: Samples in a batch.
        limit: The bytes that may be in memory.
        order: Epoch -> the order of the samples; None for their own.
        told: What was done for the features, in words.
    """

    def __init__(
        self,
        contents: Contents,
        split: FrozenSplit,
        store: FeatureStore | None,
        size: int,
        limit: int,
        order: Order | None,
        told: str,
    ) -> None:
        self.told = told
        self._contents, self._split, self._store = contents, split, store
        self._size, self._limit, self._order = size, limit, order
        self._passed = [contents.inputs[split.inputs.index(value)] for value in split.passed]
        self._rows = len(contents.inputs[0])
        self._whole: Parts | None = None  # All samples as tensors, if memory may hold them.

    def close(self) -> None:
        if self._store is not None and self._store.path is not None:
            self._store.close()

    def order(self, epoch: int) -> np.ndarray:
        """The order of the samples in an epoch.

        Where memory cannot hold all, shuffled samples are drawn from runs of rows: the runs are
        in random order, and the rows of those that are in memory together too.
        """
        if self._order is None:
            return np.arange(self._rows)
        order = self._order(epoch)
        if self._fits():
            return order
        room, run = self._room(), max(1, self._room() // 16)
        random = np.random.default_rng(order[: min(self._rows, 8)])
        starts = random.permutation(np.arange(0, self._rows, run))
        rows = np.concatenate([np.arange(s, min(s + run, self._rows)) for s in starts])
        parts = [rows[first : first + room] for first in range(0, self._rows, room)]
        return np.concatenate([random.permutation(part) for part in parts])

    def windows(self, rows: np.ndarray) -> Iterator[Window]:
        """The samples of an epoch, or of what is left of it, as many at a time as memory holds."""
        if self._fits():
            if self._whole is None:
                self._whole = self._parts(slice(None))
            yield Window(self._whole, rows, math.ceil(len(rows) / self._size))
            return
        for first in range(0, len(rows), self._room()):
            part = rows[first : first + self._room()]
            least = part.min()
            is_run = part.max() - least + 1 == len(part)  # Reading them is one slice.
            yield Window(
                self._parts(slice(least, part.max() + 1)) if is_run else self._parts(part),
                part - least if is_run else np.arange(len(part)),
                math.ceil(len(part) / self._size),
            )

    def run(self, iterator: Any, phase: Phase, begun: Any = None) -> Any:
        """All steps of an epoch, or of a validation; in the middle of one, the rest of it."""
        rows, done, announced = begun or self._start(phase)
        steps = math.ceil(len(rows) / self._size)
        if done == steps:  # The run was interrupted between the last step and what follows.
            return phase.model.get_metrics_result()
        logs: Any = {}
        for window in self.windows(rows[done * self._size :]):
            step = 0
            while step < window.steps:
                if phase.wants_batches and not announced:
                    phase.begin(done)
                if phase.stale:
                    return phase.go_on(iterator, Begun(rows, done, phase.wants_batches))
                announced = False
                logs, count = self._execute(phase, window, step)
                step, done = step + count, done + count
                if phase.wants_batches or step < window.steps:
                    phase.end(self._last_of(phase, done), logs)
                if phase.stopping:
                    return logs
        return logs

    def _start(self, phase: Phase) -> Begun:
        rows = self.order(phase.epoch)
        first = rows[: self._size]
        prepare = lambda: phase.steps.prepare(self._parts(first))  # noqa: E731
        return Begun(rows, phase.resumed_at(math.ceil(len(rows) / self._size), prepare))

    def _execute(self, phase: Phase, window: Window, step: int) -> tuple[Any, int]:
        """Some steps without Python in between; the metrics, and how many they were."""
        import tensorflow as tf

        count = min(window.steps - step, phase.at_once(window.steps))
        start = time.perf_counter()
        logs = phase.steps.many(
            window.parts,
            tf.constant(window.order),
            self._size,
            tf.constant(step),
            tf.constant(step + count),
            any_size=self._rows % self._size != 0,
        )
        for value in keras.tree.flatten(logs)[:1]:
            np.asarray(value)  # Waits for the device.
        phase.note_pace(count, time.perf_counter() - start)
        return logs, count

    def _last_of(self, phase: Phase, done: int) -> int:
        """The number of the last step: Keras counts full executions, also at the end."""
        each = int(phase.model.steps_per_execution) if phase.wants_batches else 1
        return -(-done // each) * each - 1

    def _fits(self) -> bool:
        """Whether all that the tail takes is in memory, or may be."""
        return self._bytes_to_load() <= self._limit // 2

    def _bytes_to_load(self) -> int:
        """The size of what is in a file, and of inputs that would be copied for the tail."""
        store = self._store
        stored = store.nbytes if store is not None and store.path is not None else 0
        return stored + sum(array.nbytes for array in self._passed)

    def _room(self) -> int:
        """How many samples may be in memory, in whole batches."""
        each = max(1, self._bytes_to_load() // self._rows)
        return max(self._size, self._limit // 4 // each // self._size * self._size)

    def _parts(self, rows: Any) -> Parts:
        numbers = range(len(self._split.features))
        return Parts(
            [self._column(f"feature_{number}", rows) for number in numbers],
            [self._column(f"mask_{number}", rows) for number in numbers],
            [_tensor(array[rows]) for array in self._passed],
            *(
                # None in a structure stands for an output without a loss.
                keras.tree.map_structure(lambda a: None if a is None else _tensor(a[rows]), part)
                for part in (self._contents.y, self._contents.weights)
            ),
        )

    def _column(self, name: str, rows: Any) -> Any:
        import tensorflow as tf

        store = self._store
        if store is None or name not in store.columns:
            return None
        whole = store.array(name) if isinstance(rows, slice) else None
        return tf.constant(store.read(name, rows)) if whole is None else _tensor(whole[rows])


def _tensor(array: np.ndarray) -> Any:
    import tensorflow as tf

    if array.dtype == object:
        return tf.constant(array, tf.string)
    return tf.convert_to_tensor(array)
