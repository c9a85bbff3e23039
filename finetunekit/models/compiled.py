"""What must follow when a compiled model changes? Traced functions, optimizer state, compile()."""

import dataclasses
import weakref
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals, keras_optimizers, patches
from finetunekit.models import graph, metadata, rate_multipliers

# Per-variable optimizer state of variables that do not train now: optimizer -> variable -> state.
_parked: "weakref.WeakKeyDictionary[Any, dict[int, tuple[Any, dict[str, np.ndarray]]]]" = (
    weakref.WeakKeyDictionary()
)
# What the traced functions of a model were made from, as of the last time we looked.
_traced_from: "weakref.WeakKeyDictionary[Any, tuple[Any, ...]]" = weakref.WeakKeyDictionary()


def renew(model: keras.Model) -> None:
    """Makes a compiled model follow its layers as they are now, in place.

    Keras traces the train and test functions once and keeps them. They are made anew here, also in
    the middle of a `fit`, to be traced at their next call, and the optimizer is fitted to the
    variables that train now; its step, its rate and the moments of variables that it knew stay as
    they are.
    """
    if not model.compiled:
        return
    follows = _trains_something_else(model)
    if follows:
        check_refittable(model)
    if model.train_function is not None:
        model.make_train_function(force=True)
    if model.test_function is not None:
        model.make_test_function(force=True)
    if follows:
        refit_optimizer(model.optimizer, model.trainable_variables)
    _traced_from[model] = _fingerprint(model)


def renew_all(layers: list[keras.layers.Layer], *models: keras.Model) -> None:
    """Renews the models given and every living model of ours that contains one of the layers."""
    found = {id(model): model for model in (*models, *metadata.models_with(layers))}
    for model in found.values():
        if isinstance(model, keras.Model):
            renew(model)


def renew_if_stale(model: keras.Model) -> bool:
    """Renews a model whose layers changed since its functions were traced; says whether it did."""
    traced = model.train_function is not None or model.test_function is not None
    stale = traced and _traced_from.get(model) != _fingerprint(model)
    stale = stale or _trains_something_else(model)
    if stale:
        renew(model)
    else:
        _traced_from[model] = _fingerprint(model)
    return stale


def _trains_something_else(model: keras.Model) -> bool:
    """Whether the optimizer was built for other variables than those that train now."""
    optimizer = model.optimizer
    if optimizer is None or not optimizer.built:
        return False
    known = [id(variable) for variable in keras_optimizers.optimizer_variables(optimizer)]
    return known != [id(variable) for variable in model.trainable_variables]


def _fingerprint(model: keras.Model) -> tuple[Any, ...]:
    """All that a traced function holds fixed and that can be set on a built layer."""
    layers = [model, *(place.layer for place in graph.walk(model))]
    return (
        tuple(layer.trainable for layer in layers),
        tuple(str(getattr(layer, "rate", None)) for layer in layers),
        tuple((v.trainable, id(v.regularizer)) for v in model.weights),
        rate_multipliers.fingerprint(model.optimizer),
    )


def check_refittable(model: keras.Model) -> None:
    """Raises if the model's optimizer cannot follow a change of what trains.

    Raises:
        ValueError: For a built optimizer made of several optimizers.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built and hasattr(optimizer, "optimizers"):
        raise ValueError(
            f"The optimizer of {model.name!r}, a {type(optimizer).__name__}, holds several "
            "optimizers and has trained already; it cannot follow a change of what trains. Change "
            f"it first and compile again after. Received: model={model!r}"
        )


def refit_optimizer(optimizer: keras.optimizers.Optimizer, variables: list[Any]) -> None:
    """Fits a built optimizer to other variables, in place, its state kept by variable.

    The state of variables that left is parked and comes back when they do. Built on all
    variables instead, Keras would drop the whole state of a partly frozen model at the next
    load, and fail at the end of training with `use_ema`.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        with keras.name_scope(optimizer.name, caller=optimizer):
            refit_optimizer(inner, variables)
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


def parked(optimizer: keras.optimizers.Optimizer) -> dict[int, dict[str, np.ndarray]]:
    """`id(variable)` -> the state of a variable that does not train now."""
    return {key: dict(slots) for key, (_, slots) in _parked.get(optimizer, {}).items()}


def park(
    optimizer: keras.optimizers.Optimizer, rows: list[tuple[Any, dict[str, np.ndarray]]]
) -> None:
    """Keeps the state of variables that do not train now, for when they do."""
    _parked[optimizer] = {id(variable): (variable, dict(slots)) for variable, slots in rows}


def _rebuild_wrapper(optimizer: Any, variables: list[Any]) -> None:
    """Builds a LossScaleOptimizer whose inner optimizer is built already."""
    inner = optimizer.inner_optimizer
    with patches.exchange(inner, "build", lambda variables: None):
        optimizer.build(variables)


def _state(optimizer: keras.optimizers.Optimizer) -> dict[int, tuple[Any, dict[str, Any]]]:
    """Per-variable state, now and parked: id -> (the variable, slot name -> values)."""
    state = dict(_parked.get(optimizer, {}))
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
    _parked[optimizer] = state


def carry_compilation(old: keras.Model, new: keras.Model) -> None:
    """Compiles a model as the one it was made of, with an optimizer of its own in equal state."""
    if not old.compiled:
        return
    arguments = keras_internals.compile_arguments(old)
    arguments["metrics"] = keras.tree.map_structure(_fresh_metric, arguments["metrics"])
    arguments["weighted_metrics"] = keras.tree.map_structure(
        _fresh_metric, arguments["weighted_metrics"]
    )
    optimizer = old.optimizer
    if optimizer is not None:
        arguments["optimizer"] = copy_optimizer(optimizer, new)
    new.compile(**arguments)
    picked = metadata.choices(old)
    if picked is not None:
        picked = dataclasses.replace(picked, loss=new.loss, optimizer=new.optimizer)
    metadata.remember(new, choices=picked)


def copy_optimizer(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """An optimizer of equal settings and state, for what trains in a model of the same layers."""
    copy = type(optimizer).from_config(optimizer.get_config())
    rate_multipliers.carry(optimizer, copy)
    if optimizer.built:
        copy.build(keras_optimizers.optimizer_variables(optimizer))
        for mine, theirs in zip(copy.variables, optimizer.variables, strict=True):
            mine.assign(theirs)
        refit_optimizer(copy, model.trainable_variables)
    return copy


def _fresh_metric(metric: Any) -> Any:
    """A metric object of the same settings: two models must not add to one state."""
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric
