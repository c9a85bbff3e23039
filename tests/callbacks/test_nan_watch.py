"""Are the first bad batch, layer and samples named, and are the weights those of before?"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.callbacks import nan_diagnosis
from models import L, images, labels, tiny_backbone, values
from parameters import often


class Log(L.Layer):
    """NaN for negative numbers."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.log(inputs)


def logarithmic() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="numbers")
    x = L.Dense(4, name="first", kernel_initializer="identity")(inputs)
    x = L.BatchNormalization(name="norm")(Log(name="log")(x))
    model = keras.Model(inputs, L.Dense(1, name="out")(x))
    return ftk.compile_for_task(model, "regression", optimizer=keras.optimizers.SGD(1e-4))


def numbers(bad: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(1, 2, (40, 4)).astype("float32")
    if bad is not None:
        x[bad] = -1.0
    return x, x.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("shuffle", "frozen"),
    often(itertools.product([True, False], repeat=2), ((True, False), (False, True))),
)
def test_layer_batch_and_sample_are_named(
    shuffle: bool, frozen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = logarithmic()
    if frozen:
        ftk.freeze_layers(model, "first")
    else:
        ftk.freeze_layers(model, "norm")
    x, y = numbers(bad=21)
    watch = ftk.callbacks.NaNWatch()
    options = {"batch_size": 8, "seed": 3, "shuffle": shuffle, "verbose": 0, "epochs": 3}
    history = ftk.fit(model, x, y, callbacks=[watch], **options)
    assert (watch.epoch, watch.layer, watch.samples) == (0, "log", [21])
    if not shuffle:
        assert watch.batch == 2
    assert history.epoch == [0]
    assert "first in the output of 'log', a Log" in caplog.text
    assert "samples 21" in caplog.text
    assert "a smaller learning rate than 0.0001" in watch.text
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert "apply" not in vars(model.optimizer)
    assert "call" not in vars(model.get_layer("log"))


def test_the_weights_are_those_of_the_step_before() -> None:
    """Reference: a run over the two batches before the bad one."""
    (x, y), found = numbers(bad=21), []
    for rows, callbacks in ((slice(0, 16), []), (slice(None), [ftk.callbacks.NaNWatch()])):
        model = logarithmic()
        ftk.freeze_layers(model, "norm")
        options = {"batch_size": 8, "shuffle": False, "verbose": 0}
        ftk.fit(model, x[rows], y[rows], callbacks=callbacks, **options)
        found.append(values(model))
    for one, other in zip(found[0].values(), found[1].values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_statistics_are_those_of_the_epochs_beginning() -> None:
    model = logarithmic()
    before = [
        np.array(keras.ops.convert_to_numpy(v))
        for v in model.get_layer("norm").non_trainable_variables
    ]
    watch = ftk.callbacks.NaNWatch()
    ftk.fit(model, *numbers(bad=3), callbacks=[watch], verbose=0)
    assert watch.epoch == 0
    for one, other in zip(before, model.get_layer("norm").non_trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cache", often(["auto", False], ("auto",)))
def test_a_run_without_nan_is_the_same_with_it(cache: Any) -> None:
    found = []
    for callbacks in ([], [ftk.callbacks.NaNWatch()]):
        keras.utils.set_random_seed(0)
        model = ftk.add_head(tiny_backbone(), "binary", hidden_units=[4], dropout=0.2)
        ftk.freeze_layers(model, "backbone")
        ftk.compile_for_task(model, optimizer="adamw")
        options = {"epochs": 3, "seed": 0, "verbose": 0, "cache": cache, "engine": "keras"}
        history = ftk.fit(model, images(), labels(), callbacks=callbacks, **options)
        found.append((history.history["loss"], values(model)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    for one, other in zip(found[0][1].values(), found[1][1].values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_batch_is_right_in_a_run_that_was_resumed(tmp_path: Path) -> None:
    class Cut(keras.callbacks.Callback):
        def __init__(self, after: int) -> None:
            super().__init__()
            self.after = after

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if batch == self.after:
                raise KeyboardInterrupt

    x, y = numbers(bad=37)
    for after in (2, 99):
        model = logarithmic()
        ftk.freeze_layers(model, "norm")
        watch = ftk.callbacks.NaNWatch()
        keep = ftk.callbacks.Checkpoint(tmp_path / "run.ckpt", every=1)
        options = {"batch_size": 8, "shuffle": False, "verbose": 0, "resume": keep.path}
        with contextlib.suppress(KeyboardInterrupt):
            ftk.fit(model, x, y, callbacks=[watch, Cut(after), keep], **options)
    assert (watch.batch, watch.samples) == (4, [37])


def test_a_loss_of_ones_own() -> None:
    model = logarithmic()
    model.compile("sgd", lambda y, p: keras.ops.log(p * 0.0 - 1.0), metrics=[])
    watch = ftk.callbacks.NaNWatch()
    ftk.fit(model, *numbers(), callbacks=[watch], verbose=0)
    assert "first in the loss, of outputs that are finite" in watch.text
    assert "from_logits=True" in watch.text
    assert (watch.batch, watch.layer) == (0, None)
    assert "the gradients are finite" in watch.text


def test_a_rate_that_is_much_too_large() -> None:
    model = ftk.add_head(tiny_backbone(), "regression")
    ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(1e12))
    watch = ftk.callbacks.NaNWatch()
    x, y = images(), images().mean(axis=(1, 2, 3))[:, None]
    ftk.fit(model, x, y, callbacks=[watch], epochs=9, batch_size=8, verbose=0)
    assert watch.epoch is not None
    assert "NaN or infinity in epoch" in watch.text
    assert "1e+12" in watch.text
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_in_plain_keras_and_pipelines_the_batch_is_named() -> None:
    import tensorflow as tf

    for own in (True, False):
        model = logarithmic()
        data = tf.data.Dataset.from_tensor_slices(numbers(bad=21)).batch(8)
        watch = ftk.callbacks.NaNWatch()
        if own:
            ftk.fit(model, data, callbacks=[watch], verbose=0)
        else:
            model.fit(data, shuffle=False, callbacks=[watch], verbose=0)
        assert (watch.epoch, watch.batch, watch.layer) == (0, 2, None)
        assert "first in the gradients of" in watch.text


def test_float16_is_told() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, L.Dense(1, name="wide", kernel_initializer="ones")(inputs))
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    keras.config.set_dtype_policy("float32")
    cause = nan_diagnosis.find(
        model, (np.full((2, 4), 6e4, "float32"), np.zeros((2, 1), "float32"))
    )
    assert cause.layer == "wide"
    assert "float16 ends at 65504" in cause.cure
