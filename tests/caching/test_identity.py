"""Are features ever taken that the model would not give now? Each kept fit, against no cache."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import finetunekit as ftk
from finetunekit.caching import cut, identity
from finetunekit.caching.hdf5_table import StoreMismatch
from parameters import often

L = keras.layers
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.random((16, 4), dtype="float32") * 4
WORDS = RANDOM.choice(["a", "b", "c", "d"], (16, 3)).astype(object)
WHOLE = RANDOM.integers(0, 4, (16, 3)).astype("int64")
Y = RANDOM.random((16, 1), dtype="float32")


def scaled(name: str, code: str) -> type[keras.layers.Layer]:
    """A layer class of the user's own whose module is imported anew, with other code."""
    space: dict[str, Any] = {"keras": keras, "ops": ops, "__name__": "users_own"}
    exec(code, space)
    found: type[keras.layers.Layer] = space[name]
    return found


OWN = """
FACTOR = {factor}
def helped(x): return x * FACTOR
class Own(keras.layers.Layer):
    scale = {scale}
    def call(self, x): return helped(ops.{function}(x)) * self.scale
"""
AS_IS = {"factor": 2, "scale": 1, "function": "sin"}


def own(**changes: Any) -> Any:
    return scaled("Own", OWN.format(**(AS_IS | changes)))()


def with_lambda(power: int) -> Any:
    return L.Lambda(lambda x: x**power)


def adapted(layer: Any, data: Any) -> Any:
    layer.adapt(data)
    return layer


def lookup(layer: Any, data: Any) -> list[Any]:
    return [adapted(layer, data), L.Embedding(9, 3, trainable=False), L.Flatten()]


# What the prefix consists of before and after; kind -> data, layers before, layers after.
CHANGES: dict[str, tuple[Any, Callable[[], list[Any]], Callable[[], list[Any]]]] = {
    "StringLookup": (
        WORDS,
        lambda: lookup(L.StringLookup(), [["a", "a", "a", "b", "b", "c"]]),
        lambda: lookup(L.StringLookup(), [["b", "b", "b", "c", "c", "a"]]),
    ),
    "IntegerLookup": (
        WHOLE,
        lambda: lookup(L.IntegerLookup(), np.array([0, 0, 0, 1, 1, 2])),
        lambda: lookup(L.IntegerLookup(), np.array([1, 1, 1, 2, 2, 0])),
    ),
    "TextVectorization": (
        WORDS[:, :1],
        lambda: lookup(L.TextVectorization(output_sequence_length=2), ["a a a b b c"]),
        lambda: lookup(L.TextVectorization(output_sequence_length=2), ["b b b c c a"]),
    ),
    "Normalization": (
        NUMBERS,
        lambda: [adapted(L.Normalization(), NUMBERS), L.Dense(3, trainable=False)],
        lambda: [adapted(L.Normalization(), NUMBERS * 2), L.Dense(3, trainable=False)],
    ),
    "Discretization": (
        NUMBERS,
        lambda: lookup(L.Discretization(num_bins=4), NUMBERS),
        lambda: lookup(L.Discretization(num_bins=4), NUMBERS * 3),
    ),
    "Hashing": (
        WHOLE,
        lambda: [L.Hashing(6), L.Embedding(9, 3, trainable=False), L.Flatten()],
        lambda: [L.Hashing(6, salt=7), L.Embedding(9, 3, trainable=False), L.Flatten()],
    ),
    "code of a layer": (
        NUMBERS,
        lambda: [L.Dense(3, trainable=False), own()],
        lambda: [L.Dense(3, trainable=False), own(function="cos")],
    ),
    "function that a layer calls": (
        NUMBERS,
        lambda: [L.Dense(3, trainable=False), own()],
        lambda: [L.Dense(3, trainable=False), own(factor=3)],
    ),
    "attribute of a class": (
        NUMBERS,
        lambda: [L.Dense(3, trainable=False), own()],
        lambda: [L.Dense(3, trainable=False), own(scale=3)],
    ),
    "closure of a Lambda": (
        NUMBERS,
        lambda: [L.Dense(3, trainable=False), with_lambda(1)],
        lambda: [L.Dense(3, trainable=False), with_lambda(2)],
    ),
    "activation": (
        NUMBERS,
        lambda: [L.Dense(3, activation=lambda x: x + 1, trainable=False)],
        lambda: [L.Dense(3, activation=lambda x: x + 2, trainable=False)],
    ),
}


