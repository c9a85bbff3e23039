"""Batches of texts of similar length, each padded only to its longest text."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from finetunekit.models import metadata
from finetunekit.text import roles

# Batches that texts are sorted within, so that the order stays random on the whole.
_WINDOW = 50


def of(model: keras.Model, x: Any) -> np.ndarray | None:
    """The number of tokens of each sample, if batches may be cut to their longest; else None.

    They may if the model has a tokenizer and takes any length and a padding mask, and the mask
    says that all padding is at the end.
    """
    if metadata.of(model).tokenizer is None:
        return None
    mask = roles.mask_of(model, x)
    arrays = keras.tree.flatten(x)
    free = all(tensor.shape[1] is None for tensor in roles.named_inputs(model).values())
    if not isinstance(mask, np.ndarray) or not free or mask.ndim != 2:
        return None
    if any(array.shape != mask.shape for array in arrays) or mask.shape[1] < 2:
        return None
    filled = mask != 0
    if (filled[:, 1:] & ~filled[:, :-1]).any():
        return None
    return np.maximum(filled.sum(axis=1), 1)


def batched(order: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """An order in which the samples of a batch have similar lengths, otherwise random like `order`.

    Args:
        order: The samples in random order.
        lengths: The length of each sample.
        size: Samples in a batch.
    """
    windows = [order[at : at + _WINDOW * size] for at in range(0, len(order), _WINDOW * size)]
    rows = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in windows])
    whole = len(rows) // size * size
    batches = np.split(rows[:whole], whole // size) if whole else []
    # The order is the seed: the same order gives the same batches.
    shuffled = np.random.default_rng(order[:8]).permutation(len(batches))
    return np.concatenate([*(batches[number] for number in shuffled), rows[whole:]])


class ByLength(keras.utils.PyDataset):
    """Batches of token ids, each as long as its longest sample.

    Args:
        data: What a batch consists of, inputs first.
        lengths: The length of each sample.
        size: Samples in a batch.
        order: Epoch -> the order of the samples; None sorts them by length.
        first_epoch: The number of the first epoch.
    """

    def __init__(
        self,
        data: tuple[Any, ...],
        lengths: np.ndarray,
        size: int,
        order: Callable[[int], np.ndarray] | None = None,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._x, *self._rest = data
        self._lengths, self._size, self._order_of = lengths, size, order
        self.by_length = np.argsort(lengths, kind="stable")
        self._epoch = first_epoch - 1
        self._order = self.by_length if order is None else order(first_epoch)
        self._begun = False

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self._lengths) // self._size)

    def rows(self, index: int) -> np.ndarray:
        """The indices of a batch's samples."""
        return self._order[index * self._size : (index + 1) * self._size]

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        rows = self.rows(index)
        longest = int(self._lengths[rows].max())
        if not self._begun:
            # Keras asks for some batches to learn their shapes; if they differ, any length is fine.
            width = keras.tree.flatten(self._x)[0].shape[1]
            longest = width if index % 2 == 0 else width - 1
        x = keras.tree.map_structure(lambda array: array[rows, :longest], self._x)
        rest = [keras.tree.map_structure(lambda a: a[rows], part) for part in self._rest]
        return (x, *rest) if rest else (x,)

    def on_epoch_begin(self) -> None:
        """Draws the order of the epoch."""
        self._begun = True
        self._epoch += 1
        if self._order_of is not None:
            self._order = self._order_of(self._epoch)


def predict(model: keras.Model, x: Any, lengths: np.ndarray, **options: Any) -> np.ndarray:
    """`model.predict`, on batches of similar length; outputs in the order of the samples."""
    size = options.pop("batch_size", None) or 32
    batches = ByLength((x,), lengths, size)
    found = np.asarray(model.predict(batches, **options))
    outputs = np.empty_like(found)
    outputs[batches.by_length] = found
    return outputs
