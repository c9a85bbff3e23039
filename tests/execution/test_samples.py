"""Arrays find their features by position: computed once, in an order that the user does not see."""

from __future__ import annotations

import functools
import json
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.caching import cut
from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.options import CacheOptions
from finetunekit.data.array_batches import ArrayBatches, Cutting, TextBatches
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import KerasData
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.execution.readers import marker
from finetunekit.execution.samples import Samples
from finetunekit.foundation import hashing

L = keras.layers
X = np.arange(30, dtype="float32").reshape(10, 3)
Y = np.arange(10)
WEIGHTS = np.linspace(0, 1, 10)
KEY = {"prefix weights": "these"}
LENGTHS = np.array([4, 1, 3, 1, 4, 2, 3])
IDS = (np.arange(28).reshape(7, 4) % 9 + 1) * (np.arange(4) < LENGTHS[:, None])


@functools.cache
def dense_model() -> keras.Model:
    """A frozen layer, and a head that takes the inputs beside its output."""
    inputs = keras.Input((3,))
    x = L.Dense(2, trainable=False)(inputs)
    return keras.Model(inputs, L.Add()([L.Dense(1)(x), L.Dense(1)(inputs)]))


@functools.cache
def text_model(pooled: bool) -> keras.Model:
    """Frozen embeddings of tokens, their mean over the text too if it is `pooled`."""
    inputs = keras.Input((None,), dtype="int32")
    x = L.Embedding(10, 2, trainable=False)(inputs)
    x = L.GlobalAveragePooling1D()(x) if pooled else x
    return keras.Model(inputs, L.Dense(1)(x))


@functools.cache
def split_of(model: keras.Model) -> FrozenSplit:
    return cut.split_frozen(model)


class Doubling:
    """Computes the first two numbers of a sample twice as large, and notes of what."""

    name, why = "numpy", "it is a test"

    def __init__(self, noted: Callable[[], Any] | None = None, fails_at: int = 99) -> None:
        self.batches: list[Any] = []
        self.told: list[int] = []
        self.notes: list[Any] = []
        self._noted, self._fails_at = noted, fails_at

    def __call__(self, batch: list[Any], rows_left: int) -> list[np.ndarray]:
        if len(self.batches) == self._fails_at:
            raise KeyboardInterrupt
        self.batches.append(batch[0])
        self.told.append(rows_left)
        if self._noted is not None:
            self.notes.append(self._noted())
        return [np.asarray(batch[0][:, :2] * 2)]


def options(**given: Any) -> CacheOptions:
    return CacheOptions(**({"memory_limit": 1 << 20, "verbose": 0} | given))


def samples(
    model: keras.Model, arrays: Any = None, size: int = 4, seed: int | None = None, **given: Any
) -> Samples:
    arrays = Arrays(X, Y, WEIGHTS) if arrays is None else arrays
    return Samples(ArrayBatches(arrays, Cutting(size=size, seed=seed)), model, options(**given))


def texts(model: keras.Model, seed: int | None = None, **given: Any) -> Samples:
    batches = TextBatches(Arrays(IDS, np.arange(7)), LENGTHS, Cutting(size=3, seed=seed))
    return Samples(batches, model, options(**given))


def whole(ready: Any, rows: np.ndarray) -> tuple[Any, np.ndarray]:
    """All samples as the tail takes them, and their order."""
    (window,) = ready.windows(rows)
    return window.parts, window.order


@pytest.mark.parametrize(("size", "steps"), [(4, 3), (5, 2), (10, 1), (11, 1), (1, 10)])
def test_what_is_known_before_the_model_is_cut(size: int, steps: int) -> None:
    arrays = Arrays(X, Y)
    batches = ArrayBatches(arrays, Cutting(size=size, kind="validation samples"))
    found = Samples(batches, dense_model(), options())
    assert (found.rows, found.size, found.steps) == (10, size, steps)
    assert (found.name, found.lengths, found.keras_sees_steps) == (
        "validation samples",
        None,
        False,
    )
    assert found.like is X
    assert found.inputs[0] is X


