"""Are ready-made batches read without being changed, and fast-forwarded as `model.fit` moves?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.data import pipeline_batches
from finetunekit.data.pipeline_batches import DatasetBatches, GeneratedBatches, PyDatasetBatches
from frozen_dense import pipeline, samples

X, Y = samples(24)


class Numbered(keras.utils.PyDataset):
    """Three batches of numbers, in an order that it draws itself."""

    def __init__(self) -> None:
        super().__init__()
        self.random = np.random.default_rng(0)
        self.order = np.arange(24)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[8 * index : 8 * index + 8]
        return rows[:, None].astype("float32"), rows

    def on_epoch_end(self) -> None:
        self.order = self.random.permutation(24)


def shuffled() -> tf.data.Dataset:
    numbers = np.arange(24, dtype="float32")[:, None]
    data = tf.data.Dataset.from_tensor_slices((numbers, numbers))
    return data.shuffle(24, seed=1).batch(8)


def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        yield X[:8], Y[:8]


class Records(keras.Model):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def train_step(self, data: Any) -> dict[str, float]:
        self.seen += data[0][:, 0].numpy().tolist()
        return {"loss": 0.0}


def orders(data: Any, epochs: int) -> list[list[float]]:
    """What `model.fit` gives the model in each epoch."""
    model = Records()
    model.compile("sgd", run_eagerly=True)
    model.fit(data, epochs=epochs, shuffle=False, verbose=0)
    return np.reshape(model.seen, (epochs, 24)).tolist()


@pytest.mark.parametrize(
    ("make", "kind"), [(shuffled, DatasetBatches), (Numbered, PyDatasetBatches)]
)
def test_fast_forward_moves_as_keras_does(make: Any, kind: type) -> None:
    whole = orders(make(), 3)
    assert whole[1] != whole[2]
    for done in (0, 1, 2):
        data = make()
        batches = pipeline_batches.of(data)
        assert type(batches) is kind
        batches.fast_forward(done)
        assert orders(data, 1) == whole[done : done + 1], done


def test_what_is_known_of_them() -> None:
    dataset, own = pipeline_batches.of(pipeline(20)), pipeline_batches.of(Numbered())
    assert (dataset.steps, dataset.samples, own.steps) == (3, None, 3)
    assert dataset.spec[0].shape.as_list() == [None, 6]
    assert own.spec[1].tolist() == list(range(8))
    assert isinstance(dataset.first_batch(), np.ndarray)
    assert np.array_equal(dataset.first_batch(), X[:8])
    assert own.first_batch()[:, 0].tolist() == list(range(8))
    given = pipeline_batches.of(pipeline(20), steps=2, kind="validation samples")
    assert (given.steps, given.kind) == (2, "validation samples")


def test_the_digest_is_of_the_first_batch_and_the_number() -> None:
    one, other = (pipeline_batches.of(pipeline(24)) for _ in range(2))
    assert one.digest() == other.digest()
    assert one.digest().startswith("3 batches, first ")
    assert pipeline_batches.of(pipeline(24, seed=1)).digest() != one.digest()
    assert pipeline_batches.of(pipeline(24), steps=2).digest() != one.digest()


def test_a_generator_is_read_by_keras_alone() -> None:
    source = endless()
    batches = pipeline_batches.of(source, steps=2, class_weight={0: 1.0})
    assert type(batches) is GeneratedBatches
    assert (batches.steps, batches.samples, batches.spec) == (2, None, (None, None))
    batches.fast_forward(0)
    for read in (batches.first_batch, batches.digest, lambda: batches.fast_forward(1)):
        with pytest.raises(ValueError, match=r"more than once.*Received: x of type generator"):
            read()
    assert batches.for_keras(0).x is source
    assert batches.for_keras(0).class_weight == {0: 1.0}
    assert batches.batch(0, 0) is None


def test_what_keras_is_given() -> None:
    own = Numbered()
    given = pipeline_batches.of(own, shuffle=True, class_weight={1: 2.0}).for_keras(0)
    assert given.x is own
    assert (given.shuffle, given.class_weight) == (True, {1: 2.0})
    data = pipeline(24)
    given = pipeline_batches.of(data, shuffle=True).for_keras(0)
    assert (given.x is data, given.shuffle) == (True, False), "a pipeline keeps its order"
    assert pipeline_batches.of(data).for_validation() is data
