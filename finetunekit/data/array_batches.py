"""Batches that are cut from arrays, in an order that is ours."""

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import mixing
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import Batches, KerasData
from finetunekit.data.order import Order, OrderedBatches, epoch_order, keras_array
from finetunekit.foundation import hashing
from finetunekit.text import lengths as text_lengths

BATCH_SIZE = 32
"""Samples in a batch unless said otherwise; Keras' own."""


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How arrays are cut into batches.

    Attributes:
        size: Samples in a batch; None for Keras' 32.
        seed: Seed of the order; None keeps the samples in their own.
        keras_steps: The number of batches in an epoch, if Keras is to count and order them.
        keras_shuffles: Whether Keras is to order them then.
        kind: What the samples are called in messages.
    """

    size: int | None = None
    seed: int | None = None
    keras_steps: int | None = None
    keras_shuffles: bool = False
    kind: str = "samples"


class ArrayBatches(Batches):
    """Batches of arrays.

    Args:
        arrays: Inputs, labels and weights.
        cutting: How they are cut.
    """

    def __init__(self, arrays: Arrays, cutting: Cutting) -> None:
        self.arrays, self.cutting, self.kind = arrays, cutting, cutting.kind
        self.size, self.keras_steps = cutting.size or BATCH_SIZE, cutting.keras_steps
        count = len(keras.tree.flatten(arrays.x)[0])
        self.samples = self._count = count
        self.steps = self.keras_steps or -(-count // self.size)
        self._digests: dict[str, Future[str]] = {}

    @property
    def lengths(self) -> np.ndarray | None:
        """The number of tokens of each sample, if a batch may be cut to its longest; else None."""
        return None

    @property
    def order(self) -> Order | None:
        """Epoch -> the order of the samples; None for their own."""
        if self.cutting.seed is None or self.keras_steps is not None:
            return None
        return functools.partial(epoch_order, self._count, self.cutting.seed)

    @property
    def spec(self) -> tuple[Any, Any]:
        return self.arrays.x, self.arrays.y

    def first_batch(self) -> Any:
        return self.arrays.rows(slice(self.size)).x

    def start_digest(self, part: str = "x") -> "Future[str]":
        """The digest of one part of the arrays, on the way in a thread of its own; made once.

        Args:
            part: `"x"`, `"y"` or `"weights"`.
        """
        if part not in self._digests:
            flat = [a for a in keras.tree.flatten(getattr(self.arrays, part)) if a is not None]
            pool = ThreadPoolExecutor(1)
            self._digests[part] = pool.submit(hashing.arrays_digest, flat)
            pool.shutdown(wait=False)
        return self._digests[part]

    def digest(self) -> str:
        waiting = [self.start_digest(part) for part in ("x", "y", "weights")]
        whole = hashing.text_digest(" ".join(future.result() for future in waiting))
        return f"{self.samples} samples, {whole}"

    def fast_forward(self, epochs: int) -> None:
        """Nothing to do: the order follows from seed and epoch."""

    def for_keras(self, first_epoch: int) -> KerasData:
        if self.order is None:
            given = self.arrays
            return KerasData(
                x=_keras_inputs(given.x),
                y=given.y,
                sample_weight=given.weights,
                batch_size=self.cutting.size,
                shuffle=self.cutting.keras_shuffles,
            )
        return KerasData(x=OrderedBatches(self.arrays.parts(), self.size, self.order, first_epoch))

    def for_validation(self) -> Any:
        return (_keras_inputs(self.arrays.x), *self.arrays.parts()[1:])

    def rows(self, epoch: int, number: int) -> np.ndarray:
        """The numbers of the samples of a batch."""
        order = np.arange(self._count) if self.order is None else self.order(epoch)
        return order[number * self.size : (number + 1) * self.size]

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, Any] | None:
        if self.keras_steps is not None:
            return None
        rows = self.rows(epoch, number)
        return rows, self.arrays.rows(rows).parts()


class TextBatches(ArrayBatches):
    """Batches of token ids, each as long as its longest text, of texts of like length.

    Args:
        arrays: Inputs, labels and weights.
        lengths: The number of tokens of each sample.
        cutting: How they are cut.
    """

    def __init__(self, arrays: Arrays, lengths: np.ndarray, cutting: Cutting) -> None:
        super().__init__(arrays, cutting)
        self._lengths = lengths

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    def for_keras(self, first_epoch: int) -> KerasData:
        return KerasData(x=self._by_length(self._order_by_length, first_epoch))

    def for_validation(self) -> Any:
        return self._by_length(None, 0)

    def rows(self, epoch: int, number: int) -> np.ndarray:
        return self._order_by_length(epoch)[number * self.size : (number + 1) * self.size]

    def _by_length(self, order: Order | None, first_epoch: int) -> text_lengths.ByLength:
        return text_lengths.ByLength(
            self.arrays.parts(), self.lengths, self.size, order, first_epoch
        )

    def _order_by_length(self, epoch: int) -> np.ndarray:
        if self.order is None:
            return np.arange(len(self.lengths))
        return text_lengths.batched(self.order(epoch), self.lengths, self.size)


class MixedArrayBatches(ArrayBatches):
    """Batches of images and labels that MixUp and CutMix layers mix, anew each time.

    Args:
        arrays: Images, and labels as probabilities.
        layers: The layers, applied in turn.
        cutting: How they are cut.
    """

    def __init__(self, arrays: Arrays, layers: Sequence[Any], cutting: Cutting) -> None:
        super().__init__(arrays, cutting)
        self.random_layers = tuple(layers)

    def for_keras(self, first_epoch: int) -> KerasData:
        own = np.arange(self._count)
        order = self.order or (lambda epoch: own)
        return KerasData(
            x=mixing.MixedBatches(
                self.random_layers, self.arrays.parts(), self.size, order, first_epoch
            )
        )


def _keras_inputs(x: Any) -> Any:
    return keras.tree.map_structure(lambda a: None if a is None else keras_array(a), x)