def test_inputs_are_in_the_order_of_the_model_and_plain() -> None:
    first, second = keras.Input((1,), name="first"), keras.Input((2,), name="second")
    model = keras.Model({"second": second, "first": first}, L.Add()([first, second]))
    wanted = [{"first": X[:, :1], "second": X[:, :2]}[tensor.name] for tensor in model.inputs]
    found = samples(model, Arrays({"first": tf.constant(X[:, :1]), "second": X[:, :2]}, Y))
    for one, other in zip(found.inputs, wanted, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, other)


def test_features_are_computed_once_in_batches() -> None:
    model, computing = dense_model(), Doubling()
    split = split_of(model)
    ready = samples(model).ready(split, KEY, computing)
    assert [batch.tolist() for batch in computing.batches] == [
        X[:4].tolist(),
        X[4:8].tolist(),
        X[8:].tolist(),
    ]
    assert computing.told == [10, 6, 2]
    assert ready.told == "10 samples: 80 bytes in memory; engine numpy (it is a test)"
    parts, order = whole(ready, ready.order(0))
    np.testing.assert_array_equal(order, np.arange(10))
    np.testing.assert_array_equal(parts.features[0], X[:, :2] * 2)
    assert parts.masks == [None]
    np.testing.assert_array_equal(parts.passed[0], X)
    np.testing.assert_array_equal(parts.y, Y)
    np.testing.assert_array_equal(parts.weights, WEIGHTS)
    # The labels of another fit may be others.
    again = samples(model, Arrays(X.copy(), Y + 1), size=3).ready(split, KEY, computing)
    assert again.told == "10 samples: found in memory (80 bytes)"
    assert len(computing.batches) == 3
    parts, _ = whole(again, again.order(0))
    np.testing.assert_array_equal(parts.features[0], X[:, :2] * 2)
    np.testing.assert_array_equal(parts.y, Y + 1)
    assert parts.weights is None


@pytest.mark.parametrize(
    ("key", "given", "computed"),
    [
        ({"prefix weights": "others"}, {}, True),
        (KEY, {"arrays": Arrays(X + 1, Y)}, True),
        (KEY, {"engine": "keras"}, True),
        (KEY, {"size": 5, "seed": 3}, False),
    ],
    ids=["weights", "data", "engine", "order"],
)
def test_features_of_something_else_are_not_taken(
    key: dict[str, str], given: dict[str, Any], computed: bool
) -> None:
    model, computing = dense_model(), Doubling()
    split = split_of(model)
    samples(model).ready(split, KEY, Doubling())
    samples(model, **given).ready(split, key, computing)
    assert bool(computing.batches) is computed


def test_batches_of_keras_engine_are_those_of_the_fit() -> None:
    model = dense_model()
    split = split_of(model)
    samples(model, engine="keras", size=4).ready(split, KEY, Doubling())
    for size, calls in ((4, 0), (5, 2)):
        computing = Doubling()
        samples(model, engine="keras", size=size).ready(split, KEY, computing)
        assert len(computing.batches) == calls


def test_an_interrupted_file_is_gone_on_with(tmp_path: Path) -> None:
    model, path = dense_model(), str(tmp_path / "features.h5")
    split = split_of(model)
    with pytest.raises(KeyboardInterrupt):
        samples(model, path=path).ready(split, KEY, Doubling(fails_at=1))
    computing = Doubling()
    ready = samples(model, path=path).ready(split, KEY, computing)
    assert [batch.tolist() for batch in computing.batches] == [X[4:8].tolist(), X[8:].tolist()]
    words = f"10 samples: 80 bytes in {path}, 4 of them found; engine numpy (it is a test)"
    assert ready.told == words
    np.testing.assert_array_equal(whole(ready, Y)[0].features[0], X[:, :2] * 2)
    ready.close()
    found = samples(model, path=path).ready(split, KEY, computing)
    assert found.told == f"10 samples: found in {path} (80 bytes)"
    assert len(computing.batches) == 2
    np.testing.assert_array_equal(whole(found, Y)[0].features[0], X[:, :2] * 2)
    found.close()


