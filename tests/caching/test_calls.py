"""A model's calls are listed in order, with what they take and give, and run as Keras runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from finetunekit.caching import calls
from finetunekit.caching.calls import Call, Calls, Value, list_calls
from finetunekit.foundation import keras_internals, patches

L = keras.layers


def value(name: str = "x", shape: Any = (None, 4), dtype: str = "float32") -> Value:
    return Value(name, shape, dtype)


def paths(found: Calls) -> list[str]:
    return [call.path for call in found.calls]


def specs(values: list[Value]) -> list[Any]:
    return [(v.shape, v.dtype) for v in values]


def results(found: Calls, *batches: Any, training: bool = False) -> Any:
    """What the listed calls make of a batch, in the structure of the model's output."""
    known = dict(zip(found.inputs, map(ops.convert_to_tensor, batches), strict=True))
    calls.run(found.calls, known, training)
    return keras.tree.map_structure(lambda v: ops.convert_to_numpy(known[v]), found.outputs)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def double(width: int = 4, name: str = "inner") -> keras.Model:
    inputs = keras.Input((width,))
    return keras.Model(inputs, L.Dense(width, name="one")(inputs), name=name)


def around(*inner: Any, shape: Any = (4,), **options: Any) -> keras.Model:
    inputs = x = keras.Input(shape)
    for layer in inner:
        x = layer(x, **options)
    return keras.Model(inputs, x, name="outer")


def test_a_call_names_its_values_and_its_place() -> None:
    a, b, c = value("a"), value("b"), value("c")
    inside = (keras.Sequential(name="one"), keras.Sequential(name="two"))
    call = Call(L.Add(name="add"), ([a, 1.0, b],), {"other": {"c": c, "d": None}}, [], inside)
    assert call.inputs == [a, b, c]
    assert call.path == "one/two/add"
    assert Call(L.Add(name="add"), (a, a), {}, []).inputs == [a, a]
    assert Call(L.Add(name="add"), (), {}, []).path == "add"
    assert calls.values_in({"z": a, "b": (b, [7])}) == [b, a]


def test_calls_of_a_graph_share_their_values() -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b", dtype="int32")
    x = L.Dense(5, name="dense")(a)
    y = L.Embedding(9, 2, name="embed")(b)
    z = ops.sum(y, axis=1, keepdims=False)
    model = keras.Model({"b": b, "a": a}, {"x": x, "both": [z, x]})
    found = list_calls(model)
    assert [v.name for v in found.inputs] == [t.name for t in model.inputs]
    by_name = {v.name: v for v in found.inputs}
    assert specs([by_name["a"], by_name["b"]]) == [((None, 4), "float32"), ((None, 3), "int32")]
    by_path = {call.path: call for call in found.calls}
    dense, embed = by_path.pop("dense"), by_path.pop("embed")
    (total,) = by_path.values()
    assert dense.operation is model.get_layer("dense")
    assert dense.args == (by_name["a"],)
    assert embed.args == (by_name["b"],)
    assert total.inputs == embed.outputs
    assert specs([*dense.outputs, *embed.outputs, *total.outputs]) == [
        ((None, 5), "float32"),
        ((None, 3, 2), "float32"),
        ((None, 2), "float32"),
    ]
    assert found.outputs == {"x": dense.outputs[0], "both": [total.outputs[0], dense.outputs[0]]}
    assert found.closed == {}
    assert not any(call.inside for call in found.calls)
    assert dense.outputs[0].name == x.name


def test_settings_of_a_call_are_kept() -> None:
    inputs = keras.Input((3, 4))
    x = L.MultiHeadAttention(1, 2, name="attend")(inputs, value=inputs, use_causal_mask=True)
    found = list_calls(keras.Model(inputs, x))
    (call,) = found.calls
    assert call.args == tuple(found.inputs)
    assert call.kwargs["value"] is found.inputs[0]
    assert call.kwargs["use_causal_mask"] is True


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_results_are_those_of_the_model(kind: str) -> None:
    layers = [L.Dense(5, activation="tanh"), L.BatchNormalization(), L.Dense(2)]
    model: keras.Model = keras.Sequential([keras.Input((4,)), *layers])
    if kind == "functional":
        model = around(*layers)
    x = numbers(3, 4)
    assert np.array_equal(results(list_calls(model), x), ops.convert_to_numpy(model(x)))


def test_layers_learn_whether_it_is_training() -> None:
    class Seen(L.Layer):
        def call(self, x: Any, training: Any = None) -> Any:
            return x + (2.0 if training else 1.0)

    model = around(Seen(), L.ReLU())
    found = list_calls(model)
    assert results(found, np.zeros((1, 4)), training=True).tolist() == [[2.0] * 4]
    assert results(found, np.zeros((1, 4)), training=False).tolist() == [[1.0] * 4]
    # As in Keras, what the graph was made with does not stay.
    model = around(Seen(), training=True)
    found = list_calls(model)
    for training in (True, False):
        wanted = ops.convert_to_numpy(model(np.zeros((1, 4)), training=training))
        assert np.array_equal(results(found, np.zeros((1, 4)), training=training), wanted)


def test_a_run_gives_each_output_to_its_value() -> None:
    a, b, c, d = value("a"), value("b"), value("c"), value("d")
    split = keras_internals.producer(ops.split(keras.Input((4,)), 2, axis=1)[0])
    add = keras_internals.producer(keras.Input((4,)) + 1.0)
    known = {a: ops.convert_to_tensor(np.arange(8.0, dtype="float32").reshape(2, 4))}
    calls.run([Call(split, (a,), {}, [b, c]), Call(add, (c, 10.0), {}, [d])], known, training=False)
    assert {v.name: ops.convert_to_numpy(t).tolist() for v, t in known.items()} == {
        "a": [[0, 1, 2, 3], [4, 5, 6, 7]],
        "b": [[0, 1], [4, 5]],
        "c": [[2, 3], [6, 7]],
        "d": [[12, 13], [16, 17]],
    }


def test_the_size_of_a_batch_is_nobodys_own() -> None:
    inputs = keras.Input(batch_shape=(2, 3))
    x = L.Dense(5)(inputs)
    y = ops.transpose(x)
    z = ops.sum(x)
    found = list_calls(keras.Model(inputs, [x, y, z]))
    assert specs(found.inputs) == [((None, 3), "float32")]
    assert [v.shape for v in found.outputs] == [(None, 5), (5, 2), ()]


def test_inputs_of_different_sizes_are_told_apart() -> None:
    a, b = keras.Input(batch_shape=(2, 3)), keras.Input(batch_shape=(3, 2))
    x = ops.matmul(a, b)
    y = ops.transpose(ops.concatenate([a, a], axis=1))
    found = list_calls(keras.Model([a, b], [x, y, L.ReLU()(b)]))
    assert [v.shape for v in found.inputs] == [(None, 3), (None, 2)]
    assert [v.shape for v in found.outputs] == [(None, 2), (6, 2), (None, 2)]


@pytest.mark.parametrize(
    ("wrap", "wanted"),
    [
        (lambda x, y: [x], (None, 2)),
        (lambda x, y: [x, y], [(None, 2), (None, 4)]),
        (lambda x, y: {"o": x}, {"o": (None, 2)}),
        (lambda x, y: x, (None, 2)),
    ],
)
def test_a_list_of_one_output_is_unpacked(wrap: Callable[..., Any], wanted: Any) -> None:
    inputs = keras.Input((4,))
    found = list_calls(keras.Model(inputs, wrap(L.Dense(2)(inputs), L.ReLU()(inputs))))
    assert keras.tree.map_structure(lambda v: v.shape, found.outputs) == wanted


def test_nested_models_are_opened() -> None:
    innermost = double(name="innermost")
    inner = keras.Sequential([keras.Input((4,)), innermost, L.ReLU(name="relu")], name="inner")
    model = around(inner, inner, L.Dense(1, name="head"))
    found = list_calls(model)
    assert paths(found) == ["inner/innermost/one", "inner/relu"] * 2 + ["head"]
    assert found.calls[0].inside == (inner, innermost)
    assert found.calls[1].inside == (inner,)
    for before, after in zip([None, *found.calls], found.calls, strict=False):
        assert after.args == ((before.outputs if before else found.inputs)[0],)
    x = numbers(3, 4)
    assert np.array_equal(results(found, x), ops.convert_to_numpy(model(x)))


def test_nested_models_take_inputs_by_name() -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    inner = keras.Model({"a": a, "b": b}, L.Subtract(name="minus")([a, b]), name="inner")
    one, other = keras.Input((2,)), keras.Input((2,))
    found = list_calls(keras.Model([one, other], inner({"b": one, "a": other})))
    assert paths(found) == ["inner/minus"]
    assert found.calls[0].inputs == [found.inputs[1], found.inputs[0]]


