"""The same samples and labels as arrays, a tf.data pipeline and a PyDataset."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class Batches(keras.utils.PyDataset):
    """Arrays in batches of 4."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = parts

    def __len__(self) -> int:
        return -(-len(self.parts[0]) // 4)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        return tuple(part[4 * number : 4 * number + 4] for part in self.parts)


def shuffled(*parts: Any) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(parts).shuffle(100, seed=1).batch(4)
