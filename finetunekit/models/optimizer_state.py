"""Optimizer slots by variable, stashed while a variable is frozen."""

from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_optimizers, patches
from finetunekit.models import rate_multipliers
from finetunekit.models.state_tables import STASHED


def refit(optimizer: keras.optimizers.Optimizer, variables: list[Any]) -> None:
    """Fits a built optimizer to other variables, in place, its state kept by variable.

    The state of variables that left is stashed and comes back when they do. Built on all
    variables instead, Keras would drop the whole state of a partly frozen model at the next
    load, and fail at the end of training with `use_ema`.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        with keras.name_scope(optimizer.name, caller=optimizer):
            refit(inner, variables)
    known = keras_optimizers.optimizer_variables(optimizer)
    if [id(v) for v in known] == [id(v) for v in variables]:
        return
    state = _state(optimizer)
    scalars = {
        name: _values(v) for name, v in keras_optimizers.optimizer_scalars(optimizer).items()
    }
    keras_optimizers.unbuild_optimizer(optimizer)
    with keras.name_scope(optimizer.name, caller=optimizer):  # As Keras does at the first step.
        if inner is None:
            optimizer.build(list(variables))
        else:
            _rebuild_wrapper(optimizer, list(variables))
    for name, variable in keras_optimizers.optimizer_scalars(optimizer).items():
        if name in scalars:
            variable.assign(scalars[name])
    _restore(optimizer, state)


def stashed(optimizer: keras.optimizers.Optimizer) -> dict[int, dict[str, np.ndarray]]:
    """`id(variable)` -> the state of a variable that does not train now."""
    return {key: dict(slots) for key, (_, slots) in STASHED.get(optimizer, {}).items()}


def stash(
    optimizer: keras.optimizers.Optimizer, rows: list[tuple[Any, dict[str, np.ndarray]]]
) -> None:
    """Keeps the state of variables that do not train now, for when they do."""
    STASHED[optimizer] = {id(variable): (variable, dict(slots)) for variable, slots in rows}


def _rebuild_wrapper(optimizer: Any, variables: list[Any]) -> None:
    """Builds a LossScaleOptimizer whose inner optimizer is built already."""
    inner = optimizer.inner_optimizer
    with patches.exchange(inner, "build", lambda variables: None):
        optimizer.build(variables)


def _state(optimizer: keras.optimizers.Optimizer) -> dict[int, tuple[Any, dict[str, Any]]]:
    """Per-variable state, now and stashed: id -> (the variable, slot name -> values)."""
    state = dict(STASHED.get(optimizer, {}))
    slots = keras_optimizers.optimizer_slots(optimizer)
    for index, variable in enumerate(keras_optimizers.optimizer_variables(optimizer)):
        state[id(variable)] = (
            variable,
            {name: _values(s[index]) for name, s in slots.items() if s[index] is not None},
        )
    return state


def _values(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _restore(
    optimizer: keras.optimizers.Optimizer, state: dict[int, tuple[Any, dict[str, Any]]]
) -> None:
    slots = keras_optimizers.optimizer_slots(optimizer)
    for index, variable in enumerate(keras_optimizers.optimizer_variables(optimizer)):
        _, values = state.pop(id(variable), (variable, None))
        for name, entries in slots.items():
            if entries[index] is None:
                continue
            if values is not None and name in values:
                entries[index].assign(values[name])
            elif name == "_model_variables_moving_average":
                # Keras starts averages at the first step only; a later one would start at zero.
                entries[index].assign(variable)
    STASHED[optimizer] = state


def copy_of(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """An optimizer of equal settings and state, for what trains in a model of the same layers."""
    copy = type(optimizer).from_config(optimizer.get_config())
    rate_multipliers.carry(optimizer, copy)
    if optimizer.built:
        copy.build(keras_optimizers.optimizer_variables(optimizer))
        for mine, theirs in zip(copy.variables, optimizer.variables, strict=True):
            mine.assign(theirs)
        refit(copy, model.trainable_variables)
    return copy