class Untrained(keras.Model):
    """Subclassed, without anything that trains."""

    def call(self, x: Any) -> Any:
        return x * 2.0


class Trained(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="trained")
        self.one = L.Dense(4, name="one")

    def call(self, x: Any, scale: Any = None) -> Any:
        x = self.one(x)
        return x if scale is None else x * scale


def scaled() -> keras.Model:
    a, b = keras.Input((4,)), keras.Input((4,))
    return keras.Model([a, b], Trained()(a, scale=b))


def pair(**options: Any) -> keras.Model:
    a, b = keras.Input((4,), **options), keras.Input((4,))
    return keras.Model([a, b], L.Add(name="add")([ops.cast(a, "float32"), b]), name="pair")


class OwnCall(keras.Model):
    """A graph with a `call` of its own."""

    def call(self, inputs: Any, other: Any = None) -> Any:
        return inputs + other


def called_with_two() -> keras.Model:
    a, b = keras.Input((4,)), keras.Input((4,))
    return keras.Model([a, b], OwnCall(name="own")(a, b))


def with_constant() -> keras.Model:
    a = keras.Input((4,))
    return keras.Model(a, pair()([a, ops.ones((1, 4))]))


def replaced() -> keras.Model:
    inner = double()
    inner.call = lambda x: x
    return around(inner)


def patched(tag: Any) -> keras.Model:
    inner = double()
    model = around(inner)
    patches.exchange(inner, "call", lambda x: x, tag=tag)
    return model


def of_lower_rank() -> keras.Model:
    inputs = keras.Input((1,))
    return around(keras.Model(inputs, L.Dense(4, name="one")(inputs), name="inner"), shape=())


WHOLE: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "nothing in it trains": (lambda: around(Untrained(name="untrained")), "untrained"),
    "two arguments": (called_with_two, "own"),
    "a value beside the inputs": (scaled, "trained"),
    "a constant among the inputs": (with_constant, "pair"),
    "a call of the user's own": (replaced, "inner"),
    "a patch that is no layer": (lambda: patched("somebody"), "inner"),
    "another dtype": (
        lambda: keras.Model(
            inputs := [keras.Input((4,)), keras.Input((4,))], pair(dtype="int32")(inputs)
        ),
        "pair",
    ),
    "another rank": (of_lower_rank, "inner"),
}


@pytest.mark.parametrize("why", WHOLE)
def test_what_cannot_be_opened_stays_one_call(why: str) -> None:
    make, path = WHOLE[why]
    found = list_calls(make())
    assert paths(found) == [path]
    assert found.calls[0].inside == ()
    assert found.closed == {}
    assert found.outputs is found.calls[0].outputs[0]


def test_a_nested_model_of_matching_inputs_is_opened() -> None:
    a, b = keras.Input((4,)), keras.Input((4,))
    found = list_calls(keras.Model([a, b], pair()([a, b])))
    assert paths(found)[-1] == "pair/add"


def test_layers_put_behind_a_nested_model_follow_it() -> None:
    inner = double()
    model = around(inner, L.ReLU(name="relu"))
    first, second = L.Rescaling(2.0, name="first"), L.Rescaling(1.0, 3.0, name="second")
    for layer in (first, second):
        patches.patch(inner, "call", lambda call, f=layer: lambda x: f(call(x)), tag=layer)
    found = list_calls(model)
    assert paths(found) == ["inner/one", "first", "second", "relu"]
    one, follower, last, relu = found.calls
    assert follower.args == (one.outputs[0],)
    assert last.args == (follower.outputs[0],)
    assert relu.args == (last.outputs[0],)
    assert specs(follower.outputs) == [((None, 4), "float32")]
    assert len({*one.outputs, *follower.outputs, *last.outputs}) == 3
    x = numbers(3, 4)
    wanted = np.maximum(ops.convert_to_numpy(inner.get_layer("one")(x)) * 2 + 3, 0)
    assert np.allclose(results(found, x), wanted, atol=1e-6)


def test_all_patches_have_to_be_layers() -> None:
    inner = double()
    model = around(inner)
    patches.exchange(inner, "call", lambda x: x, tag=L.ReLU())
    patches.exchange(inner, "call", lambda x: x, tag="somebody")
    assert paths(list_calls(model)) == ["inner"]