def test_what_memory_does_not_hold_is_in_a_file_of_this_fit_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = dense_model()
    split = split_of(model)
    for _ in range(2):
        computing = Doubling()
        ready = samples(model, memory_limit=79).ready(split, KEY, computing)
        assert len(computing.batches) == 3
        assert ready.told.startswith(f"10 samples: 80 bytes in {tmp_path}")
        windows = list(ready.windows(np.arange(10)))
        assert [window.steps for window in windows] == [1, 1, 1]
        rows = np.concatenate([np.asarray(window.parts.features[0]) for window in windows])
        np.testing.assert_array_equal(rows, X[:, :2] * 2)
        ready.close()


def test_memory_is_free_before_more_is_needed() -> None:
    model = dense_model()
    split, found = split_of(model), samples(model)
    first = weakref.ref(found.ready(split, KEY, Doubling()))
    computing = Doubling(noted=first)
    assert first() is not None
    found.ready(split, {"prefix weights": "others"}, computing)
    assert computing.notes == [None, None, None]


def test_a_model_that_is_not_cut_takes_its_inputs() -> None:
    model, computing = dense_model(), Doubling()
    found = samples(model)
    ready = found.ready(cut.uncut(split_of(model), "it may not be"), {}, computing)
    assert ready.told == ""
    assert computing.batches == []
    parts, _ = whole(ready, ready.order(0))
    assert parts.features == []
    np.testing.assert_array_equal(parts.passed[0], X)


@pytest.mark.parametrize("seed", [None, 3])
def test_batches_are_those_of_the_order(seed: int | None) -> None:
    model = dense_model()
    found = samples(model, seed=seed)
    assert found.batch(0, 0) is None, "the order follows from what memory holds"
    ready = found.ready(split_of(model), KEY, Doubling())
    for epoch in (0, 1):
        order = np.arange(10)
        if seed is not None:
            order = np.random.default_rng((seed, epoch)).permutation(10)
        np.testing.assert_array_equal(ready.order(epoch), order)
        for number, rows in enumerate((order[:4], order[4:8], order[8:])):
            batch = found.batch(epoch, number)
            assert batch is not None
            names, (x, y, weights) = batch
            np.testing.assert_array_equal(names, rows)
            np.testing.assert_array_equal(x, X[rows])
            np.testing.assert_array_equal(y, Y[rows])
            np.testing.assert_array_equal(weights, WEIGHTS[rows])


@pytest.mark.parametrize("seed", [None, 3])
def test_texts_lie_by_length_and_train_in_the_users_order(seed: int | None) -> None:
    model = text_model(pooled=True)
    found, computing = texts(model, seed=seed), Doubling()
    by_length = np.array([1, 3, 5, 2, 6, 0, 4])  # Of equal ones, the first comes first.
    np.testing.assert_array_equal(found.lengths, LENGTHS[by_length])
    np.testing.assert_array_equal(found.inputs[0], IDS[by_length])
    ready = found.ready(split_of(model), KEY, computing)
    order = np.arange(7)
    if seed is not None:
        order = np.random.default_rng((seed, 1)).permutation(7)
    parts, places = whole(ready, ready.order(1))
    np.testing.assert_array_equal(np.asarray(parts.y)[places], order)
    np.testing.assert_array_equal(np.asarray(parts.features[0])[places], IDS[order, :2] * 2)
    batch = found.batch(1, 2)
    assert batch is not None
    np.testing.assert_array_equal(batch[0], order[6:])
    np.testing.assert_array_equal(batch[1][0], IDS[order[6:]])
    np.testing.assert_array_equal(batch[1][1], order[6:])


