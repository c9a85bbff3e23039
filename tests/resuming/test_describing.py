"""Objects are described in plain values, without what another process counts otherwise."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.resuming.describing import describe

L = keras.layers
DEEPEST = 12  # Below so many containers a value is said by its type alone.


def plain(x: float) -> float:
    return abs(x) + 1


def given(x: float, y: float = 2.5, *, z: float = 3.5) -> float:
    return x + y + z


def enclosing(value: Any) -> Callable[[float], float]:
    def enclosed(x: float) -> float:
        return x + value

    return enclosed


class Outer:
    class Inner:
        pass

    def __init__(self, first: Any = 1) -> None:
        self.first = first

    def method(self) -> int:
        return 7


class Kept:
    """Keeps arguments under their names and under private ones."""

    def __init__(self, both: Any, hidden: Any, name: str, learning_rate: float, lost: Any) -> None:
        self.both, self._both = both, "other"
        self._hidden = hidden
        self.name, self.learning_rate = name, learning_rate
        self.more = lost


class Configured:
    """An object with a config of any kind, and attributes beside it."""

    def __init__(self, config: Any = None, a: Any = None, b: Any = None) -> None:
        self._told = config
        self.a, self.b = a, b

    def get_config(self) -> Any:
        return self._told


class Refusing:
    def __init__(self, a: int) -> None:
        self.a = a

    def get_config(self) -> Any:
        raise NotImplementedError


class Node:
    def __init__(self, child: Any = None) -> None:
        self.child = self


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: int) -> None:
        self.a = a


def digest_of(code: types.CodeType, constants: Any) -> str:
    parts = [code.co_code.hex(), list(code.co_names), constants]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def code_of(function: Any) -> str:
    """For functions whose constants are plain values."""
    return digest_of(function.__code__, list(function.__code__.co_consts))


def deep_code_of(function: Any) -> str:
    """For functions that lie so deep that their constants are not looked into."""
    return digest_of(function.__code__, "tuple")


def array_of(array: np.ndarray) -> str:
    head = f"{array.dtype} {array.shape} ".encode()
    return "array " + hashlib.sha256(head + array.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("value", [None, True, False, 0, -3, "", "text", 0.0, -1.5, float("inf")])
def test_plain_values_stay_what_they_are(value: Any) -> None:
    assert describe(value) == value
    assert type(describe(value)) is type(value)


def test_what_is_no_number_is_equal_to_itself() -> None:
    assert describe(float("nan")) == "nan"
    assert describe([np.float32("nan")]) == ["nan"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a")],
)
def test_scalars_of_numpy_are_plain_ones(value: Any, expected: Any) -> None:
    assert describe(value) == expected
    assert type(describe(value)) is type(expected)


def test_arrays_and_tensors_are_digests_of_dtype_shape_and_bytes() -> None:
    array = np.arange(6, dtype="float32").reshape(2, 3)
    assert describe(array) == array_of(array)
    assert describe(keras.ops.convert_to_tensor(array)) == array_of(array)
    assert describe(array.T) == array_of(np.ascontiguousarray(array.T))


def test_containers_are_lists_and_dicts() -> None:
    assert describe({"a": (1, [2, ()]), 1: None, (2, 3): "b"}) == {
        "a": [1, [2, []]],
        "1": None,
        "[2, 3]": "b",
    }


def test_sets_are_sorted_by_what_is_printed() -> None:
    assert describe({9, 10, "a"}) == [10, 9, "a"]
    assert describe(frozenset({(2,), (1,)})) == [[1], [2]]


def test_classes_and_builtins_are_said_by_their_names() -> None:
    assert describe(Outer.Inner) == "Outer.Inner"
    assert describe([len, dict.fromkeys]) == ["len", "dict.fromkeys"]


def nested(count: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(count):
        value = [value]
    return value


def depth_of(value: Any) -> int:
    return 0 if not isinstance(value, list) or not value else 1 + depth_of(value[0])


def test_what_lies_too_deep_is_said_by_its_type() -> None:
    assert describe(nested(DEEPEST)) == nested(DEEPEST)
    found = describe(nested(DEEPEST + 1))
    assert depth_of(found) == DEEPEST + 1
    for _ in range(DEEPEST):
        (found,) = found
    assert found == ["list"]


@pytest.mark.parametrize(
    ("value", "depth", "expected"),
    [
        ((1, "a", np.int32(2), np.zeros(0)), DEEPEST, [1, "a", 2, array_of(np.zeros(0))]),
        ([[]], DEEPEST - 1, [[]]),
        ([[]], DEEPEST, ["list"]),
        ({"a": {}}, DEEPEST - 1, {"a": {}}),
        ({"a": {}}, DEEPEST, {"a": "dict"}),
        ({(1, 2): 3}, DEEPEST, {"[1, 2]": 3}),
        ({()}, DEEPEST - 1, [[]]),
        ({()}, DEEPEST, ["tuple"]),
        (functools.partial(pow, 2), DEEPEST - 2, ["partial", ["pow", [2], {}]]),
        (
            functools.partial(pow, 2),
            DEEPEST - 1,
            ["partial", ["builtin_function_or_method", "tuple", "dict"]],
        ),
        (functools.partial(pow, 2), DEEPEST, ["partial", "list"]),
        (Outer().method, DEEPEST - 2, [["Outer.method", deep_code_of(Outer.method)], "Outer"]),
        (Outer().method, DEEPEST - 1, [["Outer.method", "code"], "Outer"]),
        (Outer().method, DEEPEST, ["function", "Outer"]),
        (given, DEEPEST - 2, ["given", code_of(given), [2.5], {"z": 3.5}]),
        (given, DEEPEST - 1, ["given", deep_code_of(given), [2.5], {"z": 3.5}]),
        (given, DEEPEST, ["given", "code", "tuple", "dict"]),
        (plain.__code__, DEEPEST - 1, code_of(plain)),
        (plain.__code__, DEEPEST, deep_code_of(plain)),
        (Outer([]), DEEPEST - 2, {"class": "Outer", "first": []}),
        (Outer([]), DEEPEST - 1, {"class": "Outer", "first": "list"}),
        (Outer([]), DEEPEST, "dict"),
        (Outer, DEEPEST + 1, "type"),
    ],
)
def test_each_kind_counts_as_a_container(value: Any, depth: int, expected: Any) -> None:
    assert describe(value, depth) == expected


def test_an_object_that_holds_itself_comes_to_an_end() -> None:
    expected: Any = "dict"
    for _ in range(DEEPEST):
        expected = {"class": "Node", "child": expected}
    assert describe(Node()) == expected


def test_functions_are_name_code_defaults_and_what_they_enclose() -> None:
    assert describe(plain) == ["plain", code_of(plain)]
    assert describe(given) == ["given", code_of(given), [2.5], {"z": 3.5}]
    enclosed = enclosing((1, 2))
    name = "enclosing.<locals>.enclosed"
    assert describe(enclosed) == [name, code_of(enclosed), [1, 2]]
    assert describe(enclosing(None)) == [name, code_of(enclosed)]


def test_code_within_code_is_a_digest_itself() -> None:
    code = enclosing.__code__
    constants = [
        list(part) if isinstance(part, tuple) else part  # The names of the annotations.
        for part in code.co_consts
    ]
    (number,) = (n for n, part in enumerate(constants) if isinstance(part, types.CodeType))
    constants[number] = digest_of(constants[number], list(constants[number].co_consts))
    assert describe(code) == digest_of(code, constants)


def test_a_variable_that_is_not_set_yet_is_left_out() -> None:
    def early() -> Any:
        return late

    found = describe(early)
    late = 3
    assert found == [early.__qualname__, code_of(early)]
    assert describe(early) == [early.__qualname__, code_of(early), late]


def test_methods_and_partials() -> None:
    assert describe(Outer().method) == [["Outer.method", code_of(Outer.method)], "Outer"]
    partial = functools.partial(pow, 2, exp=(3,))
    assert describe(partial) == ["partial", ["pow", [2], {"exp": [3]}]]


def test_a_traced_function_is_what_it_was_made_of() -> None:
    assert describe(tf.function(plain)) == ["plain", code_of(plain)]


def test_functions_of_keras_are_said_by_name_alone() -> None:
    assert describe(keras.activations.relu) == "relu"
    foreign = enclosing(None)
    foreign.__module__ = "keras_like.activations"
    assert describe(foreign) == ["enclosing.<locals>.enclosed", code_of(foreign)]


def test_attributes_are_those_named_as_arguments() -> None:
    kept = Kept(both=(1,), hidden={2}, name="n", learning_rate=0.1, lost=3)
    assert describe(kept) == {"class": "Kept", "both": [1], "hidden": [2]}


def test_objects_without_attributes_or_with_a_config_that_fails() -> None:
    assert describe(Slotted(1)) == {"class": "Slotted"}
    assert describe(Refusing(2)) == {"class": "Refusing", "a": 2}


def test_the_config_comes_before_attributes_but_for_functions() -> None:
    function = {"class_name": "function", "config": "plain", "registered_name": "function"}
    code = {"class_name": "__lambda__", "config": {"value": "bytes"}}
    held = Configured({"a": 5, "b": function}, a=6, b=plain)
    assert describe(held) == {
        "class": "Configured",
        "a": 5,
        "b": ["plain", code_of(plain)],
    }
    assert describe(Configured({"b": code}, a=6, b=given)) == {
        "class": "Configured",
        "a": 6,
        "b": ["given", code_of(given), [2.5], {"z": 3.5}],
    }
    # A list that is no function, though it begins like one.
    assert describe(Configured({"b": ["functions"]}, b=7))["b"] == ["functions"]


def test_a_function_that_no_attribute_holds_is_said_as_in_the_config() -> None:
    code = {"class_name": "__lambda__", "config": {"value": "bytes"}}
    named = {"class_name": "function", "config": "plain"}
    assert describe(Configured({"other": [code, named]})) == {
        "class": "Configured",
        "other": [["__lambda__", {"value": "bytes"}], ["function", "plain"]],
        "a": None,
        "b": None,
    }


def test_configs_lose_what_is_incidental() -> None:
    config = {
        "name": "dense_3",
        "trainable": False,
        "build_config": {},
        "registered_name": None,
        "module": "keras",
        "kernel_initializer": "zeros",
        "learning_rate": 0.1,
        "renamed": 1,
        "names": 2,
        "initializer": 3,
        "learning_rates": 4,
        5: ({"name": "x", "stays": 6},),
    }
    assert describe(Configured(config, a=0, b=0)) == {
        "class": "Configured",
        "renamed": 1,
        "names": 2,
        "initializer": 3,
        "learning_rates": 4,
        "5": [{"stays": 6}],
        "a": 0,
        "b": 0,
    }


def test_objects_within_a_config_are_class_and_settings() -> None:
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float16"}}
    inner = {"class_name": "Scaled", "config": {"name": "s", "by": 2, "dtype": policy}}
    half = {"class_name": "Scaled", "by": 2}
    config = {"dtype": policy, "a": inner, "b": half}
    assert describe(Configured(config)) == {
        "class": "Configured",
        "dtype": "float16",
        "a": {"class": "Scaled", "by": 2, "dtype": "float16"},
        "b": {"class_name": "Scaled", "by": 2},
    }


def test_a_call_put_on_the_instance_is_told() -> None:
    layer = L.Dropout(0.5, seed=1)
    before = describe(layer)
    vars(layer)["call"] = plain
    assert describe(layer) == before | {"call": ["plain", code_of(plain)]}
    assert "call" not in before
    assert (before["class"], before["rate"], before["seed"]) == ("Dropout", 0.5, 1)


def test_a_call_put_on_the_instance_counts_as_a_container() -> None:
    held = Outer()
    vars(held)["call"] = plain
    expected = {"class": "Outer", "first": 1, "call": ["plain", deep_code_of(plain)]}
    assert describe(held, DEEPEST - 2) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("mean_12", "mean"), ("mean", "mean"), ("top_5_of", "top_5_of")]
)
def test_metrics_keep_their_names_without_the_number(name: str, expected: str) -> None:
    found = describe(keras.metrics.Mean(name=name))
    assert found == {"class": "Mean", "dtype": "float32", "name": expected}
