"""Are factors on the rate what a formula says, together with clipping, decay, averages and more?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import rate_multipliers

L = keras.layers
FACTORS = (1.0, 0.25, 0.0)


def value(of: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(of), "float64")


def by_hand(options: dict[str, Any], given: list[list[np.ndarray]]) -> tuple[list, list]:
    """SGD as its formulas say, in float64: what is left of the weights, and their averages."""
    weights = [np.full(2, number + 1.0) for number in range(3)]
    averages = [w.copy() for w in weights]
    every = options.get("gradient_accumulation_steps") or 1
    decay, kept = options.get("weight_decay") or 0.0, options.get("ema_momentum", 0.99)
    for first in range(0, len(given), every):
        means = [sum(parts) / every for parts in zip(*given[first : first + every], strict=True)]
        if options.get("clipnorm"):
            norms = [np.linalg.norm(m) for m in means]
            means = [m * min(1, options["clipnorm"] / n) for m, n in zip(means, norms, strict=True)]
        if options.get("global_clipnorm"):  # The norm of all gradients, factors left out.
            norm = np.sqrt(sum((m**2).sum() for m in means))
            means = [m * min(1, options["global_clipnorm"] / norm) for m in means]
        for number, (mean, factor) in enumerate(zip(means, FACTORS, strict=True)):
            rate = 0.1 * factor
            weights[number] = weights[number] * (1 - decay * rate) - rate * mean
            old = kept if first else 0.0  # The first average is the weights, as in Keras.
            averages[number] = old * averages[number] + (1 - old) * weights[number]
    return weights, averages


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.5},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.5},
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "clipnorm": 0.5, "weight_decay": 0.5},
    ],
    ids=str,
)
def test_factors_are_the_formula(options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    given = [[random.normal(size=2).astype("float32") for _ in range(3)] for _ in range(6)]
    variables = [keras.Variable(np.full(2, n + 1.0, "float32")) for n in range(3)]
    optimizer = keras.optimizers.SGD(0.1, **options)
    rate_multipliers.set_factors(optimizer, zip(variables, FACTORS, strict=True))
    optimizer.build(variables)
    for gradients in given:
        optimizer.apply(list(gradients), variables)
    weights, averages = by_hand(options, given)
    np.testing.assert_allclose([value(v) for v in variables], weights, rtol=1e-5)
    assert np.array_equal(value(variables[2]), np.full(2, 3.0)), "a factor of 0 stands still"
    if options.get("use_ema"):
        optimizer.finalize_variable_values(variables)
        np.testing.assert_allclose([value(v) for v in variables], averages, rtol=1e-5)


def test_decay_is_taken_off_some_and_scaled_by_factor_and_schedule() -> None:
    """Without gradients, decoupled decay alone moves the weights."""
    one, other = (keras.Variable(np.ones(2, "float32")) for _ in range(2))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    rate_multipliers.set_factors(optimizer, [(one, 0.5), (other, 0.5)], undecayed=[other])
    rate_multipliers.change(optimizer).schedule = lambda done: 0.25
    optimizer.build([one, other])
    for _ in range(2):
        optimizer.apply([np.zeros(2, "float32")] * 2, [one, other])
    np.testing.assert_allclose(value(one), (1 - 0.1 * 0.5 * 0.5 * 0.25) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(value(other), 1.0)
    assert optimizer.weight_decay == 0.5


def stack() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [L.Dense(2, name=name) for name in ("one", "two", "three")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.SGD(0.8), "mse")
    return model


@pytest.mark.parametrize(
    ("decay", "rates", "expected"),
    [
        (0.5, None, (0.25, 0.5, 1.0)),
        (None, {"two": 0.1}, (1.0, 0.1, 1.0)),
        (0.5, {"two": 0.1}, (0.25, 0.05, 1.0)),
        (0.5, {"one": 3.0, "three": 0.0}, (0.75, 0.5, 0.0)),
        (0.5, {".*": 0.5, "two": 4.0}, (0.125, 2.0, 0.5)),
        (1.0, {"one": 0.5}, (0.5, 1.0, 1.0)),
    ],
)
def test_decay_by_depth_and_rates_multiply_and_a_later_selector_wins(
    decay: float | None, rates: dict[str, float] | None, expected: tuple[float, ...]
) -> None:
    model = stack()
    ftk.layerwise_optimizer(model, model.optimizer, layer_decay=decay, rates=rates)
    found = ftk.learning_rates(model)
    np.testing.assert_allclose(
        [found[n] for n in ("one", "two", "three")], 0.8 * np.array(expected)
    )
    # One step of SGD moves each kernel by its own rate times the gradient of plain Keras.
    plain, x = stack(), np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    before = [value(v) for v in model.trainable_variables]
    for each in (model, plain):
        each.train_on_batch(x, x)
    rows = zip(model.trainable_variables, plain.trainable_variables, before, strict=True)
    for number, (mine, theirs, start) in enumerate(rows):
        moved = (value(theirs) - start) * expected[number // 2]
        np.testing.assert_allclose(value(mine) - start, moved, rtol=1e-3, atol=1e-6)


def test_rates_of_the_next_step_hold_the_schedule() -> None:
    model = stack()
    rate_multipliers.change(model.optimizer).schedule = lambda done: 0.5 + done
    assert list(ftk.learning_rates(model).values()) == pytest.approx([0.4] * 3)
    model.optimizer.iterations.assign(1)
    assert list(ftk.learning_rates(model).values()) == pytest.approx([1.2] * 3)


def test_carry_copies_and_described_says_what_differs() -> None:
    one, other, third = (keras.Variable(np.ones(2, "float32")) for _ in range(3))
    old, new = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)
    rate_multipliers.set_factors(old, [(one, 0.5)], undecayed=[other])
    rate_multipliers.warm_up(old, [third], 4)
    rate_multipliers.carry(old, new)
    assert rate_multipliers.fingerprint(new)[:3] == rate_multipliers.fingerprint(old)[:3]
    names = {"one": one, "other": other, "third": third}
    assert rate_multipliers.described(new, names) == {"one": [0.5, True], "other": [1.0, False]}
    assert rate_multipliers.warming(new, third) == (0, 4)
    assert rate_multipliers.warming(new, one) is None
    rate_multipliers.set_factors(new, [(one, 0.25)])
    assert float(rate_multipliers.factor(old, one)) == 0.5, "a copy, not the same"
    held = rate_multipliers.kept(old)
    rate_multipliers.set_factors(old, [(one, 7.0), (third, 2.0)])
    rate_multipliers.put_back(old, held)
    assert rate_multipliers.described(old, names) == {"one": [0.5, True], "other": [1.0, False]}
    assert rate_multipliers.warming(old, third) == (0, 4), "what warms up goes on doing so"


@pytest.mark.parametrize(
    ("warmup", "total", "rise"),
    [(0.1, 14, 1), (0.1, 15, 2), (0.1, 16, 2), (0.5, 5, 2), (3, 10, 3), (10, 10, 9), (0, 10, 0)],
)
def test_warm_ups_are_rounded_and_leave_a_step(warmup: float, total: int, rise: int) -> None:
    """`round` rounds halves to even; a share of 1 or more is a number of steps."""
    found = ftk.callbacks.Schedule("linear", warmup=warmup).factors(total)
    rising = [(step + 1) / rise for step in range(rise)]
    falling = [1 - (step - rise) / (total - rise) for step in range(rise, total)]
    np.testing.assert_allclose(found, rising + falling, rtol=1e-6)
    assert found.dtype == np.float32
    assert found.shape == (total,)


@pytest.mark.parametrize(
    ("shape", "first", "last"),
    [
        ("constant", 0.1, 1.0),
        ("linear", 0.1, 1 / 90),
        ("cosine", 0.1, (1 + np.cos(np.pi * 89 / 90)) / 2),
        ("one_cycle", 1 / 25, 1e-5 + (1 - 1e-5) * (1 + np.cos(np.pi * 74 / 75)) / 2),
        ("slanted_triangular", 1 / 32, 1 + (1 / 32 - 1) * 89 / 90),
    ],
)
def test_first_and_last_steps(shape: str, first: float, last: float) -> None:
    found = ftk.callbacks.Schedule(shape).factors(100)
    np.testing.assert_allclose([found[0], found[-1]], [first, last], rtol=1e-4)


def test_warming_is_put_back_into_an_optimizer_that_has_none() -> None:
    variable, optimizer = keras.Variable(np.ones(2, "float32")), keras.optimizers.SGD(0.1)
    rate_multipliers.set_warming(optimizer, [])
    assert rate_multipliers.of(optimizer) is None
    rate_multipliers.set_warming(optimizer, [(variable, 2, 5)])
    assert rate_multipliers.warming(optimizer, variable) == (2, 5)
    rate_multipliers.set_warming(optimizer, [])
    assert rate_multipliers.warming(optimizer, variable) is None
