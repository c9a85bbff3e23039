"""What the `call` of a subclassed model says is done on features too, or it is not followed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import calls, cut, identity
from frozen_dense import same_training, samples

L = keras.layers
X, Y = samples(24)


class Model(keras.Model):
    """A frozen layer, BatchNormalization, Dropout and a head, called as a function says."""

    def __init__(self, told: Callable[..., Any]) -> None:
        super().__init__()
        self.body = L.Dense(5, name="body", trainable=False)
        self.bn = L.BatchNormalization(name="bn")
        self.bn.build((None, 5))
        self.drop = L.Dropout(0.5, seed=1, name="drop")
        self.head = L.Dense(2, activation="softmax", name="head")
        self.told = told

    def call(self, x: Any, training: bool = False) -> Any:
        return self.told(self, x, training)


def built(told: Callable[..., Any]) -> Model:
    keras.utils.set_random_seed(0)
    model = Model(told)
    model(X[:1])
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


def inferring(model: Model, x: Any, training: bool) -> Any:
    return model.head(model.drop(model.bn(model.body(x), training=False), training=False))


def passing(model: Model, x: Any, training: bool) -> Any:
    return model.head(model.bn(model.body(x), training=training))


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_training_false_reaches_into_a_nested_model() -> None:
    def made() -> Model:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,))
        inner = L.Dropout(0.5, seed=1)(L.BatchNormalization(name="norm")(inputs))
        nested = keras.Sequential([keras.Input((5,)), keras.Model(inputs, inner), L.Dense(3)])
        model = Model(lambda model, x, training: model.head(nested(model.body(x), training=False)))
        model.nested = nested
        model(X[:1])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        return model

    plain, ours = made(), made()
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
    plain.fit(X, Y, **options)
    ftk.fit(ours, X, Y, cache=True, engine="keras", **options)
    assert same_training(plain, ours)
    norm = ours.nested.layers[0].get_layer("norm")
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(5))


@pytest.mark.parametrize("told", [inferring, passing])
def test_training_false_is_heeded(told: Callable[..., Any]) -> None:
    plain, ours = built(told), built(told)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}
    plain.fit(X, Y, **options)
    ftk.fit(ours, X, Y, cache=True, engine="keras", **options)
    assert same_training(plain, ours)
    moved = not np.array_equal(ours.bn.moving_mean, np.zeros(5))
    assert moved == (told is passing)


def test_a_model_that_says_training_true_is_not_followed() -> None:
    model = built(lambda model, x, training: model.head(model.drop(model.body(x), training=True)))
    closed = calls.list_calls(model, X).closed
    assert closed == {model.name: "its `call` calls 'drop' with `training=True`"}


def by_setting(model: Model, x: Any, training: bool) -> Any:
    limit = 2.0 if training else 0.1
    return model.head(keras.ops.clip(model.body(x), -limit, limit))


def by_constant(model: Model, x: Any, training: bool) -> Any:
    added = np.zeros(2000, "float32")
    added[1000] = 0.0 if training else 1.0  # Where the text of an array leaves numbers out.
    return model.head(model.body(x) + keras.ops.sum(x[:, :1] * added, axis=1, keepdims=True))


def by_variable(model: Model, x: Any, training: bool) -> Any:
    other = model.bn.gamma if training else model.bn.moving_variance  # Ones, both.
    return model.head(model.bn(model.body(x)) * other)


@pytest.mark.parametrize("told", [by_setting, by_constant, by_variable])
def test_a_model_that_does_something_else_while_training_is_not_followed(
    told: Callable[..., Any],
) -> None:
    model = built(told)
    found = calls.list_calls(model, X)
    assert found.closed == {
        model.name: "its `call` does other things while training than afterwards"
    }
    features = ftk.cache_features(model, X, verbose=0).features
    np.testing.assert_allclose(features, model.predict(X, verbose=0), atol=1e-6)


def test_settings_that_stay_the_same_are_followed() -> None:
    def clipped(model: Model, x: Any, training: bool) -> Any:
        return model.head(keras.ops.clip(model.body(x), -0.1, np.float32(0.1)) + np.ones(5))

    model = built(clipped)
    found = calls.list_calls(model, X)
    assert found.closed == {}
    assert [call.operation.name for call in found.calls if isinstance(call.operation, L.Layer)] == [
        "body",
        "head",
    ]


@pytest.mark.filterwarnings("ignore:The structure of `inputs`")  # Keras drops "c", too.
def test_a_nested_model_drops_the_inputs_that_it_does_not_take() -> None:
    keras.utils.set_random_seed(0)
    a, b = (keras.Input((2,), name=name) for name in "ab")
    inner = keras.Model({"a": a, "b": b}, L.Dense(3)(L.Subtract()([a, b])))
    inner.trainable = False
    given = [keras.Input((2,)) for _ in range(3)]
    outputs = L.Dense(1)(inner({"b": given[0], "a": given[2], "c": given[1]}))
    model = keras.Model(given, outputs)
    x = list(np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32"))
    split = cut.split_frozen(model)
    found = split.run_tail(split.run_prefix_flat(x), [], [None], False)
    wanted = model.predict(x, verbose=0)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(ftk.cache_features(model, x, verbose=0).features, wanted, atol=1e-6)


def partial(slope: float) -> Any:
    return functools.partial(keras.ops.leaky_relu, negative_slope=slope)


def methodcaller(slope: float) -> Any:
    return operator.methodcaller("__mul__", slope)


@pytest.mark.parametrize(
    ("made", "place"),
    [(partial, "activation"), (partial, "layer"), (methodcaller, "activation")],
)
def test_what_a_callable_holds_counts(made: Callable[[float], Any], place: str) -> None:
    def key(slope: float) -> dict[str, str]:
        keras.utils.set_random_seed(0)
        layers = (
            [L.Dense(3, activation=made(slope))]
            if place == "activation"
            else [L.Dense(3), L.Lambda(made(slope), output_shape=(3,))]
        )
        backbone = keras.Sequential([keras.Input((6,)), *layers])
        backbone.trainable = False
        return identity.prefix_key(cut.split_frozen(keras.Sequential([backbone, L.Dense(1)])))

    assert key(0.1) == key(0.1)
    assert key(0.1)["layer code and attributes"] != key(0.9)["layer code and attributes"]
