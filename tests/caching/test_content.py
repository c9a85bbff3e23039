"""Are features found by content those of the model, whatever the batches mix?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching import memory_stores

L = keras.layers
RANDOM = np.random.default_rng(0)
X = RANDOM.random((40, 6), dtype="float32")
Y = np.sin(X.sum(axis=1, keepdims=True))


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """No test finds the features of another."""
    ftk.clear_cache()


def backbone() -> keras.Model:
    keras.utils.set_random_seed(0)
    body = keras.Sequential([keras.Input((6,)), L.Dense(8, "tanh"), L.Dense(5, "tanh")])
    body.trainable = False
    return body


def with_head(body: keras.Model, *metrics: Any) -> keras.Model:
    """A new head on a backbone, of the same weights each time."""
    model = keras.Sequential([body, L.Dense(1, kernel_initializer="ones")])
    model.build((None, 6))
    model.compile(keras.optimizers.SGD(0.05), "mse", metrics=list(metrics))
    return model


def pipeline(rows: Any, size: int = 8) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X[rows], Y[rows])).batch(size)


def plain_losses(rows: Any, epochs: int = 1) -> list[float]:
    model = with_head(backbone())
    return list(model.fit(pipeline(rows), epochs=epochs, shuffle=False, verbose=0).history["loss"])


OTHERS = {
    "the same": np.arange(16),
    "in another order": np.arange(16)[::-1],
    "old and new in a batch": np.r_[30, 0, 31, 5, 5, 32, 33, 2, 34, 1, 35, 36],
    "twice the same new one": np.r_[20, 20, 3, 20, 21, 21, 3, 3],
    "more": np.arange(40),
}


@pytest.mark.parametrize("file", [False, True])
def test_further_fits_on_kept_features(file: bool, tmp_path: Any) -> None:
    body = backbone()
    options: dict[str, Any] = {"epochs": 1, "verbose": 0, "engine": "keras"}
    if file:
        options["cache"] = tmp_path / "f.h5"
    ftk.fit(with_head(body), pipeline(np.arange(16)), **options)
    kinds = ["in another order"] if file else ["old and new in a batch", "twice the same new one"]
    for kind in kinds:
        found = ftk.fit(with_head(body), pipeline(OTHERS[kind]), **options).history["loss"]
        assert np.allclose(found, plain_losses(OTHERS[kind]), rtol=1e-5), kind


def test_features_of_a_growing_stream_are_those_of_the_model() -> None:
    body = backbone()
    for kind in ("the same", "old and new in a batch", "more"):
        ftk.fit(with_head(body), pipeline(OTHERS[kind]), epochs=1, verbose=0, engine="keras")
    stores = [store for kept in memory_stores._kept.values() for store in kept]
    assert len(stores) == 1
    rows = stores[0].digest_rows()
    assert len(rows) == stores[0].done == 40
    features = stores[0].read("feature_0", slice(None))
    wanted = body.predict(X, verbose=0)
    for number in range(40):
        name = _digest(X[number])
        assert np.allclose(features[rows[name]], wanted[number], atol=1e-6)


def _digest(row: np.ndarray) -> bytes:
    from finetunekit.caching import identity

    return identity.row_digests([row[None]])[0].tobytes()


@keras.saving.register_keras_serializable("tests")
class Seen(keras.metrics.Metric):
    """How often each sample came, by the number that stands in its label, and when."""

    def __init__(self, what: str = "", **options: Any) -> None:
        super().__init__(name=what, **options)
        self.what = what
        self.count = self.add_variable((40,), "zeros", name="count")
        self.place = self.add_variable((40,), "zeros", name="place")
        self.step = self.add_variable((), "zeros", name="step")

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        hot = keras.ops.one_hot(keras.ops.cast(y[:, 0], "int32"), 40)
        self.count.assign_add(keras.ops.sum(hot, axis=0))
        self.place.assign_add(keras.ops.sum(hot, axis=0) * self.step)
        self.step.assign_add(1.0)

    def result(self) -> Any:
        numbers = keras.ops.arange(1.0, 41.0)
        return {
            "least": keras.ops.min(self.count),
            "most": keras.ops.max(self.count),
            "order": keras.ops.sum(numbers * self.place),
        }[self.what]


@pytest.mark.parametrize("limit", [None, 1600])
def test_every_epoch_takes_each_sample_once_in_an_order_of_its_own(limit: Any) -> None:
    numbers = np.arange(40, dtype="float32")[:, None]
    model = with_head(backbone(), Seen("least"), Seen("most"), Seen("order"))
    found = ftk.fit(
        model, X, numbers, epochs=4, batch_size=4, verbose=0, engine="keras", memory_limit=limit
    )
    assert found.history["least"] == found.history["most"] == [1.0] * 4
    assert len(set(found.history["order"])) == 4


@pytest.mark.parametrize("limit", [300, pytest.param(900, marks=pytest.mark.slow)])
def test_later_windows_of_memory_give_the_features_of_their_rows(limit: Any) -> None:
    plain, ours = with_head(backbone()), with_head(backbone())
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    wanted = plain.fit(X, Y, **options).history["loss"]
    found = ftk.fit(ours, X, Y, engine="keras", memory_limit=limit, **options).history["loss"]
    assert found == wanted
    for one, other in zip(ours.get_weights(), plain.get_weights(), strict=True):
        assert np.array_equal(one, other)
