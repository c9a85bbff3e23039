"""Pipelines as readers: batches that come in any order, with features found by content."""

from typing import Any

import keras
import numpy as np

from finetunekit.caching.cut import FrozenSplit, NotConstant, flat_inputs
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import CacheOptions
from finetunekit.execution.by_content import FeaturesByContent
from finetunekit.execution.readers import Phase, Reader, ReadyReader
from finetunekit.execution.tail import Parts
from finetunekit.foundation.messages import warn

_JUDGED = 8  # Batches of the second epoch after which it is clear whether samples come again.
_ENOUGH = 0.5  # Share of them that must, for the features to be worth it.


class Stream(Reader):
    """Batches of a pipeline, whose features are found by the content of each sample.

    Labels and weights are taken as they come. A sample that has not come before is computed. If
    samples hardly come again, caching stops.

    Args:
        like: The specs, or a batch, of the inputs.
        steps: The number of batches in an epoch.
        cache: Where the features are kept, and who computes them.
        name: What the samples are, for messages.
    """

    keras_sees_steps = True

    def __init__(self, like: Any, steps: int, cache: CacheOptions, name: str) -> None:
        self.like, self.steps, self.cache, self.name = like, steps, cache, name
        self.any_size = not all(map(_is_of_known_size, keras.tree.flatten(like)))
        self._stopped = False
        self._iterator: Any = None
        self._undrawn = 0  # Batches that the iterator still has, and that were trained on.
        self._repeats: bool | None = None  # Whether it has more than one pass; None: not known.

    def ready(self, split: FrozenSplit, key: dict[str, str], extractor: Extractor) -> ReadyReader:
        """Takes up the features that are there; the others come with the batches."""
        if not split.features:
            return _KerasSteps(self)
        known = FeaturesByContent(split, key, extractor, self.cache, self.name)
        return ReadyStream(self, split, known)

    def reads(self, iterator: Any, *, own: bool) -> bool:
        return own and not self._stopped

    def catch_up(self, iterator: Any) -> None:
        """Draws the batches of a recorded pass that were trained on without being drawn."""
        undrawn = self._undrawn if iterator is self._iterator else 0
        self._undrawn = 0
        for _ in range(undrawn % self.steps):
            next(iterator)

    def goes_on(self, iterator: Any) -> bool:
        """Whether there are batches after a whole pass: a pipeline may repeat itself.

        Without it, the last of several steps in one execution would be taken from the next pass.
        """
        if self._repeats is None:
            self.catch_up(iterator)
            self._repeats = next(iterator, None) is not None
            self._undrawn, self._iterator = self.steps - 1, iterator
        return self._repeats

    def replayed(self, iterator: Any) -> None:
        """A batch was trained on that was not drawn."""
        self._undrawn = self._undrawn + 1 if iterator is self._iterator else 1
        self._iterator = iterator

    def stop(self, why: str) -> None:
        """No features are kept from now on."""
        warn(f"{self.name}: features are no longer cached, training goes on without: {why}")
        self._stopped = True