@pytest.mark.parametrize(("pooled", "widths"), [(True, [2, 4, 4]), (False, [4, 4, 4])])
def test_batches_are_cut_to_their_longest_unless_features_tell_how_long_it_was(
    pooled: bool, widths: list[int]
) -> None:
    model = text_model(pooled)
    split, found, computing = split_of(model), texts(model), Doubling()
    assert found.varies(split) is pooled
    found.ready(split, KEY, computing)
    assert [batch.shape for batch in computing.batches] == [
        (rows, width) for rows, width in zip((3, 3, 1), widths, strict=True)
    ]


def test_only_texts_vary() -> None:
    model = dense_model()
    assert not samples(model).varies(split_of(model))


def test_for_the_bits_of_keras_texts_stay_where_they_are() -> None:
    model = text_model(pooled=True)
    found, computing = texts(model, engine="keras"), Doubling()
    assert found.lengths is None
    np.testing.assert_array_equal(found.inputs[0], IDS)
    assert not found.varies(split_of(model))
    found.ready(split_of(model), KEY, computing)
    assert [batch.shape for batch in computing.batches] == [(3, 4), (3, 4), (1, 4)]
    batch = found.batch(0, 1)
    assert batch is not None
    np.testing.assert_array_equal(batch[0], [3, 4, 5])


def test_texts_by_length_are_not_taken_for_those_in_their_order() -> None:
    model, computing = text_model(pooled=True), Doubling()
    split = split_of(model)
    texts(model).ready(split, KEY, Doubling())
    plain = samples(model, Arrays(IDS, np.arange(7)), size=3).ready(split, KEY, computing)
    assert len(computing.batches) == 3
    np.testing.assert_array_equal(whole(plain, np.arange(7))[0].features[0], IDS[:, :2] * 2)


@pytest.mark.parametrize("by_length", [True, False])
def test_a_file_says_in_which_order_its_texts_lie(tmp_path: Path, by_length: bool) -> None:
    model, path = text_model(pooled=True), tmp_path / "features.h5"
    found = texts if by_length else samples
    data = {} if by_length else {"arrays": Arrays(IDS, np.arange(7))}
    found(model, path=str(path), **data).ready(split_of(model), KEY, Doubling()).close()
    digest = hashing.arrays_digest([IDS]) + (", by length" if by_length else "")
    with h5py.File(path) as file:
        assert json.loads(file.attrs["key"]) == KEY | {"data": digest, "engine": "any"}


def test_arrays_of_texts_come_as_tensors() -> None:
    batches: list[Any] = []

    class Sizes(Doubling):
        def __call__(self, batch: list[Any], rows_left: int) -> list[np.ndarray]:
            batches.append(batch[0])
            return [np.zeros((len(batch[0]), 2), "float32")]

    model = dense_model()
    names = np.array([["a", "b", "c"]] * 5, object)
    samples(model, Arrays(names, Y[:5])).ready(split_of(model), KEY, Sizes())
    assert [batch.dtype for batch in batches] == [tf.string, tf.string]
    assert batches[1].numpy().tolist() == [[b"a", b"b", b"c"]]


@pytest.mark.parametrize("own", [True, False])
def test_a_marker_stands_for_the_samples(own: bool) -> None:
    found = samples(dense_model())
    assert found.reads(iter(marker()), own=own)
    assert not found.reads(iter(tf.data.Dataset.range(2)), own=own)


def test_keras_is_given_markers_and_no_sizes() -> None:
    found = samples(dense_model())
    loop = LoopOptions(batch_size=4, epochs=3, validation_steps=2)
    call = FitCall(
        data=KerasData(x=X, y=Y), validation_data="held out", loop=loop, callbacks=["callback"]
    )
    training = found.training_call(call)
    assert list(training.data.x.as_numpy_iterator()) == [{"finetunekit": 0}]
    assert training == FitCall(
        data=KerasData(x=training.data.x),
        validation_data="held out",
        loop=LoopOptions(epochs=3, validation_steps=2, validation_batch_size=4),
        callbacks=["callback"],
    )
    validation = found.validation_call(call)
    assert list(validation.validation_data.as_numpy_iterator()) == [{"finetunekit": 0}]
    assert validation == call.replace(validation_data=validation.validation_data)
