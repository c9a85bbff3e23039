"""Does a file without the progress of its optimizer open everywhere, small, and train anew?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L
from parameters import often

X = np.random.default_rng(0).normal(size=(16, 40)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(3e-3),
    "adagrad": lambda: keras.optimizers.Adagrad(3e-3),  # Its slots begin at 0.1.
    "adafactor": lambda: keras.optimizers.Adafactor(3e-3),
    "momentum": lambda: keras.optimizers.SGD(3e-3, momentum=0.9, use_ema=True),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(3e-3)),
    "accumulating": lambda: keras.optimizers.Adam(3e-3, gradient_accumulation_steps=2),
}


def trained(optimizer: Any) -> keras.Model:
    """A model of 126,000 parameters after two epochs."""
    inputs = keras.Input((40,))
    backbone = keras.Model(inputs, L.Dense(3000, activation="relu", name="wide")(inputs))
    model = ftk.add_head(backbone, "binary")
    model.compile(optimizer, "binary_crossentropy")
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    return model


def values(optimizer: Any) -> list[np.ndarray]:
    return [np.copy(keras.ops.convert_to_numpy(variable)) for variable in optimizer.variables]


def wide(model: keras.Model) -> Any:
    """The layer that most of the model is."""
    return model.layers[1].get_layer("wide")


@pytest.mark.parametrize("name", often(OPTIMIZERS, ("adagrad", "loss scale")))
def test_keras_and_load_open_it_compiled_with_a_new_optimizer(name: str, tmp_path: Path) -> None:
    model = trained(OPTIMIZERS[name]())
    before = values(model.optimizer)
    whole = ftk.save(model, tmp_path / "whole.keras", verbose=0)
    slim = ftk.save(model, tmp_path / "slim.keras", optimizer=False, verbose=0)
    for mine, value in zip(values(model.optimizer), before, strict=True):
        np.testing.assert_array_equal(mine, value)
    assert sorted(os.listdir(tmp_path)) == ["slim.keras", "whole.keras"]
    parameters = 4 * model.count_params()
    assert os.path.getsize(slim) < parameters + 60_000
    assert os.path.getsize(whole) > os.path.getsize(slim) + (name != "adafactor") * 0.9 * parameters
    opened = [keras.saving.load_model(slim), ftk.load(slim)]  # Without a warning of Keras'.
    new = OPTIMIZERS[name]()
    new.build(model.trainable_variables)
    for again in opened:
        np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
        for mine, value in zip(values(again.optimizer), values(new), strict=True):
            np.testing.assert_array_equal(mine, value)


def test_it_trains_as_with_a_new_optimizer(tmp_path: Path) -> None:
    model = trained(keras.optimizers.Adam(3e-3))
    model.optimizer.learning_rate = 1e-3
    again = ftk.load(ftk.save(model, tmp_path / "slim.keras", optimizer=False, verbose=0))
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    options = {"epochs": 2, "shuffle": False, "verbose": 0}
    wanted = model.fit(X, Y, **options).history["loss"]
    assert ftk.fit(again, X, Y, **options).history["loss"] == pytest.approx(wanted, rel=1e-5)


def test_stages_frozen_variables_and_rates_go_on(tmp_path: Path) -> None:
    model = trained(keras.optimizers.Adam(3e-3))
    ftk.freeze_layers(model, "wide")  # Its moments are stashed.
    ftk.fit(model, X, Y, verbose=0)
    again = ftk.load(ftk.save(model, tmp_path / "slim.keras", optimizer=False, verbose=0))
    ftk.unfreeze_layers(again, "wide")
    ftk.fit(again, X, Y, verbose=0)
    assert int(again.optimizer.iterations) == 1
    assert not np.array_equal(wide(again).get_weights()[0], wide(model).get_weights()[0])


def test_variables_that_are_frozen_one_by_one(tmp_path: Path) -> None:
    model = trained(keras.optimizers.Adam(3e-3))
    wide(model).bias.trainable = False
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(X, Y, verbose=0)
    again = ftk.load(ftk.save(model, tmp_path / "slim.keras", optimizer=False, verbose=0))
    assert int(again.optimizer.iterations) == 0
    before = wide(again).get_weights()
    ftk.fit(again, X, Y, verbose=0)
    kernel, bias = wide(again).get_weights()
    np.testing.assert_array_equal(bias, before[1])
    assert not np.array_equal(kernel, before[0])


@pytest.mark.parametrize("kind", often(("adam", "adagrad"), ("adagrad",)))
def test_slots_of_a_type_that_hdf5_does_not_have(kind: str, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("bfloat16")
    model = trained(OPTIMIZERS[kind]())
    slim = ftk.save(model, tmp_path / "slim.keras", optimizer=False, verbose=0)
    new = OPTIMIZERS[kind]()
    new.build(model.trainable_variables)
    for mine, value in zip(values(ftk.load(slim).optimizer), values(new), strict=True):
        np.testing.assert_array_equal(mine, value)


def test_a_model_that_is_not_compiled_has_nothing_to_forget(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(1)])
    again = ftk.load(ftk.save(model, tmp_path / "plain.keras", optimizer=False, verbose=0))
    assert not again.compiled
    with pytest.raises(TypeError, match="`optimizer` must be True or False"):
        ftk.save(model, tmp_path / "plain.keras", optimizer="adam")
