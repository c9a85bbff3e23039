"""Does state that Keras has no place for go with a model through surgery, files and copies?"""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import (
    compiled,
    metadata,
    model_state,
    rate_multipliers,
    saving,
)
from parameters import often

L = keras.layers
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("float32")


def small() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    x = L.Dense(5, activation="tanh", name="low")(inputs)
    backbone = keras.Model(inputs, L.Dense(3, activation="tanh", name="high")(x), name="base")
    model = ftk.add_head(backbone, "binary", class_names=["no", "yes"])
    return ftk.compile_for_task(model, optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)


def train(model: keras.Model) -> keras.Model:
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in [*model.weights, *model.optimizer.variables]]


def assert_equal(one: keras.Model, other: keras.Model) -> None:
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) > 0
    for a, b in zip(weights(one), weights(other), strict=True):
        assert np.array_equal(a, b)


def layer(model: keras.Model, path: str) -> keras.layers.Layer:
    return ftk.find_layers(model, path)[path]


def through_file(model: keras.Model, folder: Path) -> keras.Model:
    return ftk.load(ftk.save(model, folder / "model.keras", verbose=0))


def through_dropout(model: keras.Model, folder: Path) -> keras.Model:
    # Of a copy, since both share their weights; at a rate that float32 rounds to nothing.
    model = copy.deepcopy(model)
    return ftk.inject_dropout(model, 1e-30, after="base/low", seed=1)