def test_a_layer_that_is_patched_stays_itself() -> None:
    layer = L.Dense(4, name="dense")
    model = around(layer)
    patches.exchange(layer, "call", lambda x: x, tag=L.ReLU(name="relu"))
    assert paths(list_calls(model)) == ["dense"]


def masked_mean(name: str = "inner") -> keras.Model:
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, L.GlobalAveragePooling1D(name="mean")(inputs), name=name)
    model.supports_masking = True
    return model


def test_the_mask_of_a_nested_model_is_a_call_of_its_own() -> None:
    tokens = keras.Input((3,), dtype="int32")
    x = L.Embedding(9, 2, mask_zero=True, name="embed")(tokens)
    mask = ops.not_equal(tokens, 1)
    model = keras.Model(tokens, masked_mean()(x, mask=mask))
    found = list_calls(model)
    attach = found.calls[-2]
    assert paths(found)[-2:] == ["mask", "inner/mean"]
    assert attach.inputs[0].name == x.name
    assert attach.outputs[0] is not attach.inputs[0]
    assert specs(attach.outputs) == specs(attach.inputs[:1])
    assert found.calls[-1].args == (attach.outputs[0],)
    batch = np.array([[5, 1, 7], [3, 4, 1]], "int32")
    rows = ops.convert_to_numpy(model.get_layer("embed").embeddings)[batch]
    wanted = [rows[0, [0, 2]].mean(0), rows[1, [0, 1]].mean(0)]
    assert np.allclose(results(found, batch), wanted, atol=1e-6)


def test_a_mask_is_attached_to_a_copy() -> None:
    tensor, mask = ops.ones((2, 3)), ops.convert_to_tensor([[True, False, True]] * 2)
    known = {(a := value("a")): tensor, (m := value("m")): mask}
    model = keras.Model(
        inputs := keras.Input((3, 2)), masked_mean()(inputs, mask=inputs[..., 0] > 0)
    )
    attach = next(call for call in list_calls(model).calls if call.path == "mask")
    calls.run([Call(attach.operation, (a, m), {}, [b := value("b")])], known, training=False)
    assert ops.convert_to_numpy(known[b]).tolist() == [[1.0] * 3] * 2
    assert keras_internals.mask_of(known[b]) is mask
    assert keras_internals.mask_of(tensor) is None


def test_only_inputs_with_a_mask_get_one() -> None:
    a, b = keras.Input((3, 2)), keras.Input((3, 2))
    inner = keras.Model([a, b], L.Add(name="add")([a, b]), name="inner")
    inner.supports_masking = True
    x, y = keras.Input((3, 2)), keras.Input((3, 2))
    model = keras.Model([x, y], inner([x, y], mask=[None, y[..., 0] > 0]))
    found = list_calls(model)
    assert paths(found)[-2:] == ["mask", "inner/add"]
    assert found.calls[-2].inputs[0] is found.inputs[1]
    assert found.calls[-1].inputs == [found.inputs[0], found.calls[-2].outputs[0]]


