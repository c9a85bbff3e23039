"""An optimizer fitted to other variables keeps the state of each, also of those that left."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import optimizers

from finetunekit.models import optimizer_state, rate_multipliers

L = keras.layers

OWN = {"learning_rate": 0.5, "name": "own"}  # Keras numbers the names that it gives itself.
MAKERS: dict[str, Any] = {
    "Adam": lambda: optimizers.Adam(**OWN),
    "SGD": lambda: optimizers.SGD(momentum=0.9, **OWN),
    "averaging": lambda: optimizers.SGD(use_ema=True, **OWN),
    "Muon": lambda: optimizers.Muon(**OWN),
    "Nadam": lambda: optimizers.Nadam(**OWN),
}


def variables(count: int = 3) -> list[keras.Variable]:
    """Of shapes that differ, so that state given to another one does not fit; Muon needs axes."""
    shapes = [(2,), (3, 2), (4,)][:count]
    return [
        keras.Variable(np.full(shape, n + 1, "float32"), name=f"v{n}")
        for n, shape in enumerate(shapes)
    ]


def numbered(optimizer: Any) -> None:
    """Gives every number of an optimizer's state a value of its own."""
    start = 1
    for variable in optimizer.variables:
        if variable.path.endswith(("iteration", "learning_rate")):
            continue
        size = int(np.prod(variable.shape))
        values = np.arange(start, start + size).reshape(variable.shape)
        variable.assign(values.astype(variable.dtype))
        start += size
    optimizer.variables[0].assign(11)


def state(optimizer: Any) -> dict[str, np.ndarray]:
    """By path; Nadam gives its product no name, so that Keras numbers it."""
    return {
        re.sub(r"/variable_\d+$", "/variable", v.path): np.array(v.numpy())
        for v in optimizer.variables
    }


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert np.array_equal(values, other[name]), name


def built(maker: str, held: list[keras.Variable]) -> Any:
    optimizer = MAKERS[maker]()
    with keras.name_scope(optimizer.name, caller=optimizer):
        optimizer.build(held)
    return optimizer


@pytest.mark.parametrize("maker", MAKERS)
def test_the_state_of_a_variable_that_left_comes_back_with_it(maker: str) -> None:
    held = variables()
    optimizer = built(maker, held)
    numbered(optimizer)
    before = state(optimizer)
    optimizer_state.refit(optimizer, [held[0], held[2]])
    during = state(optimizer)
    assert list(during) == [path for path in before if "v1" not in path]
    assert_same(during, {path: before[path] for path in during})
    for variable in optimizer.variables:
        if "v2" in variable.path:
            variable.assign(variable + 100)
    optimizer_state.refit(optimizer, held)
    after = state(optimizer)
    assert_same(after, {k: v + 100 if "v2" in k else v for k, v in before.items()})
    assert optimizer_state.stashed(optimizer) == {}


def test_another_order_is_followed() -> None:
    held = variables()
    optimizer = built("Adam", held)
    numbered(optimizer)
    before = state(optimizer)
    optimizer_state.refit(optimizer, held[::-1])
    after = state(optimizer)
    assert sorted(after) == sorted(before)
    assert list(after) == list(state(built("Adam", held[::-1])))
    assert_same({k: after[k] for k in before}, before)


def test_nothing_happens_for_the_same_variables() -> None:
    held = variables()
    optimizer = built("Adam", held)
    mine = list(optimizer.variables)
    optimizer_state.stash(optimizer, [(held[1], {"kept": np.ones(1)})])
    optimizer_state.refit(optimizer, list(held))
    assert all(a is b for a, b in zip(mine, optimizer.variables, strict=True))
    assert list(optimizer_state.stashed(optimizer)) == [id(held[1])]


def test_a_step_after_it_is_that_of_an_optimizer_made_for_the_rest() -> None:
    held, others = variables(), variables()
    optimizer, other = built("Adam", held), built("Adam", [others[2]])
    for _ in range(2):
        optimizer.apply([keras.ops.ones_like(v) for v in held], held)
        other.apply([keras.ops.ones_like(others[2])], [others[2]])
    optimizer_state.refit(optimizer, [held[2]])
    for each, variable in ((optimizer, held[2]), (other, others[2])):
        each.apply([keras.ops.full((4,), 3.0)], [variable])
    assert np.array_equal(held[2].numpy(), others[2].numpy())
    assert_same(state(optimizer), state(other))


def test_what_is_stashed_is_a_copy_by_slot() -> None:
    held = variables()
    optimizer = built("Adam", held)
    numbered(optimizer)
    moments = [v for v in optimizer.variables if "v1" in v.path]
    expected = [np.array(v.numpy()) for v in moments]
    optimizer_state.refit(optimizer, [held[0], held[2]])
    for moment in moments:
        moment.assign(moment * 0)
    found = optimizer_state.stashed(optimizer)
    assert list(found) == [id(held[1])]
    assert list(found[id(held[1])]) == ["_momentums", "_velocities"]
    for values, known in zip(found[id(held[1])].values(), expected, strict=True):
        assert np.array_equal(values, known)
    found[id(held[1])].clear()
    found.clear()
    assert list(optimizer_state.stashed(optimizer)[id(held[1])]) == ["_momentums", "_velocities"]


def test_what_was_stashed_for_variables_stays_while_others_go() -> None:
    held = variables()
    optimizer = built("Adam", held)
    numbered(optimizer)
    before = state(optimizer)
    optimizer_state.refit(optimizer, [held[0], held[2]])
    optimizer_state.refit(optimizer, [held[0]])
    assert set(optimizer_state.stashed(optimizer)) == {id(held[1]), id(held[2])}
    optimizer_state.refit(optimizer, held)
    assert_same(state(optimizer), before)