class _KerasSteps(ReadyReader):
    """Batches of a model that is not cut: they are Keras' to train on."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def run(self, iterator: Any, phase: Phase, begun: Any = None) -> Any:
        self._stream.catch_up(iterator)
        return phase.keras_step(iterator)

    def close(self) -> None:
        """Nothing is open."""


class ReadyStream(ReadyReader):
    """A stream for one cut of the model.

    Args:
        stream: The stream.
        split: Where the model is cut.
        known: The features.
    """

    def __init__(self, stream: Stream, split: FrozenSplit, known: FeaturesByContent) -> None:
        self._stream, self._split, self._known = stream, split, known
        found = f", {len(known):,} found" if len(known) else ""
        self.told = f"{stream.name}: by the content of each sample{found}"
        self._iterator: Any = None
        self._whole_passes = 0
        self._batches = self._hits = self._seen = 0  # Of the pass.
        self._largest = 0  # Samples in a batch.
        self._batch: Any = None
        self._recorded: list[tuple[list[bytes], Parts]] = []

    def run(self, iterator: Any, phase: Phase, begun: Any = None) -> Any:
        """The next steps, as many as the model runs in one execution."""
        if iterator is not self._iterator:
            self._iterator = iterator
            self._end_pass()
        logs = None
        for _ in range(int(phase.model.steps_per_execution)):
            try:
                parts = self._next(iterator, phase.model)
            except StopIteration:
                if logs is None:
                    raise
                break
            if parts is None:  # Caching has stopped, and the batch is Keras' to train on.
                return phase.keras_step(iter([self._batch]))
            logs = phase.steps.one(parts, any_size=self._stream.any_size)
        return logs

    def close(self) -> None:
        self._end_pass()
        self._known.close()

    def _end_pass(self) -> None:
        if self._batches >= self._stream.steps:
            self._whole_passes += 1
            self._known.finish()
        if len(self._recorded) != self._stream.steps:
            self._recorded = []  # Of a pass that was not whole.
        self._batches = self._hits = self._seen = 0

    def _next(self, iterator: Any, model: keras.Model) -> Parts | None:
        steps = self._stream.steps
        if self._stream.cache.deterministic:
            if self._batches == steps:
                if not self._stream.goes_on(iterator):
                    raise StopIteration
                self._end_pass()
            if len(self._recorded) == steps:
                names, parts = self._recorded[self._batches]
                self._batches += 1
                self._stream.replayed(iterator)
                return self._of(self._known.read(names), parts)
        self._stream.catch_up(iterator)
        self._batch = next(iterator)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(self._batch)
        flat = flat_inputs(model, x)
        if flat is None:
            self._stream.stop("the batches do not hold one array for each input of the model")
            return None
        passed = [flat[self._split.inputs.index(value)] for value in self._split.passed]
        return self._found(flat, Parts([], [], passed, y, weights))

    def _found(self, flat: list[Any], parts: Parts) -> Parts | None:
        """The parts of a batch with their features; None if caching stops."""
        arrays = [keras.ops.convert_to_numpy(part) for part in flat]
        try:
            found = self._known.find(arrays, self._to_come(len(arrays[0])))
        except (NotConstant, OSError) as error:
            if isinstance(error, OSError) and self._stream.cache.path is not None:
                raise
            self._stream.stop(str(error))
            return None
        self._batches += 1
        self._seen += len(found.names)
        self._hits += len(found.names) - found.new
        self._judge()
        if self._stream.cache.deterministic and self._known.holds(found.names):
            self._recorded.append((found.names, parts))
        return self._of(found.columns, parts)

    def _to_come(self, rows: int) -> int:
        """How many samples of the first whole pass may still come; 0 after it."""
        left = self._stream.steps - self._batches
        if self._whole_passes or left <= 0:
            return 0
        self._largest = max(self._largest, rows)
        return left * self._largest

    def _of(self, columns: dict[str, np.ndarray], parts: Parts) -> Parts:
        numbers = range(len(self._split.features))
        return Parts(
            [columns[f"feature_{number}"] for number in numbers],
            [columns.get(f"mask_{number}") for number in numbers],
            parts.passed,
            parts.y,
            parts.weights,
        )

    def _judge(self) -> None:
        judged = self._whole_passes == 1 and self._batches == min(_JUDGED, self._stream.steps)
        if judged and self._hits < _ENOUGH * self._seen:
            self._stream.stop(
                f"of {self._seen:,} samples of the second epoch only {self._hits:,} had come "
                "before. If the pipeline augments them, put the augmentation into the model, "
                "behind the frozen part, or train without a cache, `cache=False`"
            )


def _is_of_known_size(part: Any) -> bool:
    """Whether it says how many samples each batch holds: a spec may, one batch does not."""
    rank = getattr(part.shape, "rank", None)  # None for arrays, and where the spec knows none.
    return bool(rank) and not keras.ops.is_tensor(part) and part.shape[0] is not None
