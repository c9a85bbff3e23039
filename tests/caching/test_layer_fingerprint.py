"""A layer's description changes with what it computes, and with nothing that is incidental."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from finetunekit.caching.layer_fingerprint import LayerFingerprint
from finetunekit.foundation import keras_internals

L = keras.layers


def described(value: Any, weights: Any = ()) -> str:
    """The whole description; `of` gives a digest of a long one."""
    found = LayerFingerprint(weights)
    text = found.of(value)
    assert not found.unidentified
    return text


def built(layer: L.Layer, width: int = 3) -> L.Layer:
    layer.build((None, width))
    return layer


def operation(tensor: Any) -> Any:
    return keras_internals.producer(tensor)


X = (None, 4)
OPERATIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "another operation": (ops.sin, ops.cos),
    "another setting": (lambda x: ops.clip(x, -1, 1), lambda x: ops.clip(x, -2, 1)),
    "another axis": (lambda x: ops.sum(x, axis=0), lambda x: ops.sum(x, axis=1)),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_operations_are_told_apart_by_kind_and_settings(what: str) -> None:
    one, other = OPERATIONS[what]
    x = keras.Input(batch_shape=X)
    assert described(operation(one(x))) != described(operation(other(x)))


def test_the_name_of_an_operation_is_incidental() -> None:
    one, other = (operation(ops.clip(keras.Input(batch_shape=X), -1, 1)) for _ in range(2))
    one.name = "renamed"
    assert described(one) == described(other)
    one._hidden = 7
    assert described(one) == described(other)
    one.shown = 7
    assert described(one) != described(other)


def test_weights_are_told_by_their_numbers() -> None:
    one, other = built(L.Dense(2)), built(L.Dense(2))
    assert described(one.kernel, one.weights) == "weight 0"
    assert described(one.bias, iter(one.weights)) == "weight 1"
    assert described(one, one.weights) == described(other, other.weights)
    assert described(one, one.weights) != described(other, other.weights[::-1])
    assert described(one, one.weights) != described(one)


def test_weights_without_a_number_are_told_by_value() -> None:
    one, other = built(L.Dense(2)), built(L.Dense(2))
    assert described(one) != described(other)
    other.set_weights(one.get_weights())
    assert described(one) == described(other)
    other.bias.assign_add([0.0, 1e-6])
    assert described(one) != described(other)


LAYERS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "kind": (L.ReLU, L.Identity),
    "precision": (lambda: L.ReLU(dtype="float32"), lambda: L.ReLU(dtype="mixed_float16")),
    "sublayer": (lambda: keras.Sequential([L.ReLU()]), lambda: keras.Sequential([L.Identity()])),
    "order of sublayers": (
        lambda: keras.Sequential([L.ReLU(), L.Identity()]),
        lambda: keras.Sequential([L.Identity(), L.ReLU()]),
    ),
    "number of sublayers": (
        lambda: keras.Sequential([L.ReLU()]),
        lambda: keras.Sequential([L.ReLU(), L.ReLU()]),
    ),
    "vocabulary": (
        lambda: L.StringLookup(vocabulary=["a", "b"]),
        lambda: L.StringLookup(vocabulary=["a", "c"]),
    ),
    "order of a vocabulary": (
        lambda: L.StringLookup(vocabulary=["a", "b"]),
        lambda: L.StringLookup(vocabulary=["b", "a"]),
    ),
    "function": (lambda: L.Lambda(lambda x: x + 1), lambda: L.Lambda(lambda x: x + 2)),
    "activation": (
        lambda: L.Activation(lambda x: x + 1),
        lambda: L.Activation(lambda x: x * 1),
    ),
    "variance": (
        lambda: built(L.Normalization(mean=[0.0], variance=[1.0]), 1),
        lambda: built(L.Normalization(mean=[0.0], variance=[2.0]), 1),
    ),
}


@pytest.mark.parametrize("what", LAYERS)
def test_layers_of_keras_are_told_apart(what: str) -> None:
    one, other = LAYERS[what]
    assert described(one()) == described(one())
    assert described(one()) != described(other())


def test_what_is_adapted_counts() -> None:
    one, other = L.Normalization(), L.Normalization()
    for layer in (one, other):
        layer.adapt(np.array([[0.0], [2.0]], "float32"))
    assert described(one) == described(other)
    other.adapt(np.array([[0.0], [4.0]], "float32"))
    assert described(one) != described(other)


def test_what_keras_keeps_its_books_in_is_incidental() -> None:
    one, other = L.ReLU(name="one"), L.ReLU(name="other", trainable=False)
    other(keras.Input((4,)))
    assert described(one) == described(other)
    # Settings of Keras' own layers stand in their configs, which are compared beside this.
    assert described(L.ReLU(max_value=1.0)) == described(L.ReLU(max_value=2.0))


def scaled(x: Any) -> Any:
    return x


class Helper:
    """An object of the user's own."""

    def __init__(self, size: int) -> None:
        self.size = size


