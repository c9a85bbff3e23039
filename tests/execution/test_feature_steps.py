"""Changes in the middle of an epoch, and steps of the user's own: as in `model.fit`."""

from __future__ import annotations

import itertools
import logging
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from frozen_dense import dense, pipeline, same_training, samples, weights
from parameters import often

X, Y = samples(24)


class At(keras.callbacks.Callback):
    """Does something to the model after a training step, or after a step of the validation."""

    def __init__(self, step: int, act: Callable[[keras.Model], Any], *, test: bool = False) -> None:
        super().__init__()
        self.step, self.act, self.test, self.done = step, act, test, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._count(not self.test)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._count(self.test)

    def _count(self, counts: bool) -> None:
        self.done += counts
        if counts and self.done == self.step:
            self.act(self.model)


def double(model: keras.Model) -> None:
    """Changes a frozen weight."""
    kernel = model.get_layer("backbone").get_layer("first").kernel
    kernel.assign(kernel * 2)


ACTS: dict[str, Callable[[], At]] = {
    "freezing": lambda: At(4, lambda model: ftk.freeze_layers(model, "middle")),
    "unfreezing": lambda: At(4, lambda model: ftk.unfreeze_layers(model, "second")),
    "unfreezing all": lambda: At(4, ftk.unfreeze_layers),
    "the last step of an epoch": lambda: At(3, lambda m: ftk.unfreeze_layers(m, "second")),
    "in a validation": lambda: At(4, lambda m: ftk.unfreeze_layers(m, "second"), test=True),
    "a frozen weight": lambda: At(4, double),
}
OFTEN = (
    ("freezing", None),
    ("in a validation", 300),
    ("a frozen weight", None),
)


@pytest.mark.parametrize(
    ("act", "memory_limit"), often(itertools.product(ACTS, [None, 300]), OFTEN)
)
def test_changes_between_steps(act: str, memory_limit: int | None) -> None:
    plain, ours = dense(), dense()
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "verbose": 0, "shuffle": False}
    options["validation_data"] = samples(20, 1)
    wanted = plain.fit(X, Y, **options, callbacks=[ACTS[act]()])
    found = ftk.fit(
        ours,
        X,
        Y,
        **options,
        callbacks=[ACTS[act]()],
        engine="keras",
        memory_limit=memory_limit,
    )
    assert found.history == wanted.history
    assert same_training(plain, ours)


@pytest.mark.parametrize(
    "act", often(["freezing", "unfreezing", "unfreezing all"], ("unfreezing",))
)
def test_changes_between_steps_on_a_pipeline(act: str) -> None:
    plain, ours = dense(), dense()
    options: dict[str, Any] = {"epochs": 3, "verbose": 0, "shuffle": False}
    plain.fit(pipeline(24), **options, callbacks=[ACTS[act]()])
    options |= {"engine": "keras", "deterministic": True}
    ftk.fit(ours, pipeline(24), **options, callbacks=[ACTS[act]()])
    assert same_training(plain, ours)


def test_a_shuffled_epoch_goes_on_in_its_order_after_a_change() -> None:
    models = []
    for cache in (False, "auto"):
        models.append(dense())
        options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "verbose": 0, "seed": 1}
        ftk.fit(models[-1], X, Y, **options, cache=cache, callbacks=[ACTS["unfreezing"]()])
    for one, other in zip(models[0].weights, models[1].weights, strict=True):
        assert np.allclose(one, other, atol=1e-6)


def doubled_loss(model: keras.Model) -> None:
    own = model.compute_loss
    model.compute_loss = lambda *args, **options: 2 * own(*args, **options)


def own_step(model: keras.Model) -> None:
    def train_step(self: Any, data: Any) -> Any:
        x, y, w = keras.utils.unpack_x_y_sample_weight(data)
        return type(self).train_step(self, (x * 2, y, w))

    model.train_step = types.MethodType(train_step, model)


def own_test_step(model: keras.Model) -> None:
    model.test_step = lambda data: type(model).test_step(model, (data[0] * 2, data[1]))


@pytest.mark.parametrize("change", often([doubled_loss, own_step, own_test_step], (own_step,)))
def test_steps_set_on_the_instance_are_used(
    change: Callable[[keras.Model], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plain, ours = dense(), dense()
    change(plain)
    change(ours)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shuffle": False}
    options["validation_data"] = samples(20, 1)
    wanted = plain.fit(X, Y, **options, verbose=0)
    found = ftk.fit(ours, X, Y, **options, engine="keras", verbose=2)
    assert found.history == wanted.history
    assert same_training(plain, ours)
    assert "of its own" in caplog.text


@pytest.mark.filterwarnings("ignore:Even though the")
def test_functions_that_run_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plain, ours = dense(), dense()
    options: dict[str, Any] = {"epochs": 1, "batch_size": 24, "shuffle": False}
    tf.config.run_functions_eagerly(True)
    try:
        plain.fit(X, Y, **options, verbose=0)
        ftk.fit(ours, X, Y, **options, engine="keras", verbose=2)
    finally:
        tf.config.run_functions_eagerly(False)
    assert same_training(plain, ours)
    assert "it runs eagerly" in caplog.text


@pytest.mark.slow
def test_xla_rounds_otherwise_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plain, ours = dense(jit_compile=True), dense(jit_compile=True)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "shuffle": False}
    plain.fit(X, Y, **options, verbose=0)
    ftk.fit(ours, X, Y, **options, engine="keras", verbose=2)
    assert "not bit for bit" in caplog.text
    for one, other in zip(weights(plain), weights(ours), strict=True):
        assert np.allclose(one, other, atol=1e-5)


SIZES: dict[str, dict[str, Any]] = {
    "of steps": {"validation_steps": 2},
    "given": {"validation_steps": 2, "validation_batch_size": 5},
    "of training": {"validation_steps": 2, "batch_size": 6},
    "neither": {},
}


@pytest.mark.parametrize(
    ("size", "cache"),
    often(itertools.product(SIZES, [False, "auto"]), (("of training", "auto"),)),
)
def test_the_size_of_validation_batches(size: str, cache: Any) -> None:
    """Keras makes `validation_steps` batches of all validation samples if no size is given."""
    plain, ours = dense(), dense()
    options: dict[str, Any] = {"validation_data": samples(90, 1), "verbose": 0, **SIZES[size]}
    wanted = plain.fit(X, Y, **options, shuffle=False)
    found = ftk.fit(ours, X, Y, **options, engine="keras", shuffle=False, cache=cache)
    assert found.history == wanted.history
    # An order of ours comes in batches that are not Keras' own.
    seeded = ftk.fit(dense(), X, Y, **options, seed=1, cache=cache, epochs=1)
    tolerance = 0.1 * wanted.history["val_loss"][0]
    assert abs(seeded.history["val_loss"][0] - wanted.history["val_loss"][0]) < tolerance
