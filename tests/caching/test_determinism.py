"""A layer is taken for constant only if it gives the same for the same input in every epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.caching import determinism
from finetunekit.caching.calls import Call, Value
from finetunekit.foundation import keras_internals, patches

L = keras.layers


class Told(L.Layer):
    """Of another library: what it does while training is not known."""

    def call(self, x: Any, training: Any = None) -> Any:
        return x


class Quiet(L.Layer):
    """Of another library, but never told that it is training."""

    def call(self, x: Any) -> Any:
        return x


class Seeded(Quiet):
    """Draws random numbers, with strengths of any names."""

    def __init__(self, **strengths: Any) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(0)
        vars(self).update(strengths)


class RandomLayer(L.Layer):
    """As other libraries name their base of augmentation."""


class Flip(RandomLayer):
    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(0)

    def call(self, x: Any) -> Any:
        return x


class OwnDropout(L.Dropout):
    """A user's own kind of a layer that Keras has."""


def on(operation: Any, *inside: Any, **kwargs: Any) -> Call:
    value = Value("x", (None, 4), "float32")
    return Call(operation, (value,), kwargs, [Value("y", (None, 4), "float32")], inside)


def addition() -> Any:
    """An operation that is no layer."""
    return keras_internals.producer(keras.Input((4,)) + 1)


def chain(*layers: L.Layer) -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), *layers])


def reason(call: Call, *trained: L.Layer, frozen_dropout: bool = False) -> str:
    """The obstacle, if these layers train all of their variables."""
    variables = {id(variable) for layer in trained for variable in layer.variables}
    return determinism.obstacle(call, variables, frozen_dropout=frozen_dropout)


def still(layer: L.Layer) -> L.Layer:
    layer.trainable = False
    return layer


def built(layer: L.Layer) -> L.Layer:
    layer.build((None, 4))
    return layer


def replaced(layer: L.Layer) -> L.Layer:
    layer.call = lambda x: x
    return layer


def patched(layer: L.Layer) -> L.Layer:
    patches.exchange(layer, "call", lambda x: x)
    return layer


def marked(value: Any) -> L.Layer:
    layer = Quiet()
    layer.stateful = value
    return layer


RANDOM = "it is random while training"
UNKNOWN = "its `call` takes `training`, and what it then does is not known"
# What a layer's obstacle is, if it trains; if it is frozen; if `frozen_dropout` is set too.
LAYERS: dict[str, tuple[Any, str, str, str]] = {
    "dense": (lambda: L.Dense(2), "", "", ""),
    "quiet": (Quiet, "", "", ""),
    "replaced call": (lambda: replaced(L.ReLU()), *["its `call` was replaced"] * 3),
    "patched call": (lambda: patched(L.ReLU()), *["its `call` was replaced"] * 3),
    "activity": (
        lambda: L.Dense(2, activity_regularizer="l2"),
        *["its activity regularizer is a part of the loss"] * 3,
    ),
    "batch normalization": (
        lambda: L.BatchNormalization(),
        "it is BatchNormalization that updates its statistics",
        "",
        "",
    ),
    "spectral normalization": (
        lambda: L.SpectralNormalization(L.Dense(2)),
        *["it changes its weights in each training step"] * 3,
    ),
    "stateful": (
        lambda: L.LSTM(2, stateful=True),
        *["it is stateful: it remembers the batch before"] * 3,
    ),
    "called stateful": (lambda: marked("yes"), "", "", ""),
    "dropout": (
        lambda: L.Dropout(0.5),
        RANDOM,
        "",
        f"{RANDOM}, and `frozen_dropout=True` leaves it so",
    ),
    "dropout of nothing": (lambda: L.Dropout(0.0), "", "", ""),
    "own dropout of nothing": (lambda: OwnDropout(0.0), UNKNOWN, "", UNKNOWN),
    "augmentation": (lambda: L.RandomFlip(), *["it is random augmentation"] * 3),
    "augmentation elsewhere": (Flip, *["it is random augmentation"] * 3),
    "told": (Told, UNKNOWN, "", UNKNOWN),
    "told, of Keras": (lambda: L.LayerNormalization(), "", "", ""),
}


@pytest.mark.parametrize("name", LAYERS)
def test_what_keeps_a_layer_from_being_constant(name: str) -> None:
    make, trained, frozen, kept = LAYERS[name]
    assert reason(on(make())) == trained
    assert reason(on(still(make()))) == frozen
    assert reason(on(still(make())), frozen_dropout=True) == kept


@pytest.mark.parametrize("name", LAYERS)
def test_what_stands_inside_of_a_layer_is_named(name: str) -> None:
    make, trained, frozen, kept = LAYERS[name]

    def around(layer: L.Layer) -> L.Layer:
        layer.name = "inner"
        found = Quiet()
        found.held = [L.ReLU(), layer]
        return found

    for frozen_dropout, freeze, wanted in (
        (False, lambda layer: layer, trained),
        (False, still, frozen),
        (True, still, kept),
    ):
        text = f"'inner' inside of it: {wanted}" if wanted else ""
        call = on(freeze(around(make())))
        assert reason(call, frozen_dropout=frozen_dropout) == text


