"""Does injected Dropout act in training, share all weights, and leave predictions alone?"""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import (
    L,
    Subclassed,
    images,
    labels,
    small_backbone,
    small_sequential,
    tiny_backbone,
    values,
)
from parameters import often


def nested() -> keras.Model:
    """Dict inputs, two outputs, a nested Functional used twice, a nested Sequential, raw ops."""
    backbone = small_backbone("inner")
    chain = keras.Sequential([keras.Input((8,)), L.Dense(6, name="d1"), L.ReLU()], name="chain")
    a, b = keras.Input((16, 16, 3), name="a"), keras.Input((16, 16, 3), name="b")
    x, y = chain(backbone(a)), chain(backbone(b))
    z = keras.ops.maximum(x, y) * 2.0
    outputs = {"one": L.Dense(1, name="one")(z), "two": L.Dense(2, name="two")(x)}
    return keras.Model({"a": a, "b": b}, outputs, name="outer")


@pytest.mark.parametrize(
    "after",
    often(
        ["conv1", "inner", "d1", keras.layers.Conv2D, ["conv2", "d1"]], ("inner", ["conv2", "d1"])
    ),
)
def test_nested_graphs_predict_the_same(after: object) -> None:
    model = nested()
    x = {"a": images(4), "b": images(4, seed=1)}
    new = ftk.inject_dropout(model, 0.5, after=after)
    expected, found = model.predict(x, verbose=0), new.predict(x, verbose=0)
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    drops = list(ftk.find_layers(new, keras.layers.Dropout))
    assert len(drops) == (2 if isinstance(after, list) or isinstance(after, type) else 1)
    assert keras.layers.Dropout not in {type(p) for p in ftk.find_layers(model).values()}
    assert {id(v) for v in new.weights} == {id(v) for v in model.weights}
    assert not np.allclose(new(x, training=True)["one"], new(x, training=False)["one"])


def test_sequential_stays_sequential() -> None:
    model = small_sequential()
    new = ftk.inject_dropout(model, 0.5, after="relu1")
    assert isinstance(new, keras.Sequential)
    assert [layer.name for layer in new.layers][2:4] == ["relu1", "relu1_dropout"]
    assert np.array_equal(model.predict(images(4), verbose=0), new.predict(images(4), verbose=0))


def test_a_shared_layer_gets_one_dropout() -> None:
    shared = L.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(shared(inputs)))
    new = ftk.inject_dropout(model, 0.5, after="shared")
    assert list(ftk.find_layers(new, keras.layers.Dropout)) == ["shared_dropout"]


def test_twice_after_one_layer() -> None:
    once = ftk.inject_dropout(small_backbone(), 0.5, after="conv1")
    twice = ftk.inject_dropout(once, 0.2, after="conv1")
    assert len(ftk.find_layers(twice, keras.layers.Dropout)) == 2


def dropouts(model: keras.Model) -> list[str]:
    return list(ftk.find_layers(model, keras.layers.Dropout))


def test_the_same_twice_is_once() -> None:
    model = ftk.add_head(small_backbone(), "binary")
    once = ftk.inject_dropout(model, 0.5, after=["backbone/conv1", "backbone/conv2"], seed=1)
    again = ftk.inject_dropout(once, 0.5, after=["backbone/conv1"], seed=1)
    assert dropouts(again) == dropouts(once) == ["small/conv1_dropout", "small/conv2_dropout"]
    other = ftk.inject_dropout(again, 0.5, after=["backbone/conv1"], seed=2)
    assert len(dropouts(other)) == 3


def test_its_own_dropouts_are_not_matched() -> None:
    once = ftk.inject_dropout(small_backbone(), 0.5, after="conv.*")
    twice = ftk.inject_dropout(once, 0.2, after="conv.*")
    assert dropouts(once) == ["conv1_dropout", "conv2_dropout"]
    assert sorted(dropouts(twice)) == [
        "conv1_dropout",
        "conv1_dropout_1",
        "conv2_dropout",
        "conv2_dropout_1",
    ]
    with pytest.raises(ValueError, match="are inputs, or Dropout put in before: 'conv1_dropout'"):
        ftk.inject_dropout(once, 0.2, after="conv1_dropout")
    x = images(4)
    assert np.array_equal(twice.predict(x, verbose=0), once.predict(x, verbose=0))


def test_dropout_has_the_stated_rate() -> None:
    inputs = keras.Input((1000,))
    model = keras.Model(inputs, L.Identity(name="same")(inputs))
    new = ftk.inject_dropout(model, 0.3, after="same", seed=1)
    dropped = keras.ops.convert_to_numpy(new(np.ones((20, 1000), "float32"), training=True))
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert dropped.mean() == pytest.approx(1.0, abs=0.03)


