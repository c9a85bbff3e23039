"""The order of samples: seeded, and another one in every epoch.

On TensorFlow, a seeded Keras `fit` on arrays repeats one order in every epoch and every later fit.
"""

import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Order = Callable[[int], np.ndarray]  # Epoch -> the order of the samples.


class OrderedBatches(keras.utils.PyDataset):
    """Batches of arrays, in an order that depends on the epoch alone."""

    def __init__(
        self, data: tuple[Any, ...], batch_size: int, order: Order, first_epoch: int = 0
    ) -> None:
        super().__init__()
        self._data = data
        self._batch_size = batch_size
        self._order_of = order
        self._samples = len(keras.tree.flatten(data)[0])
        self._epoch = first_epoch - 1
        self._order = order(first_epoch)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-self._samples // self._batch_size)

    def rows(self, index: int) -> np.ndarray:
        """The numbers of the samples of a batch."""
        return self._order[index * self._batch_size : (index + 1) * self._batch_size]

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """One batch."""
        rows = self.rows(index)
        x, *others = keras.tree.map_structure(
            lambda array: None if array is None else keras_array(array[rows]), self._data
        )
        return (x, *(without_holes(part, len(rows)) for part in others))

    def on_epoch_begin(self) -> None:
        """Draws the order of the epoch."""
        self._epoch += 1
        self._order = self._order_of(self._epoch)


def keras_array(array: Any) -> Any:
    """An array as Keras takes it: texts as a tensor, since it takes no arrays of objects."""
    if isinstance(array, np.ndarray) and array.dtype == object:
        return keras.ops.convert_to_tensor(array, dtype="string")
    return array


def without_holes(parts: Any, count: int) -> Any:
    """Labels or weights of a batch with zeros in the place of None.

    Of an output without a loss Keras looks at neither, but it takes no None in such batches.
    """
    if not keras.tree.is_nested(parts):
        return parts
    return keras.tree.map_structure(
        lambda part: np.zeros(count, "float32") if part is None else part, parts
    )


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(samples)


def drawn_seed(seed: int | None) -> int:
    """The seed itself, or one drawn from Python's `random`, which Keras' seeding seeds."""
    # An order, not a secret.
    return random.randrange(2**32) if seed is None else seed
