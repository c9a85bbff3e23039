"""Are arrays read, weighted and split as `model.fit` does it, row by row?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.data import arrays
from finetunekit.data.arrays import Arrays
from finetunekit.models.metadata import Task

L = keras.layers
X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.array([0, 1, 1, 1, 0, 1, 1, 1, 0, 1])
WEIGHTS = np.linspace(1, 2, 10).astype("float32")
BINARY = Task(name="binary", num_classes=1)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), L.Dense(1, activation="sigmoid")])


def test_rows_and_parts() -> None:
    found = Arrays({"a": X}, (Y, None), WEIGHTS).rows(np.array([3, 1]))
    assert found.x["a"].tolist() == [[6, 7], [2, 3]]
    assert found.y[0].tolist() == [1, 1]
    assert found.y[1] is None
    assert np.array_equal(found.weights, WEIGHTS[[3, 1]])
    assert len(Arrays(X, None).parts()) == 1
    assert len(Arrays(X, Y).parts()) == 2
    assert Arrays(X, Y, WEIGHTS).parts()[2] is WEIGHTS
    assert Arrays(X, Y).rows(slice(2)).weights is None


def test_they_are_compared_with_each_other(model: keras.Model) -> None:
    found = arrays.read(X.tolist(), Y.tolist(), WEIGHTS, model, None)
    assert np.array_equal(found.x, X)
    assert np.array_equal(found.y, Y)
    with pytest.raises(ValueError, match=r"same number of samples.*x with 10, y with 9 samples"):
        arrays.read(X, Y[:9], None, model, None)
    with pytest.raises(ValueError, match=r"one weight a sample.*\(9,\) for 10 samples"):
        arrays.read(X, Y, WEIGHTS[:9], model, None)


def test_class_weights_are_multiplied_with_sample_weights(model: keras.Model) -> None:
    wanted = np.where(Y == 1, 3.0, 0.5)
    given = Arrays(X, Y)
    assert arrays.weighted(given, None, model, BINARY) is given
    found = arrays.weighted(given, {0: 0.5, 1: 3.0}, model, BINARY)
    assert np.array_equal(found.weights, wanted.astype("float32"))
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        found = arrays.weighted(Arrays(X, Y, weights), {0: 0.5, 1: 3.0}, model, BINARY)
        assert np.allclose(found.weights, wanted * WEIGHTS, rtol=1e-6)
        assert found.weights.shape == (10,)
    # 3 of class 0 and 7 of class 1: each class weighs as much as the other.
    balanced = arrays.weighted(given, "balanced", model, BINARY).weights
    assert np.allclose([balanced[Y == 0].sum(), balanced[Y == 1].sum()], 5, rtol=1e-6)
    for y, task in ((Y, None), ({"a": Y}, BINARY)):
        with pytest.raises(ValueError, match=r"`class_weight` needs a model with one output"):
            arrays.weighted(Arrays(X, y), "balanced", model, task)


class Records(keras.Model):
    """Keeps what it trains and validates on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Any]] = {"train": [], "held out": []}

    def train_step(self, data: Any) -> dict[str, float]:
        self.seen["train"] += zip(*(part.numpy().tolist() for part in data), strict=True)
        return {"loss": 0.0}

    def test_step(self, data: Any) -> dict[str, float]:
        self.seen["held out"] += zip(*(part.numpy().tolist() for part in data), strict=True)
        return {"loss": 0.0}


@pytest.mark.parametrize("share", [0.25, 0.3, 0.5, 0.01 + 0.09])
def test_the_cut_is_that_of_keras(share: float, model: keras.Model) -> None:
    records = Records()
    records.compile("sgd", run_eagerly=True)
    records.fit(X, Y, sample_weight=WEIGHTS, validation_split=share, shuffle=False, verbose=0)
    for ours, name in zip(
        arrays.split(Arrays(X, Y, WEIGHTS), share, model, None), records.seen, strict=True
    ):
        rows = zip(*(part.tolist() for part in ours.parts()), strict=True)
        assert list(rows) == records.seen[name]


def test_shares_that_make_no_sense(model: keras.Model) -> None:
    _, held_out = arrays.split(Arrays(X, Y), 0.01, model, None)
    assert len(held_out.x) == 1, "9.9 samples to train on are 9"
    with pytest.raises(ValueError, match="leaves one side of 10 samples empty"):
        arrays.split(Arrays(X, Y), 0.99, model, None)
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="`validation_split`"):
            arrays.split(Arrays(X, Y), share, model, None)


def test_validation_data(model: keras.Model) -> None:
    assert arrays.read_validation(None, model, None, None) is None
    x, y, weights = arrays.read_validation((X.tolist(), Y, WEIGHTS), model, None, None)
    assert np.array_equal(x, X)
    assert y is Y
    assert weights is WEIGHTS
    assert len(arrays.read_validation((X, Y), model, None, None)) == 2
    for wrong in (X, (X,), (X, Y, WEIGHTS, 1)):
        with pytest.raises(ValueError, match=r"must be \(x, y\) or \(x, y, sample_weight\)"):
            arrays.read_validation(wrong, model, None, None)
    with pytest.raises(ValueError, match="In `validation_data`: `x` and `y` must hold the same"):
        arrays.read_validation((X, Y[:3]), model, None, None)