VALUES: dict[str, tuple[Callable[[int], Any], bool]] = {
    "number": (lambda n: n, False),
    "text": (lambda n: str(n), False),
    "array": (lambda n: np.array([n]), True),
    "shape without numbers": (lambda n: np.broadcast(np.zeros(n + 1), 0), False),
    "object": (Helper, True),
    "objects in a list": (lambda n: [1, Helper(n)], True),
    "objects in a tuple": (lambda n: (1, (Helper(n),)), True),
    "objects in a dictionary": (lambda n: {"a": 1, "b": {"c": Helper(n)}}, True),
    "objects in a set": (lambda n: {Helper(n)}, True),
    "numbers in a list": (lambda n: [n], False),
    "numbers in a dictionary": (lambda n: {"a": n}, False),
    "function": (lambda n: lambda x: x + n, True),
    "partial of the user's own": (lambda n: functools.partial(scaled, n), True),
    "function of a library": (lambda n: [ops.sin, ops.cos][n], False),
    "method": (lambda n: Helper(n).__init__, True),
    "class": (lambda n: type("Own", (), {"size": n, "__module__": __name__}), True),
    "class of a library": (lambda n: [int, str][n], False),
}


@pytest.mark.parametrize("kind", VALUES)
def test_what_the_user_hands_to_a_layer_of_keras_counts(kind: str) -> None:
    make, counts = VALUES[kind]

    def with_attribute(number: int) -> L.Layer:
        layer = L.Identity()
        vars(layer)["handed"] = make(number)
        return layer

    assert described(with_attribute(0)) == described(with_attribute(0))
    assert (described(with_attribute(0)) != described(with_attribute(1))) == counts


class Plain(L.Layer):
    """Names one of its attributes."""

    def call(self, x: Any) -> Any:
        return x * self.used


class Deep(L.Layer):
    """Names attributes in what its `call` names, step by step."""

    def call(self, x: Any) -> Any:
        return self.step(x)

    def step(self, x: Any) -> Any:
        return self.further(x)

    def further(self, x: Any) -> Any:
        return x * self.used

    def elsewhere(self, x: Any) -> Any:
        return x * self.unused


class ByFunction(L.Layer):
    """An attribute that is called names another one."""

    def __init__(self) -> None:
        super().__init__()
        self.a_function = lambda x: x * self_of(x).used

    def call(self, x: Any) -> Any:
        return self.a_function(x)


def self_of(x: Any) -> Any:
    return x


class Masked(L.Layer):
    def call(self, x: Any) -> Any:
        return x

    def compute_mask(self, x: Any, previous_mask: Any = None) -> Any:
        return self.used


class Called(L.Layer):
    def __call__(self, x: Any) -> Any:
        return x + self.used


class Derived(Plain):
    """Inherits what names the attribute."""


@pytest.mark.parametrize("kind", [Plain, Deep, ByFunction, Masked, Called, Derived])
def test_attributes_that_code_of_the_users_own_names_count(kind: type) -> None:
    def made(**attributes: Any) -> L.Layer:
        layer = kind()
        vars(layer).update({"used": 1, "unused": 1} | attributes)
        return layer

    assert described(made()) == described(made())
    assert described(made()) == described(made(unused=2))
    assert described(made()) != described(made(used=2))
    assert described(made(unused=Helper(1))) != described(made(unused=Helper(2)))


INDIRECT = {
    "getattr": lambda self, x: getattr(self, "un" + "used"),
    "vars": lambda self, x: vars(self)["unused"],
    "__dict__": lambda self, x: self.__dict__["unused"],
    "eval": lambda self, x: eval("self.unused"),
    "__getattribute__": lambda self, x: self.__getattribute__("unused"),
}


@pytest.mark.parametrize("way", INDIRECT)
def test_attributes_that_may_be_reached_unnamed_count(way: str) -> None:
    kind = type("Own", (L.Layer,), {"call": INDIRECT[way], "__module__": __name__})

    def made(**attributes: Any) -> L.Layer:
        layer = kind()
        vars(layer).update({"unused": 1, "_hidden": 1} | attributes)
        return layer

    assert described(made()) == described(made(_hidden=2))
    assert described(made()) != described(made(unused=2))


def layer_of(**members: Any) -> L.Layer:
    return type("Own", (L.Layer,), {"__module__": __name__, **members})()


def test_code_counts_where_it_is_reached() -> None:
    def call(self: Any, x: Any) -> Any:
        return self.step(x)

    def one(self: Any, x: Any) -> Any:
        return x + 1

    def other(self: Any, x: Any) -> Any:
        return x + 2

    wanted = described(layer_of(call=call, step=one))
    assert described(layer_of(call=call, step=one, unused=other)) == wanted
    assert described(layer_of(call=call, step=other)) != wanted
    assert described(layer_of(call=one, step=one)) != wanted
    masked = described(layer_of(call=call, step=one, compute_mask=one))
    assert len({wanted, masked, described(layer_of(call=call, step=one, compute_mask=other))}) == 3


def test_code_of_a_base_counts_where_it_stands() -> None:
    class One(L.Layer):
        def call(self, x: Any) -> Any:
            return x + 1

    class Two(One):
        def call(self, x: Any) -> Any:
            return super().call(x)

    wanted = described(Two())
    One.call = lambda self, x: x + 2
    assert described(Two()) != wanted


def test_names_of_classes_count() -> None:
    one = type("One", (L.Layer,), {"__module__": __name__})
    other = type("Other", (L.Layer,), {"__module__": __name__})
    assert described(one()) != described(other())
    of_dense = type("One", (L.Dense,), {"__module__": __name__})
    assert described(of_dense(2)) != described(one())
