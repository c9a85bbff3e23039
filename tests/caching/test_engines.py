"""Do all engines give what Keras gives, and is what is not constant found out?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import finetunekit as ftk
from finetunekit.caching import cut, engines
from finetunekit.caching.cut import NotConstant
from finetunekit.caching.engines import Engine
from finetunekit.caching.extract import Extractor
from models import images, small_backbone, split_of

L = keras.layers


@pytest.mark.parametrize("name", ["graph", "litert", pytest.param("xla", marks=pytest.mark.slow)])
def test_engines_agree_with_keras(name: str) -> None:
    split, x = split_of(small_backbone()), images(11)
    wanted = Engine("keras", split)([x])
    engine = engines.checked(name, split, [x], wanted)
    assert engines.disagreement(engine([x]), wanted) < 1e-6
    # A smaller last batch is filled up, and the rest of it left out.
    last = engine([x[:3]])
    assert last[0].shape == (3, 8)
    assert engines.disagreement(last, [wanted[0][:3]]) < 1e-6


def test_several_inputs_and_outputs_keep_their_order() -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b", dtype="int32")
    x = L.Dense(5)(a)
    y = L.Embedding(9, 2)(b)
    split = cut.as_prefix(keras.Model([a, b], [y, x, L.Flatten()(y)]))
    batch = [
        np.random.default_rng(0).random((6, 4), dtype="float32"),
        np.arange(18).reshape(6, 3) % 9,
    ]
    batch[1] = batch[1].astype("int32")
    wanted = Engine("keras", split)(batch)
    assert [f.shape for f in wanted] == [(6, 3, 2), (6, 5), (6, 6)]
    for name in ("graph", "litert"):
        assert engines.disagreement(Engine(name, split)(batch), wanted) < 1e-6


def test_an_engine_that_disagrees_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    split, x = split_of(small_backbone()), images(4)
    wanted = [Engine("keras", split)([x])[0] * 1.001]
    with pytest.raises(ValueError, match=r"disagrees with Keras by 1\.0e-03"):
        engines.checked("graph", split, [x], wanted)

    def broken(*_: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(engines._MAKERS, "graph", broken)
    with pytest.raises(ValueError, match=r"cannot run the frozen part.*no such kernel"):
        engines.checked("graph", split, [x], wanted)
    # Left to choose, it goes on with Keras.
    extractor = Extractor(split)
    extractor._starts_with_graph = lambda rows: True  # type: ignore[method-assign]
    extractor([x], 400)
    assert extractor.name == "keras"


def test_disagreement() -> None:
    one = np.array([1.0, 2.0], "float32")
    assert engines.disagreement([one], [one]) == 0
    assert engines.disagreement([one], [one[:1]]) == float("inf")
    assert engines.disagreement([one * np.nan], [one]) == float("inf")
    assert engines.disagreement([one * np.nan], [one * np.nan]) == 0
    assert engines.disagreement([one * 0], [one * 0]) == 0


def noise(x: Any) -> Any:
    import tensorflow as tf

    return x + tf.random.normal(tf.shape(x))


NOT_CONSTANT = {
    "random": lambda: L.Lambda(noise, output_shape=(8,)),
    "of the whole batch": lambda: L.Lambda(lambda x: x - ops.mean(x, axis=0, keepdims=True)),
}


@pytest.mark.parametrize("what", NOT_CONSTANT)
def test_what_a_batch_shows(what: str, caplog: pytest.LogCaptureFixture) -> None:
    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        made = keras.Sequential(
            [keras.Input((8,)), L.Dense(8, trainable=False), NOT_CONSTANT[what](), L.Dense(1)]
        )
        made.compile("sgd", "mse")
        return made

    x = np.random.default_rng(0).random((12, 8), dtype="float32")
    with pytest.raises(NotConstant, match="samples of a batch depend"):
        Extractor(cut.split_frozen(model()), "keras")([x], 12)
    y = x[:, :1]
    ours, plain = model(), model()
    ftk.fit(ours, x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert "nothing is computed once" in caplog.text
    plain.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    if what != "random":
        assert np.array_equal(ours.layers[-1].kernel, plain.layers[-1].kernel)


class Counts(keras.layers.Layer):
    """A layer that counts its calls, and multiplies by their number."""

    def build(self, shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return x * self.calls


@pytest.mark.parametrize("engine", ["keras", "graph"])
def test_layers_that_change_themselves_are_found_out_and_set_back(
    engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    models = []
    for cache in (False, "auto"):
        keras.utils.set_random_seed(0)
        layers = [L.Dense(8, trainable=False), Counts(trainable=False), L.Dense(1)]
        model = keras.Sequential([keras.Input((8,)), *layers])
        model.compile("sgd", "mse")
        x = np.random.default_rng(0).random((12, 8), dtype="float32")
        options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
        ftk.fit(model, x, x[:, :1], cache=cache, engine=engine, **options)
        models.append(model)
    assert "changes each time its layer is called" in caplog.text
    for one, other in zip(models[0].weights, models[1].weights, strict=True):
        assert np.array_equal(one, other)
    before = float(models[1].layers[1].calls)
    assert "nothing is computed once" in ftk.explain(models[1], x).text
    assert float(models[1].layers[1].calls) == before
    with pytest.raises(ValueError, match="does not give the same for the same sample"):
        ftk.cache_features(models[1], x, verbose=0)


class AddsLoss(keras.layers.Layer):
    """Frozen, and a part of the loss all the same."""

    def call(self, x: Any) -> Any:
        self.add_loss(ops.mean(x))
        return x


def test_losses_of_the_prefix_are_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    model = keras.Sequential(
        [keras.Input((8,)), L.Dense(8, trainable=False), AddsLoss(trainable=False), L.Dense(1)]
    )
    model.compile("sgd", "mse")
    x = np.ones((4, 8), "float32")
    wanted = model.evaluate(x, x[:, :1], verbose=0)
    history = ftk.fit(model, x, x[:, :1], batch_size=4, verbose=0)
    assert history.history["loss"][0] == pytest.approx(wanted, rel=1e-6)
    assert "adds to the loss" in caplog.text


def test_an_engine_that_lost_is_not_prepared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    split, x, tried = split_of(small_backbone()), images(4), []
    checked = engines.checked

    def noted(name: str, *args: Any, **options: Any) -> Any:
        tried.append(name)
        return checked(name, *args, **options)

    monkeypatch.setattr(engines, "checked", noted)
    monkeypatch.setattr(engines, "promising", lambda *_: ["litert", "graph"])
    monkeypatch.setattr(engines, "seconds_a_row", lambda engine, _: {"litert": 1e-9}[engine.name])
    extractor = Extractor(split)
    for left in (400, 396, 392, 388):
        extractor([x], left)
    assert extractor.name == "litert"
    assert tried == ["litert"]