def model_of(layers: list[Any], x: np.ndarray) -> keras.Model:
    """The layers with a head, compiled, of weights that do not depend on what was made before."""
    kind = "string" if x.dtype == object else str(x.dtype)
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=kind), *layers, L.Dense(1)])
    random = np.random.default_rng(1)
    for variable in model.weights:
        if "normalization" not in variable.path:
            variable.assign(random.random(variable.shape, dtype="float32"))
    model.compile("sgd", "mse")
    return model


def losses(model: keras.Model, x: np.ndarray, cache: Any) -> list[float]:
    options = {"epochs": 1, "batch_size": 8, "shuffle": False, "verbose": 0}
    if cache is not False:
        return list(ftk.fit(model, x, Y, cache=cache, **options).history["loss"])
    plain = tf.data.Dataset.from_tensor_slices((x, Y)).batch(8)  # Keras takes texts so only.
    return list(model.fit(plain, shuffle=False, verbose=0).history["loss"])


@pytest.mark.parametrize("what", often(CHANGES, ("StringLookup", "code of a layer", "activation")))
def test_features_of_another_prefix_are_not_taken(what: str, tmp_path: Path) -> None:
    x, before, after = CHANGES[what]
    path = tmp_path / "f.h5"
    first = losses(model_of(before(), x), x, path)
    with pytest.raises(StoreMismatch, match="features of other"):
        losses(model_of(after(), x), x, path)
    truth = losses(model_of(after(), x), x, False)
    assert abs(truth[0] - first[0]) > 1e-3
    ftk.clear_cache(path)
    assert np.allclose(losses(model_of(after(), x), x, path), truth, rtol=1e-5)


@pytest.mark.parametrize("what", CHANGES)
def test_keys_follow_what_decides_the_features(what: str) -> None:
    x, before, after = CHANGES[what]
    one, again, other = (
        identity.prefix_key(cut.split_frozen(model_of(make(), x), like=x))
        for make in (before, before, after)
    )
    assert one == again
    assert one != other


class Attribute(keras.layers.Layer):
    """Multiplies by what it was given later, or by what was kept elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Any = 1
        self.settings = {"shift": [0.0]}

    def call(self, x: Any) -> Any:
        return x * self.scale + self.settings["shift"][0]


def change_attribute(layer: Any) -> None:
    layer.scale = 2


def change_within(layer: Any) -> None:
    layer.settings["shift"][0] = 1.0


def change_array(layer: Any) -> None:
    layer.scale = np.array([3.0, 1.0, 1.0], "float32")


@pytest.mark.parametrize(
    "change", [pytest.param(change_attribute, marks=pytest.mark.slow), change_within, change_array]
)
def test_features_in_memory_follow_attributes(change: Any) -> None:
    layer = Attribute()
    model = model_of([L.Dense(3, trainable=False), layer], NUMBERS)
    start = model.get_weights()

    def again(cache: Any) -> list[float]:
        model.set_weights(start)
        model.compile("sgd", "mse")
        return losses(model, NUMBERS, cache)

    first = again("auto")
    change(layer)
    second, truth = again("auto"), again(False)
    assert np.allclose(second, truth, rtol=1e-5)
    assert abs(first[0] - second[0]) > 1e-3


def test_features_in_memory_follow_a_lookup_that_is_adapted_anew() -> None:
    layers = lookup(L.StringLookup(), ["a", "a", "b"])
    model = model_of(layers, WORDS)
    start = model.get_weights()
    first = losses(model, WORDS, "auto")
    layers[0].adapt(["b", "b", "c"])
    model.set_weights(start)
    model.compile("sgd", "mse")
    second = losses(model, WORDS, "auto")
    model.set_weights(start)
    model.compile("sgd", "mse")
    assert np.allclose(second, losses(model, WORDS, False), rtol=1e-5)
    assert abs(first[0] - second[0]) > 1e-3


class Locked(keras.layers.Layer):
    """Uses what no other process can have."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def call(self, x: Any) -> Any:
        with self.lock:
            return x * 2