def test_a_compiled_model_keeps_compilation_and_state() -> None:
    def own_loss(y_true: object, y_pred: object) -> object:
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    model = ftk.add_head(tiny_backbone(), "regression")
    model.compile(
        keras.optimizers.Adam(1e-2), own_loss, metrics=[keras.metrics.MeanAbsoluteError()]
    )
    model.fit(images(), labels(), verbose=0)
    new = ftk.inject_dropout(model, 0.2, after="backbone")
    state = zip(model.optimizer.variables, new.optimizer.variables, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in state)
    assert new.optimizer is not model.optimizer
    assert new.loss is own_loss
    assert new.fit(images(), labels(), verbose=0).history.keys() == {"loss", "mean_absolute_error"}
    model.fit(images(), labels(), verbose=0)


def test_roles_and_task_move_on(tmp_path: Path) -> None:
    model = ftk.add_head(small_backbone(), "binary", hidden_units=[4])
    new = ftk.inject_dropout(model, 0.2, after=["backbone/conv1", "head/dense"])
    assert list(ftk.find_layers(new, 2)) == ["small/image", "small/conv1"]
    loaded = keras.saving.load_model(ftk.save(new, tmp_path / "model.keras"))
    assert np.array_equal(loaded.predict(images(4), verbose=0), model.predict(images(4), verbose=0))


def test_inside_a_subclassed_model_is_an_error() -> None:
    model = Subclassed()
    model(images(2))
    with pytest.raises(ValueError, match="'subclassed', a Subclassed"):
        ftk.inject_dropout(model, 0.5, after="block0")


class TestForOneFit:
    def test_acts_during_fit_only(self) -> None:
        inputs = keras.Input((50,))
        model = keras.Model(
            inputs, L.Dense(1, use_bias=False, name="d")(L.Identity(name="i")(inputs))
        )
        model.get_layer("d").set_weights([np.ones((50, 1))])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x, y = np.ones((256, 50), "float32"), np.full((256, 1), 50, "float32")
        callback = ftk.callbacks.DropoutInjection(0.5, after="i")
        assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(0, abs=1e-6)
        history = model.fit(x, y, verbose=0, validation_data=(x, y), callbacks=[callback]).history
        # The variance of a sum of 50 values, each 0 or 2.
        assert history["loss"][0] == pytest.approx(50, rel=0.3)
        assert history["val_loss"][0] == pytest.approx(0, abs=1e-6)
        assert "call" not in vars(model.get_layer("i"))
        assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize(
        ("nest", "cache"),
        often(itertools.product([False, True], repeat=2), ((False, True), (True, False))),
    )
    def test_two_on_one_layer_both_act(self, nest: bool, cache: object) -> None:
        inputs = keras.Input((50,))
        base = L.Identity(name="i")
        if nest:
            base = keras.Sequential([keras.Input((50,)), base], name="i")
        model = keras.Model(inputs, L.Dense(1, use_bias=False, name="d")(base(inputs)))
        model.get_layer("d").set_weights([np.ones((50, 1))])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x, y = np.ones((512, 50), "float32"), np.full((512, 1), 50, "float32")
        callbacks = [ftk.callbacks.DropoutInjection(0.5, after="i", seed=s) for s in (1, 2)]
        history = ftk.fit(model, x, y, verbose=0, cache=cache, callbacks=callbacks).history
        # The variance of a sum of 50 values, each 0 or, one time in four, 4.
        assert history["loss"][0] == pytest.approx(150, rel=0.2)
        assert "call" not in vars(model.get_layer("i"))
        assert ftk.fit(model, x, y, verbose=0).history["loss"][0] == pytest.approx(0, abs=1e-6)

    def test_beside_dropout_that_was_put_in(self) -> None:
        inputs = keras.Input((50,))
        model = keras.Model(
            inputs, L.Dense(1, use_bias=False, name="d")(L.Identity(name="i")(inputs))
        )
        model.get_layer("d").set_weights([np.ones((50, 1))])
        model = ftk.inject_dropout(model, 0.5, after="i", seed=1)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x, y = np.ones((512, 50), "float32"), np.full((512, 1), 50, "float32")
        callback = ftk.callbacks.DropoutInjection(0.5, after="i", seed=2)
        history = ftk.fit(model, x, y, verbose=0, callbacks=[callback]).history
        assert history["loss"][0] == pytest.approx(150, rel=0.2)
        assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(50, rel=0.2)

    def test_inside_nested_and_subclassed_models(self) -> None:
        model = Subclassed()
        model(images(2))
        model.compile("sgd", "mse")
        callback = ftk.callbacks.DropoutInjection(0.5, after=["conv1", "block0"])
        ftk.fit(model, images(), labels(), verbose=0, callbacks=[callback])
        assert all("call" not in vars(layer) for layer in ftk.find_layers(model).values())

    def test_a_model_saved_meanwhile_has_no_dropout(self, tmp_path: Path) -> None:
        model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
        path = tmp_path / "best.keras"
        callbacks = [
            ftk.callbacks.DropoutInjection(0.5, after="backbone"),
            ftk.callbacks.SaveBest(path, monitor="loss"),
        ]
        ftk.fit(model, images(), labels(), verbose=0, callbacks=callbacks)
        loaded = keras.saving.load_model(path)
        assert len(values(loaded)) == len(values(model))
        assert not [p for p in ftk.find_layers(loaded).values() if isinstance(p, L.Dropout)]
