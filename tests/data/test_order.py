"""Is the order of the samples another one in every epoch, and the same for the same seed?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data.order import epoch_order, without_holes


class Recorder(keras.layers.Layer):
    """Passes its input on and keeps it."""

    def call(self, inputs: object) -> object:
        import tensorflow as tf

        tf.py_function(lambda x: SEEN.append(x.numpy()[:, 0]), [inputs], [])
        return inputs


SEEN: list[np.ndarray] = []


def orders(epochs: int, **options: object) -> list[list[int]]:
    """The order of 20 numbered samples in each epoch of a fit."""
    SEEN.clear()
    model = keras.Sequential([keras.Input((1,)), Recorder(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.arange(20, dtype="float32")[:, None]
    ftk.fit(model, x, x, batch_size=8, epochs=epochs, verbose=0, **options)
    flat = np.concatenate(SEEN).astype(int).reshape(-1, 20)
    return [row.tolist() for row in flat]


def test_differs_in_every_epoch_and_holds_every_sample_once() -> None:
    found = orders(4)
    assert len(found) == 4
    assert len({tuple(row) for row in found}) == 4
    assert all(sorted(row) == list(range(20)) for row in found)


def test_is_the_same_for_the_same_seed() -> None:
    keras.utils.set_random_seed(5)
    one = orders(2)
    keras.utils.set_random_seed(5)
    assert orders(2) == one
    seeded = orders(2, seed=11)
    assert orders(2, seed=11) == seeded
    assert orders(2, seed=12) != seeded


def test_depends_on_seed_and_epoch_alone() -> None:
    whole = orders(3, seed=4)
    assert orders(3, seed=4, initial_epoch=1) == whole[1:]
    assert whole == [epoch_order(20, 4, epoch).tolist() for epoch in range(3)]


@pytest.mark.parametrize("options", [{"shuffle": False}])
def test_no_shuffle_takes_them_as_they_come(options: dict) -> None:
    assert orders(2, **options) == [list(range(20))] * 2


def test_an_output_without_labels_trains_in_an_order_too() -> None:
    """Keras takes no None in the batches of a PyDataset; of such an output it looks at nothing."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    losses = []
    for shuffle in (True, False):
        inputs = keras.Input((3,))
        heads = [
            keras.layers.Dense(1, kernel_initializer="ones", trainable=one)(inputs)
            for one in (True, False)
        ]
        model = keras.Model(inputs, heads)
        model.compile(keras.optimizers.SGD(0.0), ["mse", None])
        found = ftk.fit(model, x, [x[:, :1], None], shuffle=shuffle, verbose=0)
        losses.append(found.history["loss"][0])
    wanted = np.mean((x[:, 1] + x[:, 2]) ** 2)
    assert np.allclose(losses, wanted, rtol=1e-5)
    assert without_holes({"a": x, "b": None}, 2)["b"].tolist() == [0, 0]
    assert without_holes(None, 2) is None
