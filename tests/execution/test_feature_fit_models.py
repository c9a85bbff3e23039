"""Models of several outputs, of a fixed batch and with a state: on features as in `model.fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching.options import CacheOptions
from finetunekit.execution import feature_fit
from frozen_dense import frozen_backbone, same_training, samples
from parameters import often

L = keras.layers
X, Y = samples(24)
WEIGHTS = np.linspace(0, 1, 24).astype("float32")


def two_outputs(loss: dict[str, str | None]) -> keras.Model:
    inputs = keras.Input((6,))
    features = frozen_backbone()(inputs)
    outputs = {name: L.Dense(1, name=name)(features) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss)
    return model


def fixed_batch(*, stateful: bool) -> keras.Model:
    inputs = keras.Input(batch_shape=(8, 6))
    features = L.Reshape((5, 1))(frozen_backbone()(inputs))
    model = keras.Model(inputs, L.Dense(1)(L.SimpleRNN(3, stateful=stateful)(features)))
    model.compile("adam", "mse")
    return model


LABELS = {"a": Y[:, None].astype("float32"), "b": X[:, :1]}
CASES: dict[str, tuple[Callable[[], keras.Model], Any, Any]] = {
    "weights by output": (
        lambda: two_outputs({"a": "mse", "b": "mse"}),
        LABELS,
        {"a": WEIGHTS, "b": WEIGHTS[::-1].copy()},
    ),
    "labels of one output": (
        lambda: two_outputs({"a": "mse", "b": None}),
        {"a": LABELS["a"]},
        None,
    ),
    "None for an output without a loss": (
        lambda: two_outputs({"a": "mse", "b": None}),
        {"a": LABELS["a"], "b": None},
        None,
    ),
    "a fixed batch": (lambda: fixed_batch(stateful=False), LABELS["a"], None),
    "a state": (lambda: fixed_batch(stateful=True), LABELS["a"], None),
}


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("case", often(CASES, ("weights by output", "a fixed batch", "a state")))
def test_as_model_fit(case: str) -> None:
    make, y, sample_weight = CASES[case]
    models, losses = [], []
    cache = CacheOptions(engine="keras", memory_limit=1 << 20, verbose=0)
    options = {"epochs": 2, "initial_epoch": 0, "verbose": 0}
    for cached in (False, True):
        ftk.clear_cache()
        keras.utils.set_random_seed(0)
        model = make()
        given = {"sample_weight": sample_weight, "batch_size": 8, "shuffle": False, **options}
        if cached:
            assert feature_fit.find_cut(model, cache, X)[0] is not None
            history = ftk.fit(model, X, y, engine="keras", memory_limit=1 << 20, **given)
        else:
            history = model.fit(X, y, **given)
        models.append(model)
        losses.append(history.history)
    assert losses[0] == losses[1]
    assert same_training(*models)
