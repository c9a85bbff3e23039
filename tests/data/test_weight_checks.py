"""Do weights act on the loss, or does `fit` say that they cannot?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.data import weight_checks

ops = keras.ops
X = np.zeros((8, 3), "float32")
Y = np.arange(8) % 2
WEIGHTS = np.ones(8, "float32")


def one_number(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


def one_each(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def per_column(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=0)


class Reducing(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return one_number(y_true, y_pred)


class OwnWeights(Reducing):
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return ops.mean(one_each(y_true, y_pred) * sample_weight)


class Failing(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise RuntimeError("on zeros")


def model_with(loss: Any) -> keras.Model:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(inputs))
    return ftk.compile_for_task(model, "binary", loss=loss, metrics=None)


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = parts

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return tuple(part[4 * index : 4 * index + 4] for part in self.parts)


def dataset(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts).batch(4)


def trained(model: keras.Model, *data: Any, **options: Any) -> None:
    ftk.fit(model, *data, verbose=0, **options)


GIVEN: dict[str, Callable[[keras.Model], None]] = {
    "class_weight": lambda model: trained(model, X, Y, class_weight={0: 2.0, 1: 1.0}),
    "balanced": lambda model: trained(model, X, Y, class_weight="balanced"),
    "sample_weight": lambda model: trained(model, X, Y, sample_weight=WEIGHTS),
    "tf.data": lambda model: trained(model, dataset(X, Y, WEIGHTS)),
    "tf.data, class_weight": lambda model: trained(model, dataset(X, Y), class_weight={0: 2.0}),
    "PyDataset": lambda model: trained(model, Batches(X, Y, WEIGHTS)),
    "validation arrays": lambda model: trained(model, X, Y, validation_data=(X, Y, WEIGHTS)),
    "validation tf.data": lambda model: trained(
        model, X, Y, validation_data=dataset(X, Y, WEIGHTS)
    ),
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_loss_of_one_number_is_refused_beside_weights(given: str) -> None:
    model = model_with(one_number)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"one number for a whole batch.*Received: loss='one_num"):
        GIVEN[given](model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("loss", "refused"),
    [
        (one_number, True),
        (per_column, True),
        (Reducing(), True),
        (keras.losses.Dice(), True),
        (one_each, False),
        (OwnWeights(), False),
        (Failing(), False),
        ("binary_crossentropy", False),
        (keras.losses.BinaryFocalCrossentropy(), False),
        (keras.losses.MeanSquaredError(reduction="sum"), False),
    ],
)
def test_which_losses_give_one_number(loss: Any, refused: bool) -> None:
    model = model_with(loss)
    weight_checks.check(model, None, Y)
    if refused:
        with pytest.raises(ValueError, match="leave the weights out"):
            weight_checks.check(model, WEIGHTS, Y)
    else:
        weight_checks.check(model, WEIGHTS, Y)


def test_without_weights_it_trains() -> None:
    trained(model_with(one_number), X, Y, validation_data=dataset(X, Y))


def test_a_mask_of_the_outputs_is_a_weight() -> None:
    inputs = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    outputs = keras.layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model(inputs, outputs)
    ids, y = np.ones((8, 5), "int32"), np.zeros((8, 5, 1))
    model.compile("sgd", one_number)
    with pytest.raises(ValueError, match="the mask of the outputs cannot act"):
        ftk.fit(model, ids, y, verbose=0)
    model.compile("sgd", one_each)
    ftk.fit(model, ids, y, verbose=0)


def test_several_outputs_each_with_its_loss() -> None:
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
    model = keras.Model(inputs, outputs)
    y = {"a": Y[:, None], "b": Y[:, None]}
    for loss in ({"a": "mse", "b": one_number}, ["mse", one_number], one_number):
        model.compile("sgd", loss=loss)
        with pytest.raises(ValueError, match="Received: loss='one_number'"):
            weight_checks.check(model, {"a": WEIGHTS, "b": WEIGHTS}, y)
    model.compile("sgd", loss={"a": "mse", "b": "mse"})
    weight_checks.check(model, {"a": WEIGHTS, "b": WEIGHTS}, y)


def test_weights_of_0_beside_metrics_that_count_all(caplog: pytest.LogCaptureFixture) -> None:
    zeros = np.array([0, 0, 1, 1, 1, 1, 1, 1.0])
    model = ftk.compile_for_task(model_with("mse"), "binary", loss="mse", metrics=["accuracy"])
    trained(model, X, Y, sample_weight=zeros, validation_data=(X, Y, zeros))
    assert "2 of 8 weights of samples are 0" in caplog.text
    assert "2 of 8 weights of validation samples are 0" in caplog.text
    caplog.clear()
    trained(model, X, Y, sample_weight=WEIGHTS)
    ftk.compile_for_task(model, loss="mse", metrics=None, weighted_metrics=["accuracy"])
    trained(model, X, Y, sample_weight=zeros)
    assert "weights of" not in caplog.text