def test_a_layer_may_be_frozen_by_itself() -> None:
    call = on(chain(L.Dense(4), still(L.Dropout(0.5))))
    assert reason(call) == ""
    call = on(chain(L.Dense(4), L.Dropout(0.5, name="drop")))
    assert reason(call) == f"'drop' inside of it: {RANDOM}"
    still(call.operation).layers[1].trainable = True  # What is around it counts.
    assert reason(call) == ""


@pytest.mark.parametrize(
    ("strengths", "is_random"),
    [
        ({}, True),
        ({"rate": 0}, False),
        ({"rate": 0.1}, True),
        ({"stddev": 0.0}, False),
        ({"stddev": 1}, True),
        ({"dropout": 0.0}, False),
        ({"dropout": 0.1}, True),
        ({"recurrent_dropout": 0.0}, False),
        ({"recurrent_dropout": 0.1}, True),
        ({"drop_rate": 0.0}, False),
        ({"drop_rate": 0.1}, True),
        ({"dropout": 0.0, "recurrent_dropout": 0.1}, True),
        ({"dropout": 0.0, "recurrent_dropout": 0.0}, False),
        ({"rate": "0"}, True),
        ({"noise": 0.0}, True),
    ],
    ids=str,
)
def test_a_layer_with_a_seed_is_random_unless_all_its_strengths_are_zero(
    strengths: dict[str, Any], is_random: bool
) -> None:
    call = on(Seeded(**strengths))
    assert reason(call) == (RANDOM if is_random else "")
    assert determinism.switched_off(call) == ([call.operation] if is_random else [])


def test_strengths_without_a_seed_are_no_chance() -> None:
    layer = Quiet()
    layer.rate = 0.5
    assert reason(on(layer)) == ""


def test_weights_that_train_are_known_by_the_model() -> None:
    dense, other = built(L.Dense(2)), built(L.Dense(2))
    assert reason(on(dense), dense) == "its weights are trainable"
    assert reason(on(dense), other) == ""
    assert reason(on(still(dense)), dense) == "its weights are trainable"
    outer = chain(L.ReLU(), other)
    assert reason(on(outer), other) == "its weights are trainable"


def test_a_weight_that_is_used_as_an_input_is_no_layers() -> None:
    weight = keras.Variable(np.ones(4, "float32"), name="scale")
    wanted = f"the weight {weight.path!r} is used outside of a layer"
    add = addition()
    assert reason(Call(add, (Value("x", (None, 4), "float32"), weight), {}, [])) == wanted
    assert reason(on(L.Add(), other=[weight])) == wanted
    assert reason(on(add, other=np.ones(4))) == ""


def frozen_with(*trained: L.Layer, inside: tuple[L.Layer, ...]) -> bool:
    return reason(on(L.Dropout(0.5), *inside), *trained) == ""


def test_a_layer_is_frozen_with_what_is_around_it() -> None:
    one, other = chain(L.Dense(4)), chain(L.Dense(4))
    empty = chain(L.ReLU())
    assert not frozen_with(inside=())
    assert frozen_with(inside=(one,))
    assert not frozen_with(inside=(empty,))
    assert frozen_with(inside=(empty, one))
    assert not frozen_with(one, inside=(one,))
    assert frozen_with(one, inside=(one, other))
    assert frozen_with(one, inside=(other, one))
    assert not frozen_with(one, other, inside=(one, other))
    # One variable that trains is enough.
    half = chain(L.Dense(4), L.Dense(3))
    assert not frozen_with(half.layers[1], inside=(half,))


def test_an_operation_that_is_no_layer_is_constant() -> None:
    assert reason(on(addition())) == ""
    assert determinism.switched_off(on(addition())) == []


def test_what_is_switched_off_is_listed_with_what_stands_inside() -> None:
    first, second, told = L.Dropout(0.1), L.GaussianNoise(0.1), Told()
    inner = chain(L.Dense(4), second, L.GaussianNoise(0.0), L.LayerNormalization())
    outer = chain(first, inner, told, Quiet())
    assert determinism.switched_off(on(outer)) == [first, second, told]
    assert determinism.switched_off(on(told)) == [told]
    assert determinism.switched_off(on(L.Dropout(0.0))) == []


def test_state_of_other_libraries_layers_only() -> None:
    class Counting(L.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.count = self.add_weight(shape=(), trainable=False, name="count")
            self.scale = self.add_weight(shape=(), name="scale")
            self.inner = built(L.Dense(2))

        def call(self, x: Any) -> Any:
            return x

    one, other = Counting(), Counting()
    calls = [
        on(addition()),
        on(built(L.BatchNormalization())),
        on(chain(one, L.ReLU())),
        on(one),
        on(other),
    ]
    found = determinism.state_of_others(calls)
    wanted = [one.scale, one.count, other.scale, other.count]
    assert [id(variable) for variable in found] == [id(variable) for variable in wanted]
    assert determinism.state_of_others(calls[:2]) == []
