"""Gradient accumulation: do rates, schedules and warm-ups count updates, as Keras' Adam does?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.execution import fused_adam
from finetunekit.foundation import keras_optimizers
from finetunekit.models import rate_multipliers
from finetunekit.training import stages
from parameters import often

L = keras.layers


def variable(shape: tuple[int, ...] = (3,)) -> keras.Variable:
    return keras.Variable(np.linspace(-1, 1, int(np.prod(shape)), dtype="float32").reshape(shape))


def value(of: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(of))


def gradients(count: int, shape: tuple[int, ...] = (3,)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype("float32") for _ in range(count)]


def applied(optimizer: Any, given: list[np.ndarray], *, fused: bool = False) -> np.ndarray:
    """What is left of a variable after an update or accumulation for each gradient."""
    weights = variable(given[0].shape)
    optimizer.build([weights])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [weights]))
    if fused:
        with fused_adam.in_one_pass(optimizer):
            step = step.get_concrete_function(tf.TensorSpec(given[0].shape, "float32"))
    for gradient in given:
        step(tf.constant(gradient))
    return value(weights)


@pytest.mark.parametrize("every", [None, 2, 3])
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_fused_step_of_a_large_variable_is_keras_own(name: str, every: int | None) -> None:
    options = {"learning_rate": 1e-2, "gradient_accumulation_steps": every, "clipnorm": 1.0}
    given = gradients(7, (256, 256))
    kind = getattr(keras.optimizers, name)
    expected = applied(kind(**options), given)
    found = applied(kind(**options), given, fused=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found - value(variable((256, 256)))).max() > 1e-3


def test_a_schedule_goes_by_updates() -> None:
    rates = [0.5, 0.25, 0.125]
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2, weight_decay=0.1)
    table = keras.ops.convert_to_tensor(np.array(rates, "float32"))
    rate_multipliers.change(optimizer).schedule = lambda done: table[done]
    given, expected = gradients(6), value(variable())
    for rate, one, other in zip(rates, given[::2], given[1::2], strict=True):
        expected = expected - 0.1 * rate * expected - rate * (one + other) / 2
    np.testing.assert_allclose(applied(optimizer, given), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("every", [1, 2])
def test_a_warm_up_goes_by_updates(name: str, every: int) -> None:
    """Adam's by the formula of its paper: a late variable's bias goes by its own updates."""
    optimizer = getattr(keras.optimizers, name)(
        0.1, gradient_accumulation_steps=every if every > 1 else None
    )
    early, late = variable(), variable()
    optimizer.build([early, late])
    given = gradients(6 * every)
    for number, gradient in enumerate(given):
        if number == 2 * every:
            rate_multipliers.warm_up(optimizer, [late], 3)
        held = value(early), value(late)
        optimizer.apply([gradient, gradient], [early, late])
        if (number + 1) % every:
            assert np.array_equal(held[1], value(late))
            continue
        update, mean = number // every, np.mean(given[number + 1 - every : number + 1], axis=0)
        moved = value(late) - held[1]
        if update < 2:
            continue
        share = min(1.0, (update - 1) / 3)
        if name == "SGD":
            np.testing.assert_allclose(moved, -0.1 * share * mean, rtol=1e-5, atol=1e-7)
            continue

        def unbiased(steps: int) -> float:
            return float(np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps))

        ratio = share * unbiased(update - 1) / unbiased(update + 1)
        whole = value(early) - held[0]  # As old as the run, and with the same gradients.
        np.testing.assert_allclose(moved, ratio * whole, rtol=1e-3, atol=1e-6)


def linear(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, use_bias=False)])
    model.compile(optimizer, "mse")
    return model


def data(count: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 2)).astype("float32")
    return x, x @ np.array([[1.0], [-2.0]], "float32")


@pytest.mark.parametrize("begun", often([0, 1], (1,)))
def test_the_range_test_goes_by_updates(begun: int) -> None:
    """Each loss is that of the batches of an update, at its rate, against a loop by hand."""
    model = linear(keras.optimizers.SGD(0.0, gradient_accumulation_steps=2))
    x, y = data(8)
    if begun:
        model.fit(x[:4], y[:4], batch_size=4, verbose=0)
    kernel = model.get_weights()[0].astype("float64")
    options = {"low": 1e-3, "high": 1e-1, "steps": 20, "batch_size": 8 if begun else 4}
    found = ftk.find_learning_rate(model, x, y, **options, verbose=0)
    held = 2 * x[:4].T @ (x[:4] @ kernel - y[:4]) / 4 if begun else 0.0
    assert len(found.rates) == len(found.losses) == 20
    for number, (rate, loss) in enumerate(zip(found.rates, found.losses, strict=True)):
        error = x @ kernel - y
        assert loss == pytest.approx(float((error**2).mean()), rel=1e-4)
        gradient = 2 * x.T @ error / 8
        if begun and number == 0:
            gradient = (gradient + held) / 2  # The batch accumulated before counts for half.
        kernel -= rate * gradient


def test_a_schedule_that_goes_on_in_mid_accumulation() -> None:
    """Three batches an epoch, two an update, and a batch accumulated before the run."""
    x, y = data(12)
    results = []
    options = {"batch_size": 4, "epochs": 4, "shuffle": False, "verbose": 0}
    for parts in ([4], [1, 4]):
        model = linear(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
        model.fit(x[:4], y[:4], batch_size=4, verbose=0)
        for first, last in zip([0, *parts], parts, strict=False):
            schedule = ftk.callbacks.Schedule("linear", warmup=2)
            stop = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, m=model, end=last: setattr(
                    m, "stop_training", epoch + 1 == end
                )
            )
            model.fit(x, y, initial_epoch=first, callbacks=[schedule, stop], **options)
        results.append(model.get_weights()[0])
    np.testing.assert_array_equal(*results)


def test_late_layers_of_a_stage_warm_up_by_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        stages.rate_multipliers, "warm_up", lambda optimizer, late, steps: asked.append(steps)
    )
    for every in (None, 4):
        model = keras.Sequential(
            [keras.Input((2,)), L.Dense(2, name="body"), L.Dense(1, name="top")]
        )
        model.compile(keras.optimizers.SGD(0.0, gradient_accumulation_steps=every), "mse")
        plan = [ftk.Stage(trainable="top", learning_rate=None)]
        plan.append(ftk.Stage(trainable=".*", epochs=2, learning_rate=None))
        ftk.fit_in_stages(model, *data(80), stages=plan, batch_size=2, verbose=0)
    assert asked == [8, 2], "a tenth of 80 batches"


def test_batches_and_updates_are_counted_apart() -> None:
    """As Keras does: `iterations` are updates, its own counter is of batches."""
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=3)
    weights = variable()
    for number in range(1, 8):
        optimizer.apply([np.ones(3, "float32")], [weights])
        assert int(keras_optimizers.batches_seen(optimizer)) == number
        assert int(optimizer.iterations) == number // 3
    assert rate_multipliers.batches_per_update(optimizer) == 3
    assert rate_multipliers.batches_per_update(keras.optimizers.SGD()) == 1
