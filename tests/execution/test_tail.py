"""What the compiled step knows: as much of the size of a batch as Keras' own, whose bits it has."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from frozen_dense import frozen_backbone, pipeline, samples
from parameters import often

L = keras.layers


class Sizes(L.Layer):
    """Notes the size of a batch in each graph that it is traced in; None where it is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int | None] = []

    def call(self, inputs: Any) -> Any:
        if not isinstance(inputs, keras.KerasTensor):
            self.seen.append(inputs.shape[0])
        return inputs


class Batches(keras.utils.PyDataset):
    """Batches of eight."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.x, self.y = samples(count)

    def __len__(self) -> int:
        return -(-len(self.x) // 8)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(index * 8, index * 8 + 8)
        return self.x[rows], self.y[rows]


def of_arrays(count: int) -> dict[str, Any]:
    x, y = samples(count)
    return {"x": x, "y": y, "batch_size": 8, "shuffle": False}


DATA: dict[str, dict[str, Any]] = {
    "arrays": of_arrays(24),
    "arrays and a rest": of_arrays(20),
    "tf.data": {"x": pipeline(24)},
    "tf.data and a rest": {"x": pipeline(20)},
    "tf.data without a rest": {
        "x": tf.data.Dataset.from_tensor_slices(samples(20)).batch(8, drop_remainder=True)
    },
    "a PyDataset": {"x": Batches(24), "shuffle": False},
    "a PyDataset and a rest": {"x": Batches(20), "shuffle": False},
}


def with_sizes() -> tuple[keras.Model, Sizes]:
    backbone, sizes = frozen_backbone(), Sizes()
    model = keras.Sequential([keras.Input((6,)), backbone, L.Dense(2), sizes])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    sizes.seen.clear()  # Of building the model.
    return model, sizes


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.parametrize("kind", often(DATA, ("arrays and a rest", "tf.data and a rest")))
def test_the_size_of_a_batch_is_known_where_keras_knows_it(kind: str) -> None:
    (plain, wanted), (ours, found) = with_sizes(), with_sizes()
    plain.fit(**DATA[kind], verbose=0)
    ftk.fit(ours, **DATA[kind], engine="keras", verbose=0)
    assert set(found.seen) == set(wanted.seen)
    assert len(found.seen) == 1  # A smaller last batch is no reason to trace again.
    found.seen.clear()
    wanted.seen.clear()
    data = {"x": pipeline(20), "validation_data": samples(16, 1), "verbose": 0}
    plain.fit(**data, validation_batch_size=8)
    ftk.fit(ours, **data, validation_batch_size=8, engine="keras")
    assert 8 in wanted.seen
    assert 8 in found.seen
