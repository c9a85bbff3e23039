"""Attributes of instances exchanged for a time: nested, undone in any order, recognised."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.foundation import patches


class Number:
    def value(self) -> int:
        return 1


def adding(amount: int) -> Callable[[Callable[[], int]], Callable[[], int]]:
    return lambda own: lambda: 10 * own() + amount


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_patches_are_undone_in_any_order(order: tuple[int, ...]) -> None:
    number = Number()
    made = [patches.patch(number, "value", adding(n + 2)) for n in range(3)]
    assert number.value() == 1234
    left = [0, 1, 2]
    for gone in order:
        made[gone].undo()
        left.remove(gone)
        assert number.value() == int("".join(["1", *(str(n + 2) for n in left)]))
        assert patches.is_patched(number, "value") is bool(left)
        assert patches.patches_of(number, "value") == [made[n] for n in left]
    assert "value" not in vars(number)


def test_it_is_put_back_after_an_error_and_undone_once() -> None:
    number = Number()
    with pytest.raises(RuntimeError), patches.patch(number, "value", adding(2)) as patch:
        raise RuntimeError
    assert number.value() == 1
    with patches.patch(number, "value", adding(3)):
        patch.undo()
        assert number.value() == 13


def test_the_users_own_method_is_seen_and_comes_back() -> None:
    number: Any = Number()
    number.value = lambda: 7
    assert patches.is_users_own(number, "value")
    with patches.patch(number, "value", adding(2), tag="two"):
        assert number.value() == 72
        assert patches.original(number, "value")() == 7
        assert patches.is_users_own(number, "value")
        assert [patch.tag for patch in patches.patches_of(number, "value")] == ["two"]
    assert number.value() == 7


def test_what_others_assign_meanwhile_stays() -> None:
    number: Any = Number()
    first = patches.patch(number, "value", adding(2))
    number.value = lambda: 5
    second = patches.patch(number, "value", adding(3))
    first.undo()
    assert number.value() == 53
    second.undo()
    assert number.value() == 5


def test_a_plain_attribute_is_exchanged() -> None:
    layer = keras.layers.BatchNormalization(momentum=0.9)
    with patches.exchange(layer, "momentum", 0.5):
        assert layer.momentum == 0.5
        assert patches.original(layer, "momentum") == 0.9
    assert layer.momentum == 0.9


def test_a_property_is_set_by_its_setter() -> None:
    variable = keras.Variable([1.0], regularizer=None)
    first, second = keras.regularizers.L1(0.1), keras.regularizers.L2(0.1)
    outer = patches.exchange(variable, "regularizer", first)
    with patches.exchange(variable, "regularizer", second):
        outer.undo()
        assert variable.regularizer is second
    assert variable.regularizer is None


def test_an_attribute_that_is_not_there_is_an_error() -> None:
    layer = keras.layers.Dense(1)
    with pytest.raises(AttributeError, match="absent"):
        patches.exchange(layer, "absent", 1)
    assert not patches.is_patched(layer, "absent")


def test_keras_objects_are_patched_past_their_setattr() -> None:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1, name="d")])
    model.compile(optimizer="sgd", loss="mse")
    layer, inner = model.layers[0], keras.layers.Dropout(0.5)
    tracked = [id(variable) for variable in model.variables]
    x = np.ones((2, 2), "float32")
    before = model.predict_on_batch(x)
    with (
        patches.patch(layer, "call", lambda own: lambda x: inner(own(x), training=False) * 2),
        patches.patch(model.optimizer, "apply", lambda own: own),
        patches.exchange(model, "make_train_function", lambda force=False: None),
    ):
        assert np.array_equal(keras.ops.convert_to_numpy(model(x)), before * 2)
        assert [id(variable) for variable in model.variables] == tracked
        assert model.make_train_function() is None
    assert not {"call", "apply", "make_train_function"} & {
        *vars(layer),
        *vars(model.optimizer),
        *vars(model),
    }


def test_a_patched_object_dies_when_nobody_holds_it() -> None:
    number = Number()
    patches.patch(number, "value", adding(2))
    reference = weakref.ref(number)
    del number
    gc.collect()
    assert reference() is None