WAYS = {
    "file": through_file,
    "dropout": through_dropout,
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("way", often(WAYS, ("file", "deepcopy")))
def test_stashed_slots_go_along_and_training_goes_on_bit_for_bit(way: str, tmp_path: Path) -> None:
    model = train(small())
    ftk.freeze_layers(model, "base/low")
    train(model)
    other = WAYS[way](model, tmp_path)
    assert_equal(model, other)
    for each in (model, other):
        ftk.unfreeze_layers(each, "base/low")
        train(each)
    assert_equal(model, other)


@pytest.mark.parametrize("way", often(WAYS, ("dropout",)))
def test_variables_frozen_one_by_one_keep_the_optimizer(way: str, tmp_path: Path) -> None:
    model = train(small())
    layer(model, "base/low").kernel.trainable = False
    compiled.renew(model)
    train(model)
    other = WAYS[way](model, tmp_path)
    assert [v.trainable for v in other.weights] == [v.trainable for v in model.weights]
    assert_equal(model, other)
    for each in (model, other):
        train(each)
    assert_equal(model, other)
    for each in (model, other):
        layer(each, "base/low").kernel.trainable = True
        compiled.renew(each)
        train(each)
    assert_equal(model, other)


@keras.saving.register_keras_serializable("test_model_state")
class Composite(keras.layers.Layer):
    """A layer that makes its own layers anew when it is loaded, as the blocks of KerasHub do."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.low, self.high = L.Dense(4), L.Dense(4)  # Named by Keras' counters.

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.low.build(shape)
        self.high.build(shape)

    def call(self, x: object) -> object:
        return self.high(self.low(x))


@pytest.mark.parametrize("whole", [False, True])
def test_layers_frozen_inside_a_composite_layer_stay_frozen(whole: bool, tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    backbone = keras.Model(inputs, Composite()(inputs), name="base")
    model = ftk.add_head(backbone, "binary")
    ftk.compile_for_task(model, optimizer=keras.optimizers.Adam(0.01), run_eagerly=True)
    ftk.freeze_layers(model, backbone.layers[1] if whole else backbone.layers[1].low)
    train(model)
    other = through_file(model, tmp_path)  # A warning about the optimizer would be an error.
    assert [v.trainable for v in other.weights] == [v.trainable for v in model.weights]
    assert not metadata.of(other).backbone.layers[1].low.trainable
    for each in (model, other):
        train(each)
    assert_equal(model, other)


@pytest.mark.parametrize("way", often(WAYS, ("file", "dropout", "pickle")))
def test_every_facet_goes_along(way: str, tmp_path: Path) -> None:
    model = small()
    optimizer = ftk.layerwise_optimizer(model, keras.optimizers.AdamW(0.01), layer_decay=0.5)
    ftk.compile_for_task(model, optimizer=optimizer, run_eagerly=True)
    own = keras.regularizers.L1(0.5)
    layer(model, "base/high").kernel_regularizer = own
    layer(model, "base/high").kernel.regularizer = own
    ftk.inject_regularizer(model, l2=0.1, layers="base/high")
    train(model)
    rate_multipliers.warm_up(model.optimizer, [layer(model, "base/low").kernel], 7)
    other = WAYS[way](model, tmp_path)
    assert metadata.of(other).task == metadata.of(model).task
    assert metadata.of(other).backbone is layer(other, "base")
    picked = metadata.choices(other)
    assert picked is not None
    assert picked.optimizer is other.optimizer
    record = model_state.to_record(other)
    assert record["step_factors"] == model_state.to_record(model)["step_factors"] != {}
    assert record["warming"] == {"base/low": {"kernel": [4, 7]}}
    ftk.remove_regularizer(other, "base/high")
    assert layer(other, "base/high").kernel.regularizer.get_config() == own.get_config()
    assert layer(other, "base/high").kernel_regularizer.get_config() == own.get_config()


class Mine(keras.regularizers.Regularizer):
    def __call__(self, x: object) -> object:
        return 0.0

    def get_config(self) -> dict[str, object]:
        return {}


def test_a_regularizer_of_the_user_comes_back_with_its_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(1, kernel_regularizer=Mine(), name="d")])
    ftk.inject_regularizer(model, l2=0.1)
    path = ftk.save(model, tmp_path / "model.keras", verbose=0)
    loaded = ftk.remove_regularizer(ftk.load(path, custom_objects={"Mine": Mine}))
    assert type(loaded.get_layer("d").kernel_regularizer) is Mine
    assert "cannot bring" not in caplog.text
    without = ftk.remove_regularizer(ftk.load(path))
    assert without.losses == []
    assert "cannot bring 'Mine' back" in caplog.text


def test_smoothing_goes_through_a_pickle() -> None:
    model = ftk.add_head(keras.Sequential([keras.Input((4,)), L.Dense(3)]), "multiclass", 3)
    ftk.compile_for_task(model, label_smoothing=0.2)
    x, y = X[:8], np.arange(8) % 3
    expected = model.evaluate(x, y, verbose=0)
    assert pickle.loads(pickle.dumps(model)).evaluate(x, y, verbose=0) == pytest.approx(expected)


def test_a_class_of_the_user_takes_its_state_along() -> None:
    model = ftk.compile_for_task(ftk.add_head(Own(), "binary"))
    other = copy.deepcopy(model)
    assert metadata.of(other).task == metadata.of(model).task
    assert type(metadata.of(other).backbone) is Own


class Own(keras.Sequential):
    def __init__(self, name: str = "own") -> None:
        super().__init__([keras.Input((4,)), L.Dense(2, name="d")], name=name)

    def get_config(self) -> dict[str, object]:
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, str], custom_objects: object = None) -> Own:
        return cls(**config)


def test_models_without_such_state_are_pickled_by_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: object) -> None:
        raise RuntimeError

    train(small())  # The classes are known by now.
    monkeypatch.setattr(saving, "to_bytes", fail)
    inputs = keras.Input((4,))
    plain = keras.Model(inputs, L.Dense(1)(inputs))
    found = copy.deepcopy(plain).predict(X, verbose=0)
    assert np.array_equal(found, plain.predict(X, verbose=0))


def test_clone_model_makes_a_model_that_is_not_known() -> None:
    """As docs/guide/saving.md says."""
    model = small()
    clone = keras.models.clone_model(model)
    assert metadata.of(clone).task is None
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])


def test_a_damaged_array_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    model = train(small())
    ftk.freeze_layers(model, "base/low")
    path = tmp_path / "model.keras"
    ftk.save(train(model), path, verbose=0)
    rewrite(path, lambda name, content: content[:-4] if name == "finetunekit_arrays/1" else content)
    with pytest.raises(ValueError, match=r"finetunekit\.json that does not fit its model"):
        ftk.load(path)


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as file:
        members = {name: change(name, file.read(name)) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
