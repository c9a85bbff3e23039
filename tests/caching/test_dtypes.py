"""Are features kept bit for bit in every precision, in memory and in a file?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching import cut, engines
from finetunekit.caching.store import Column, FeatureStore
from parameters import often

L = keras.layers
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float64")
KEY = {"data": "d" * 64}


@pytest.fixture(autouse=True)
def own_floatx() -> Iterator[None]:
    """What a test sets does not reach the next."""
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def numbers(kind: str) -> np.ndarray:
    """All kinds of numbers, the strange ones too."""
    values = [0.0, -0.0, 1.0, 1 / 3, 3e38, 1e-40, np.inf, -np.inf, np.nan]
    array = np.array(values, "float64")
    with np.errstate(over="ignore"):
        return array.astype(kind).reshape(3, 3)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float8_e4m3fn", "float64", "complex64"])
@pytest.mark.parametrize("where", ["memory", "file"])
def test_stores_give_back_every_bit(kind: str, where: str, tmp_path: Path) -> None:
    values, path = numbers(kind), tmp_path / "f.h5"
    columns = {"a": Column((3,), kind), "b": Column((), "float32")}
    rest = np.arange(3, dtype="float32")
    if where == "memory":
        store = FeatureStore.in_memory(columns, 3, KEY)
    else:
        store = FeatureStore.create(path, columns, 3, KEY)
    store.append({"a": values[:2], "b": rest[:2]})
    store.append({"a": values[2:], "b": rest[2:]})
    stores = [store] if where == "memory" else [store, FeatureStore.open(path, KEY)]
    for one in stores:
        found = one.read("a", np.array([2, 0, 1]))
        assert str(found.dtype) == kind
        assert found.tobytes() == values[[2, 0, 1]].tobytes()
        assert np.array_equal(one.read("b", slice(None)), rest)
        one.close()
    if where == "file":
        with h5py.File(path) as file:
            hidden = kind in ("bfloat16", "float8_e4m3fn")
            assert file.attrs["format"] == (2 if hidden else 1)
            assert (file["a"].dtype.kind == "u") == hidden
            assert f'"{kind}"' in file.attrs["columns"]


def test_bits_of_half_the_rows_survive_reopening(tmp_path: Path) -> None:
    values = np.arange(12).reshape(4, 3).astype(ml_dtypes.bfloat16)
    path = tmp_path / "f.h5"
    with FeatureStore.create(path, {"a": Column((3,), "bfloat16")}, 4, KEY) as store:
        store.append({"a": values[:1]})
    with FeatureStore.open(path, KEY, write=True) as store:
        assert store.done == 1
        store.append({"a": values[1:]})
    with FeatureStore.open(path, KEY) as store:
        assert np.array_equal(store.read("a", slice(None)), values)


def made(policy: str) -> keras.Model:
    """A model in a precision, part of it frozen."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx("float64" if policy == "float64" else "float32")
    layers = [L.Dense(8, "gelu", trainable=False), L.Dense(8, trainable=False), L.Dense(1)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile("sgd", "mse")
    return model


X = np.random.default_rng(0).random((20, 6))  # float64, of which float32 would lose digits.
Y = np.sin(X[:, :1])
OPTIONS = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0}


@pytest.mark.parametrize("policy", often(POLICIES, ("mixed_bfloat16", "float64")))
@pytest.mark.parametrize("where", ["path", "memory_limit"])
def test_fits_in_every_precision_are_those_of_keras(
    policy: str, where: str, tmp_path: Path
) -> None:
    plain, ours = made(policy), made(policy)
    wanted = plain.fit(X, Y, **OPTIONS).history["loss"]
    how = {"cache": tmp_path / "f.h5"} if where == "path" else {"memory_limit": 200}
    found = ftk.fit(ours, X, Y, engine="keras", **how, **OPTIONS).history["loss"]
    assert found == wanted
    for one, other in zip(ours.get_weights(), plain.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()
    if where == "path":
        kept = ftk.load_features(tmp_path / "f.h5")
        assert str(kept.features.dtype) == ours.layers[1].compute_dtype


@pytest.mark.parametrize("policy", POLICIES)
def test_cached_features_are_the_models(policy: str, tmp_path: Path) -> None:
    whole = made(policy)
    model, path = keras.Model(whole.inputs, whole.layers[1].output), tmp_path / "f.h5"
    found = ftk.cache_features(model, X, path, engine="keras", verbose=0).features
    again = ftk.load_features(path).features
    wanted = model.predict(X, verbose=0)
    assert found.tobytes() == again.tobytes() == wanted.astype(found.dtype).tobytes()
    in_memory = ftk.cache_features(model, X, engine="keras", verbose=0).features
    assert in_memory.tobytes() == found.tobytes()


def test_pipelines_in_bfloat16_grow_in_a_file(tmp_path: Path) -> None:
    plain, ours = made("mixed_bfloat16"), made("mixed_bfloat16")
    data = tf.data.Dataset.from_tensor_slices((X.astype("float32"), Y.astype("float32"))).batch(8)
    wanted = plain.fit(data, epochs=2, shuffle=False, verbose=0).history["loss"]
    options = {"cache": tmp_path / "f.h5", "engine": "keras", "epochs": 2, "verbose": 0}
    assert np.allclose(ftk.fit(ours, data, **options).history["loss"], wanted, rtol=1e-6)


def test_what_may_differ_follows_the_lowest_precision() -> None:
    allowed = {}
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        model = made(policy)
        allowed[policy] = engines.tolerance(cut.split_frozen(model), 1e-4)
    assert allowed == {"float32": 1e-4, "mixed_float16": 4 / 1024, "mixed_bfloat16": 4 / 128}
