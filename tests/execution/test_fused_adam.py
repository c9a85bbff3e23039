"""Is Adam in one operation Adam, where it is plain and the variable large, and else left alone?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.execution import fused_adam
from finetunekit.foundation import patches
from finetunekit.models import rate_multipliers

GRADIENTS = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_adam, "_LARGE", 12)


def by_formula(rates: list[float], betas: tuple[float, float], epsilon: float) -> np.ndarray:
    """Adam as it is published, with Keras' place of epsilon, in float64."""
    value, moment, velocity = np.ones((4, 3)), np.zeros((4, 3)), np.zeros((4, 3))
    for step, gradient in enumerate(GRADIENTS.astype("float64"), start=1):
        moment = betas[0] * moment + (1 - betas[0]) * gradient
        velocity = betas[1] * velocity + (1 - betas[1]) * gradient**2
        rate = rates[step - 1] * np.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step)
        value = value - rate * moment / (np.sqrt(velocity) + epsilon)
    return value


def applied(optimizer: Any, size: tuple[int, ...] = (4, 3)) -> tuple[np.ndarray, list[str]]:
    """A variable of ones after all gradients, and the kinds of operation of a step."""
    variable = keras.Variable(np.ones(size, "float32"))
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    with fused_adam.in_one_pass(optimizer):
        step = step.get_concrete_function(tf.TensorSpec(size, "float32"))
    assert "update_step" not in vars(optimizer)
    for gradient in GRADIENTS:
        step(tf.constant(gradient[: size[0], : size[1]]))
    found = np.array(keras.ops.convert_to_numpy(variable))
    return found, [operation.type for operation in step.graph.get_operations()]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.8)])
def test_it_is_the_formula(betas: tuple[float, float]) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer = keras.optimizers.Adam(schedule, *betas, epsilon=1e-3)
    found, kinds = applied(optimizer)
    rates = [0.1 * 0.5**step for step in range(6)]
    assert np.allclose(found, by_formula(rates, betas, 1e-3), rtol=1e-5)
    assert kinds.count("ResourceApplyAdam") == 1
    assert int(optimizer.iterations) == 6


@pytest.mark.parametrize("factor", [0.25, 0.0])
def test_learning_rate_multipliers_count(factor: float) -> None:
    optimizer = keras.optimizers.Adam(0.1, epsilon=1e-3)
    variable = keras.Variable(np.ones((4, 3), "float32"))
    optimizer.build([variable])
    rate_multipliers.set_factors(optimizer, [(variable, factor)])
    with fused_adam.in_one_pass(optimizer):
        for gradient in GRADIENTS:
            optimizer.apply([tf.constant(gradient)], [variable])
    found = keras.ops.convert_to_numpy(variable)
    assert np.allclose(found, by_formula([0.1 * factor] * 6, (0.9, 0.999), 1e-3), rtol=1e-5)


class OwnStep(keras.optimizers.Adam):
    """Adam with a step of its own."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)


def other_step(optimizer: Any) -> Any:
    own = optimizer.update_step
    optimizer.update_step = lambda *given: own(*given)
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.1, amsgrad=True),
        lambda: keras.optimizers.Nadam(0.1),
        lambda: keras.optimizers.SGD(0.1),
        lambda: OwnStep(0.1),
    ],
    ids=["amsgrad", "Nadam", "SGD", "subclass"],
)
def test_others_are_left_alone(make: Any) -> None:
    _, kinds = applied(make())
    assert "ResourceApplyAdam" not in kinds


def test_a_step_of_the_users_is_left_alone() -> None:
    optimizer = other_step(keras.optimizers.Adam(0.1))
    with fused_adam.in_one_pass(optimizer):
        assert not patches.patches_of(optimizer, "update_step")


def test_small_variables_keep_the_bits_of_keras() -> None:
    found, kinds = applied(keras.optimizers.Adam(0.1), (2, 2))
    assert "ResourceApplyAdam" not in kinds
    variable = keras.Variable(np.ones((2, 2), "float32"))
    plain = keras.optimizers.Adam(0.1)
    plain.build([variable])
    step = tf.function(lambda gradient: plain.apply([gradient], [variable]))
    for gradient in GRADIENTS:
        step(tf.constant(gradient[:2, :2]))
    assert np.array_equal(found, keras.ops.convert_to_numpy(variable))
