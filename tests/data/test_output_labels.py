"""Are labels and weights of several outputs what `model.fit` takes, and what is unfit refused?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data import output_labels
from frozen_dense import frozen_backbone, same_training, samples
from parameters import often

L = keras.layers
X, Y = samples(24)
A, B = Y[:, None].astype("float32"), X[:, :1]
ONE, TWO = (np.linspace(*ends, 24).astype("float32") for ends in ((0, 1), (2, 1)))


def two_outputs(loss: Any, *, named: bool = True) -> keras.Model:
    inputs = keras.Input((6,))
    features = frozen_backbone()(inputs)
    needed = {"a", "b"} if named else {"b"}
    needed = set(loss) if isinstance(loss, dict) else needed
    outputs = {n: L.Dense(1, name=n, trainable=n in needed)(features) for n in ("a", "b")}
    model = keras.Model(inputs, outputs if named else list(outputs.values()))
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def fixed_batch() -> keras.Model:
    inputs = keras.Input(batch_shape=(8, 6))
    model = keras.Model(inputs, L.Dense(1)(frozen_backbone()(inputs)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


BOTH = {"a": "mse", "b": "mae"}
CASES: dict[str, tuple[Callable[[], keras.Model], Any, Any]] = {
    "labels for the only loss": (lambda: two_outputs({"a": "mse"}), {"a": A}, None),
    "in a list": (lambda: two_outputs([None, "mse"], named=False), [None, B], [None, TWO]),
    "weights by output": (lambda: two_outputs(BOTH), {"a": A, "b": B}, {"a": ONE, "b": TWO}),
    "a fixed batch": (fixed_batch, A, ONE),
}


@pytest.mark.parametrize("case", often(CASES, ("in a list", "weights by output")))
def test_as_model_fit(case: str) -> None:
    make, y, weights = CASES[case]
    models, losses = [], []
    given = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    for cache in (None, False, "auto"):
        keras.utils.set_random_seed(0)
        model = make()
        if cache is None:
            history = model.fit(X, y, sample_weight=weights, **given)
        else:
            options = {"cache": cache, "engine": "keras", "sample_weight": weights}
            history = ftk.fit(model, X, y, **given, **options)
        models.append(model)
        losses.append(history.history)
    assert losses[0] == losses[1] == losses[2]
    assert same_training(models[0], models[1])
    assert same_training(models[0], models[2])
    keras.utils.set_random_seed(0)
    assert not same_training(models[0], make()), "it has trained"


def test_labels_keep_their_structure() -> None:
    model = two_outputs(BOTH)
    found = output_labels.read_labels({"b": B.tolist(), "a": A}, model, None)
    assert list(found) == ["b", "a"]
    assert np.array_equal(found["b"], B)
    assert isinstance(found["b"], np.ndarray)
    as_list = output_labels.read_labels([A, B], two_outputs(BOTH, named=False), None)
    assert isinstance(as_list, tuple)
    assert as_list[0] is A
    single = keras.Sequential([keras.Input((6,)), L.Dense(1)])
    assert output_labels.read_labels({"any": A}, single, None) is A
    assert output_labels.read_labels(None, single, None) is None


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ({"a": A}, r"labels for each output: 'a', 'b'; it lacks 'b'"),
        ({"a": None, "b": B}, r"it lacks 'a'"),
        ({}, r"it lacks 'a', 'b'.*y of type dict"),
        ({"a": A, "b": B * np.nan}, r"`y\['b'\]`.*NaN"),
    ],
)
def test_labels_that_lack_an_output(y: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        output_labels.read_labels(y, two_outputs(BOTH), None)


def test_only_an_output_with_a_loss_needs_labels() -> None:
    model = two_outputs({"a": "mse", "b": None})
    assert list(output_labels.read_labels({"a": A}, model, None)) == ["a"]
    with pytest.raises(ValueError, match=r"for each output: 'a'; it lacks 'a'"):
        output_labels.read_labels({"b": B}, model, None)


def test_weights_follow_the_labels() -> None:
    labels = {"a": A, "b": B}
    assert output_labels.read_weights(None, labels, 24) is None
    assert output_labels.read_weights(ONE, labels, 24) is ONE
    found = output_labels.read_weights({"a": ONE, "b": None}, labels, 24)
    assert found == {"a": ONE, "b": None}
    assert output_labels.read_weights([ONE, TWO], (A, B), 24) == (ONE, TWO)
    numbers = output_labels.read_weights([1.0, 2.0], (A[:2], B[:2]), 2)
    assert numbers.tolist() == [1.0, 2.0], "a list of numbers is one weight a sample"
    with pytest.raises(ValueError, match=r"`sample_weight\['b'\]` must have one weight a sample"):
        output_labels.read_weights({"a": ONE, "b": TWO[:3]}, labels, 24)
    with pytest.raises(ValueError, match=r"each of the labels: 'a', 'b'.*keys \['a'\]"):
        output_labels.read_weights({"a": ONE}, labels, 24)


def test_weights_without_labels_are_told_and_not_taken_for_labels() -> None:
    with pytest.raises(ValueError, match="`sample_weight` weights the loss of labels"):
        output_labels.read_weights(np.ones(4), None, 4)
    assert output_labels.read_weights(None, None, 4) is None


def test_weights_of_one_output_by_its_name() -> None:
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    y, weights = x[:, 0], np.linspace(0, 1, 8)
    losses = []
    for fit in (ftk.fit, keras.Model.fit):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, {"out": keras.layers.Dense(1, name="out")(inputs)})
        model.compile("sgd", {"out": "mse"})
        history = fit(
            model, x, {"out": y}, sample_weight={"out": weights}, shuffle=False, verbose=0
        ).history
        losses.append(history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
