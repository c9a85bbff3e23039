"""Are batches of arrays the rows that seed and epoch say, and is their digest one of content?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data.array_batches import ArrayBatches, Cutting, MixedArrayBatches, TextBatches
from finetunekit.data.arrays import Arrays
from finetunekit.foundation import hashing
from parameters import often

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10)
WEIGHTS = np.linspace(0, 1, 10)
GIVEN = Arrays({"a": X, "b": X[:, :1]}, Y, WEIGHTS)


def cut(arrays: Arrays, size: int | None = None, **options: Any) -> ArrayBatches:
    """The arrays in batches."""
    return ArrayBatches(arrays, Cutting(size=size, **options))


def test_what_they_say_of_themselves() -> None:
    batches = cut(GIVEN, 4)
    assert (batches.samples, batches.steps, batches.size) == (10, 3, 4)
    assert batches.spec == (GIVEN.x, GIVEN.y)
    assert np.array_equal(batches.first_batch()["b"], X[:4, :1])
    assert (cut(GIVEN).size, cut(GIVEN).steps) == (32, 1)
    assert cut(GIVEN, keras_steps=7).steps == 7
    assert (batches.lengths, batches.order, batches.random_layers) == (None, None, ())


def test_without_a_seed_samples_come_in_their_order() -> None:
    batches = cut(GIVEN, 4)
    for epoch in range(2):
        rows = [batches.rows(epoch, number).tolist() for number in range(3)]
        assert rows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    given = batches.for_keras(0)
    assert given.x["a"] is X
    assert given.y is Y
    assert given.sample_weight is WEIGHTS
    assert (given.batch_size, given.shuffle, given.class_weight) == (4, False, None)
    assert cut(GIVEN).for_keras(0).batch_size is None, "Keras' own size is left to Keras"
    assert batches.for_validation() == (GIVEN.x, Y, WEIGHTS)


def test_a_seed_gives_an_order_for_each_epoch_that_keras_is_given_too() -> None:
    batches = cut(GIVEN, 4, seed=3)
    for epoch in (0, 2):
        order = np.random.default_rng((3, epoch)).permutation(10)
        given = batches.for_keras(epoch).x
        given.on_epoch_begin()
        for number in range(3):
            wanted = order[4 * number : 4 * number + 4]
            rows, (x, y, weights) = batches.batch(epoch, number)  # type: ignore[misc]
            for found in (rows, y, given[number][1]):
                assert np.array_equal(found, wanted)
            assert np.array_equal(x["a"], X[wanted])
            assert np.array_equal(weights, WEIGHTS[wanted])
            assert np.array_equal(given[number][0]["b"], X[wanted, :1])
    batches.fast_forward(2)
    assert np.array_equal(batches.rows(0, 0), np.random.default_rng((3, 0)).permutation(10)[:4])


def test_keras_counts_the_steps_if_it_is_to() -> None:
    batches = cut(GIVEN, 4, seed=3, keras_steps=2, keras_shuffles=True)
    assert batches.order is None
    assert batches.batch(0, 0) is None, "which samples Keras takes is not known"
    assert batches.for_keras(0).shuffle is True
    assert batches.for_keras(0).x["a"] is X


@pytest.mark.parametrize("part", ["x", "y", "weights"])
def test_the_digest_is_of_all_parts(part: str) -> None:
    copy = keras.tree.map_structure(np.copy, GIVEN.x), Y.copy(), WEIGHTS.copy()
    assert cut(Arrays(*copy), 4).digest() == cut(GIVEN, 2, seed=1).digest()
    changed = Arrays(*copy)
    flat = keras.tree.flatten(getattr(changed, part))[-1]
    flat[-1] += 1
    assert cut(changed).digest() != cut(GIVEN).digest()


def test_the_digest_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    own = hashing.arrays_digest
    monkeypatch.setattr(hashing, "arrays_digest", lambda a: (calls.append(len(a)), own(a))[1])
    batches = cut(Arrays(X, None))
    assert batches.digest() == batches.digest()
    assert batches.start_digest().result() == own([X])
    assert sorted(calls) == [0, 0, 1]
    assert batches.digest().startswith("10 samples, ")


LENGTHS = np.array([3, 1, 2, 5, 4, 1, 5, 2, 3, 4])
TOKENS = (np.arange(1, 6) <= LENGTHS[:, None]) * np.arange(1, 11)[:, None]  # Sample n holds n + 1.


def test_texts_come_with_those_of_like_length() -> None:
    batches = TextBatches(Arrays(TOKENS, Y), LENGTHS, Cutting(size=2, seed=1))
    assert batches.lengths is LENGTHS
    given = batches.for_keras(0).x
    given.on_epoch_begin()
    found: list[Any] = []
    for number in range(5):
        x, y = given[number]
        rows, _ = batches.batch(0, number)  # type: ignore[misc]
        assert rows.tolist() == y.tolist()
        assert x.shape == (2, LENGTHS[y].max())
        assert np.array_equal(x[:, 0], y + 1)
        assert np.ptp(LENGTHS[y]) <= 1
        found += y.tolist()
    assert sorted(found) == list(range(10))
    assert found != [y for n in range(5) for y in batches.rows(1, n)], "another order in each epoch"


def test_texts_without_a_seed_and_to_validate_on() -> None:
    batches = TextBatches(Arrays(TOKENS, Y), LENGTHS, Cutting(size=4))
    assert batches.rows(0, 1).tolist() == [4, 5, 6, 7]
    held_out = batches.for_validation()
    held_out.on_epoch_begin()
    found = [y for number in range(3) for y in held_out[number][1]]
    assert found == np.argsort(LENGTHS, kind="stable").tolist()


class Doubles:
    """In place of a layer that mixes."""

    def __call__(self, batch: dict[str, Any], training: bool) -> dict[str, Any]:
        return {"images": batch["images"] * 2, "labels": batch["labels"]}


def test_mixed_batches_go_through_the_layers_in_turn() -> None:
    layers = [Doubles(), Doubles()]
    for seed in (None, 3):
        batches = MixedArrayBatches(Arrays(X, Y), layers, Cutting(size=4, seed=seed))
        assert batches.random_layers == tuple(layers)
        given = batches.for_keras(1).x
        given.on_epoch_begin()
        x, y = given[1]
        wanted = batches.rows(1, 1)
        assert np.array_equal(y, wanted)
        assert np.array_equal(x, 4 * X[wanted])


WORDS = np.array(["good", "bad", "good", "ugly", "bad", "ugly"])
LABELS = np.array([1, 0, 1, 0, 0, 0])


def of_words() -> keras.Model:
    """A model that takes texts, with a frozen part."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,), dtype="string")
    x = keras.layers.StringLookup(vocabulary=["good", "bad"], output_mode="multi_hot")(inputs)
    x = keras.layers.Dense(4, trainable=False)(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile("sgd", "binary_crossentropy")
    return model


@pytest.mark.parametrize("dtype", often(["<U4", object], ("<U4",)))
@pytest.mark.parametrize(
    "options",
    [{"cache": False}, {"cache": "auto"}, {"cache": "auto", "validation_steps": 1}],
    ids=str,
)
def test_texts_in_their_own_order(dtype: Any, options: dict[str, Any]) -> None:
    words = WORDS[:, None].astype(dtype)
    history = ftk.fit(
        of_words(), words, LABELS, batch_size=2, epochs=2, shuffle=False, verbose=0,
        engine="keras", validation_data=(words[:2], LABELS[:2]), **options,
    ).history  # fmt: skip
    tensors = keras.ops.convert_to_tensor(words.astype(object), dtype="string")
    expected = of_words().fit(
        tensors, LABELS, batch_size=2, epochs=2, shuffle=False, verbose=0,
        validation_data=(tensors[:2], LABELS[:2]),
    ).history  # fmt: skip
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-6)