class Steps(keras.Model):
    """Runs a function of its two layers and its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name="steps")
        self.function = function
        self.one, self.two = L.Dense(4, name="one"), L.Dense(4, name="two")
        for layer in (self.one, self.two):
            layer.build((None, 4))

    def call(self, x: Any, training: Any = None) -> Any:
        return self.function(self, x, training)


def failed(message: str) -> Callable[..., Any]:
    def function(*_: Any) -> None:
        raise RuntimeError(message)

    return function


LIKE = numbers(2, 4)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda m, x, training: m.two(m.one(x)), ["one", "two"]),
        (lambda m, x, training: m.two(m.one(x), training=training), ["one", "two"]),
        (lambda m, x, training: m.one(m.one(x)), ["one", "one"]),
    ],
)
def test_a_subclassed_model_is_followed(function: Any, wanted: list[str]) -> None:
    model = Steps(function)
    found = list_calls(model, LIKE)
    assert found.closed == {}
    assert [call.operation.name for call in found.calls] == wanted
    assert specs(found.inputs) == [((None, 4), "float32")]
    assert np.allclose(results(found, LIKE), ops.convert_to_numpy(model(LIKE)), atol=1e-6)


OTHER_THINGS = {
    "another layer": lambda m, x, training: m.one(x) if training else m.two(x),
    "another operation": lambda m, x, training: ops.sin(x) if training else ops.cos(x),
    "another constant": lambda m, x, training: m.one(x) * (2.0 if training else 3.0),
    "another order": lambda m, x, training: x - m.one(x) if training else m.one(x) - x,
    "one more": lambda m, x, training: ops.relu(m.one(x)) if training else m.one(x),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER_THINGS)
def test_a_model_that_does_other_things_while_training_is_not_followed(what: str) -> None:
    found = list_calls(Steps(OTHER_THINGS[what]), LIKE)
    assert (found.inputs, found.calls, found.outputs) == ([], [], None)
    assert found.closed == {"steps": "its `call` does other things while training than afterwards"}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("\n first\nsecond", "RuntimeError: first"),
        ("x" * 121, f"RuntimeError: {'x' * 120}"),
        (" ", "RuntimeError: RuntimeError(' ')"),
        ("", "RuntimeError: RuntimeError()"),
    ],
    ids=["lines", "long", "blank", "empty"],
)
def test_what_a_call_raises_is_told_in_a_line(message: str, told: str) -> None:
    function = (lambda *_: raised()) if not message else failed(message)
    found = list_calls(Steps(function), LIKE)
    assert found.closed == {"steps": f"its `call` cannot be followed ({told})"}


def raised() -> None:
    raise RuntimeError


def test_without_a_batch_a_subclassed_model_is_not_followed() -> None:
    found = list_calls(Steps(failed("never called")))
    assert found.closed == {
        "steps": "it is subclassed, and no batch shows what it is called with"
    }  # fmt: skip


def test_subclassed_models_in_a_graph_are_followed_by_the_tensors_that_they_take() -> None:
    followed, closed = Steps(lambda m, x, _: m.two(m.one(x))), Steps(OTHER_THINGS["another layer"])
    closed.name = "closed"
    model = around(keras.Sequential([keras.Input((4,)), followed, closed], name="chain"))
    found = list_calls(model)
    assert paths(found) == ["chain/steps/one", "chain/steps/two", "chain/closed"]
    assert found.calls[0].inside == (model.get_layer("chain"), followed)
    assert found.closed == {
        "chain/closed": "its `call` does other things while training than afterwards"
    }


@pytest.mark.parametrize(
    ("like", "dtype"),
    [
        (np.zeros((5, 4), "float16"), "float16"),
        (tf.TensorSpec((5, 4), tf.float16), "float16"),
        (keras.KerasTensor((5, 4), "bfloat16"), "bfloat16"),
        (tf.zeros((5, 4), tf.int32), "int32"),
    ],
    ids=["array", "spec", "symbolic", "tensor"],
)
def test_inputs_are_like_the_batch_that_is_given(like: Any, dtype: str) -> None:
    model = Steps(lambda m, x, _: ops.concatenate([x["b"], x["a"]], axis=1))
    found = list_calls(model, {"b": like, "a": like})
    assert specs(found.inputs) == [((None, 4), dtype)] * 2
    assert found.calls[0].inputs == [found.inputs[1], found.inputs[0]]
    assert specs([found.outputs]) == [((None, 8), dtype)]


def test_a_model_as_one_call_of_itself() -> None:
    model = Steps(
        lambda m, x, _: {"sum": x["a"] + x["b"], "rest": [m.one(x["a"]), ops.sum(x["b"])]}
    )
    like = {"a": numbers(5, 4), "b": np.zeros((5, 1), "float32")}
    found = calls.as_one(model, like)
    (call,) = found.calls
    assert call.operation is model
    assert call.path == "steps"
    assert specs(found.inputs) == [((None, 4), "float32"), ((None, 1), "float32")]
    assert call.args == ({"a": found.inputs[0], "b": found.inputs[1]},)
    assert call.kwargs == {}
    assert call.outputs == keras.tree.flatten(found.outputs)
    assert found.outputs["sum"].shape == (None, 4)
    assert [v.shape for v in found.outputs["rest"]] == [(None, 4), ()]
    assert found.closed == {}
    given = {"a": numbers(3, 4), "b": numbers(3, 1, seed=1)}
    again = results(found, given["a"], given["b"])
    assert np.array_equal(again["sum"], given["a"] + given["b"])
    assert np.isclose(again["rest"][1], given["b"].sum())