def test_stash_replaces_what_was_there_and_keeps_its_own_rows() -> None:
    held = variables(2)
    optimizer = built("SGD", held[:1])
    assert optimizer_state.stashed(optimizer) == {}
    optimizer_state.stash(optimizer, [(held[0], {"momentums": np.ones(2, "float32")})])
    slots = {"momentums": np.full((3, 2), 7, "float32"), "unknown": np.ones(1)}
    optimizer_state.stash(optimizer, [(held[1], slots)])
    slots.clear()
    assert set(optimizer_state.stashed(optimizer)) == {id(held[1])}
    optimizer_state.refit(optimizer, held)
    assert np.array_equal(optimizer.variables[-1].numpy(), np.full((3, 2), 7))
    assert optimizer_state.stashed(optimizer) == {}


def test_a_new_variable_starts_as_keras_starts_it() -> None:
    held = variables()
    optimizer = built("Adam", held[:2])
    numbered(optimizer)
    before = state(optimizer)
    optimizer_state.refit(optimizer, held)
    after = state(optimizer)
    for path, values in after.items():
        assert np.array_equal(values, before.get(path, np.zeros(4))), path
    assert sum("v2" in path for path in after) == 2


def test_the_average_of_a_new_variable_starts_at_its_value() -> None:
    held = variables()
    optimizer = built("averaging", held[:2])
    numbered(optimizer)
    held[2].assign(np.full(4, 5.0))
    optimizer_state.refit(optimizer, held)
    averages = [v.numpy() for v in optimizer.variables if "average" in v.path]
    assert np.array_equal(averages[0], [1, 2])
    assert np.array_equal(averages[1], np.arange(3, 9).reshape(3, 2))
    assert np.array_equal(averages[2], np.full(4, 5.0))


def test_an_optimizer_that_was_not_built_is_built() -> None:
    held = variables()
    optimizer = MAKERS["Nadam"]()
    optimizer_state.refit(optimizer, held)
    assert_same(state(optimizer), state(built("Nadam", held)))


def test_the_handle_of_the_user_still_sets_the_rate() -> None:
    held = variables()
    optimizer = built("SGD", held)
    rate, steps = optimizer._learning_rate, optimizer.iterations
    optimizer_state.refit(optimizer, held[:1])
    assert optimizer._learning_rate is rate
    assert optimizer.iterations is steps


def test_a_wrapper_and_the_optimizer_within_it_keep_their_state() -> None:
    held = variables()
    inner = MAKERS["Adam"]()
    wrapper = optimizers.LossScaleOptimizer(inner, name="outer")
    fresh = optimizers.LossScaleOptimizer(MAKERS["Adam"](), name="outer")
    for each, fit in ((wrapper, held), (fresh, [held[2]])):
        with keras.name_scope(each.name, caller=each):
            each.build(fit)
    numbered(inner)
    wrapper.step_counter.assign(3)
    wrapper.dynamic_scale.assign(64.0)
    before = state(wrapper)
    optimizer_state.refit(wrapper, [held[2]])
    during = state(wrapper)
    assert list(during) == list(state(fresh))
    assert_same(during, {path: before[path] for path in during})
    assert (int(wrapper.step_counter), float(wrapper.dynamic_scale)) == (3, 64.0)
    assert set(optimizer_state.stashed(inner)) == {id(held[0]), id(held[1])}
    assert "build" not in vars(inner)
    optimizer_state.refit(wrapper, held)
    assert_same(state(wrapper), before)


def layered() -> keras.Model:
    return keras.Sequential([keras.Input((2,)), L.Dense(3, name="low"), L.Dense(1, name="high")])


def test_a_copy_has_equal_settings_state_and_factors_of_its_own() -> None:
    model = layered()
    optimizer = optimizers.AdamW(0.25, weight_decay=0.125, clipnorm=2.0)
    optimizer.build(model.trainable_variables)
    numbered(optimizer)
    kernel = model.layers[0].kernel
    rate_multipliers.set_factors(optimizer, [(kernel, 0.5)])
    before = state(optimizer)
    copy = optimizer_state.copy_of(optimizer, model)
    assert type(copy) is optimizers.AdamW
    assert copy.get_config() == optimizer.get_config()
    assert rate_multipliers.factor(copy, kernel) == 0.5
    assert_same(state(copy), before)
    for variable in copy.variables:
        variable.assign(variable * 0)
    rate_multipliers.set_factors(copy, [])
    assert_same(state(optimizer), before)
    assert rate_multipliers.factor(optimizer, kernel) == 0.5


def test_a_copy_is_fitted_to_what_trains_in_the_other_model() -> None:
    model = layered()
    optimizer = optimizers.Adam(0.25)
    optimizer.build(model.trainable_variables)
    numbered(optimizer)
    before = {v.path.rpartition("/")[2]: v.numpy() for v in optimizer.variables}
    model.layers[0].trainable = False
    copy = optimizer_state.copy_of(optimizer, model)
    after = {v.path.rpartition("/")[2]: v.numpy() for v in copy.variables}
    assert sorted(after) == sorted(name for name in before if "low" not in name)
    assert all(np.array_equal(values, before[name]) for name, values in after.items())
    assert set(optimizer_state.stashed(copy)) == {id(v) for v in model.layers[0].weights}
    assert len(optimizer.variables) == 10


def test_a_copy_of_an_optimizer_that_was_not_built_is_not_built() -> None:
    optimizer = MAKERS["SGD"]()
    copy = optimizer_state.copy_of(optimizer, layered())
    assert copy is not optimizer
    assert not copy.built
    assert copy.get_config() == optimizer.get_config()