def test_what_cannot_be_compared_is_said_and_not_reused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "finetunekit")  # The fits are quiet.
    path = tmp_path / "f.h5"
    model = model_of([L.Dense(3, trainable=False), Locked()], NUMBERS)
    losses(model, NUMBERS, path)
    assert "'lock'" in caplog.text
    assert "anew in each process" in caplog.text
    losses(model, NUMBERS, path)  # The very same object, in the same process.
    with pytest.raises(StoreMismatch, match="layer code and attributes"):
        losses(model_of([L.Dense(3, trainable=False), Locked()], NUMBERS), NUMBERS, path)


def key_of(*layers: Any) -> dict[str, str]:
    return identity.prefix_key(cut.as_prefix(keras.Sequential([keras.Input((4,)), *layers])))


def test_keys_of_what_computes_the_same_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = key_of(L.Dense(3, kernel_initializer="ones", name="one"), L.Dropout(0.1, seed=1))
    other = key_of(
        L.Dense(3, kernel_initializer="ones", name="other", trainable=False),
        L.Dropout(0.1, seed=2),
    )
    assert one == other
    assert "anew" not in caplog.text


def test_every_part_of_the_key_tells_something() -> None:
    def base(dtype: str = "float32", kernel: str = "ones", use_bias: bool = True) -> Any:
        return L.Dense(3, dtype=dtype, kernel_initializer=kernel, use_bias=use_bias)

    key = key_of(base())
    assert key_of(base(dtype="mixed_bfloat16")) != key
    assert key_of(base(kernel="zeros"))["prefix weights"] != key["prefix weights"]
    assert key_of(base(use_bias=False))["prefix graph"] != key["prefix graph"]
    assert key_of(base(), own())["layer code and attributes"] != key["layer code and attributes"]
    x = keras.Input((4,))
    swapped = [keras.Model(x, L.Subtract()(pair)) for pair in ([x, -x], [-x, x])]
    graphs = [identity.prefix_key(cut.as_prefix(model))["prefix graph"] for model in swapped]
    assert graphs[0] != graphs[1]
    constants = [keras.Model(x, x * np.float32(n)) for n in (2, 3)]
    keys = [identity.prefix_key(cut.as_prefix(model)) for model in constants]
    assert keys[0] != keys[1]


def test_digests_of_samples_tell_content_shape_and_inputs_apart() -> None:
    rows = np.arange(6, dtype="float32").reshape(3, 2)
    wanted = identity.row_digests([rows])
    assert wanted.shape == (3, 16)
    assert len({digest.tobytes() for digest in wanted}) == 3
    assert np.array_equal(identity.row_digests([rows.copy()]), wanted)
    assert np.array_equal(identity.row_digests([rows[1:]]), wanted[1:])
    others = [[rows + 1], [rows.astype("float64")], [rows[:, None]], [rows, rows], [rows[:, ::-1]]]
    for other in others:
        assert not (identity.row_digests(other) == wanted).all(axis=1).any()
    assert not np.array_equal(
        identity.row_digests([rows[:, :1], rows[:, 1:]]),
        identity.row_digests([rows[:, 1:], rows[:, :1]]),
    )
    texts = identity.row_digests([WORDS[:3]])
    assert np.array_equal(texts, identity.row_digests([WORDS[:3].copy()]))
    assert identity.data_key([rows]) != identity.data_key([rows[::-1]])
    assert identity.data_key([rows]) == identity.data_key([rows.copy()])
    assert identity.data_key([rows, rows]) != identity.data_key([rows])
