"""What does a training run depend on? All of it, taken from the objects and put back into them."""

import inspect
import random
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed, warn
from finetunekit.models import compiled, graph, optimizer_state, rate_multipliers
from finetunekit.resuming import checkpoint_files

# Attributes of callbacks that belong to the process, not to the run.
_OWN = {"_model", "model", "params", "validation_data", "monitor_op"}


def variables(model: keras.Model) -> list[Any]:
    """All that a step may change in the model, metrics left out: weights and seeds."""
    layers = [model, *(place.layer for place in graph.walk(model))]
    seeds = [state for layer in layers for state in keras_internals.seed_states(layer)]
    return list({id(v): v for v in [*model.weights, *seeds]}.values())


def described(model: keras.Model) -> list[str]:
    """A row for each layer with its weights; equal for equal architectures in any process."""
    return [
        f"{type(place.layer).__name__} "
        + ", ".join(
            f"{v.name} {tuple(v.shape)} {v.dtype}" for v in keras_internals.own_weights(place.layer)
        )
        for place in graph.walk(model)
    ]


def of_model(model: keras.Model) -> dict[str, Any]:
    """Weights, seeds, what trains, and the optimizer."""
    optimizer = model.optimizer
    inner = rate_multipliers.innermost(optimizer)
    place = {id(v): number for number, v in enumerate(model.weights)}
    return {
        "variables": _values(variables(model)),
        "layer_flags": [bool(p.layer.trainable) for p in graph.walk(model)],
        "variable_flags": [bool(v.trainable) for v in model.weights],
        "optimizer": _values(optimizer.variables),
        "parked": [
            [place[key], slots]
            for key, slots in optimizer_state.stashed(inner).items()
            if key in place
        ],
        "warming": [
            [number, *inner_row]
            for number, v in enumerate(model.weights)
            if (inner_row := rate_multipliers.warming(inner, v)) is not None
        ],
    }


def put_into_model(model: keras.Model, state: dict[str, Any]) -> None:
    """Puts back what `of_model` took; the functions are traced anew if need be."""
    layers = [place.layer for place in graph.walk(model)]
    for layer, flag in zip(layers, state["layer_flags"], strict=True):
        if bool(layer.trainable) != flag:
            layer.trainable = flag
    for variable, flag in zip(model.weights, state["variable_flags"], strict=True):
        if bool(variable.trainable) != flag:
            variable.trainable = flag
    for variable, value in zip(variables(model), state["variables"], strict=True):
        variable.assign(value)
    optimizer = model.optimizer
    if not optimizer.built:
        with keras.name_scope(optimizer.name, caller=optimizer):  # As Keras does.
            optimizer.build(model.trainable_variables)
    compiled.renew_if_stale(model)
    if len(optimizer.variables) != len(state["optimizer"]):
        raise ValueError(
            "The checkpoint is of a run with another optimizer: its state has "
            f"{len(state['optimizer'])} parts, that of the model's {len(optimizer.variables)}. "
            f"Compile as for that run. Received: optimizer={type(optimizer).__name__}"
        )
    for variable, value in zip(optimizer.variables, state["optimizer"], strict=True):
        variable.assign(value)
    inner, weights = rate_multipliers.innermost(optimizer), model.weights
    optimizer_state.stash(inner, [(weights[number], slots) for number, slots in state["parked"]])
    rate_multipliers.set_warming(
        inner, [(weights[number], first, steps) for number, first, steps in state["warming"]]
    )
    compiled.renew_if_stale(model)


def _values(found: list[Any]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in found]


def of_callback(callback: Any, at_start: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a callback that are numbers, text, arrays, or made of them.

    Args:
        callback: The callback.
        at_start: What this function gave before training began; empty then.
    """
    plain, left_out = {}, []
    for name, value in vars(callback).items():
        if name in _OWN:
            continue
        try:
            plain[name] = checkpoint_files.encode(value, [])
        except checkpoint_files.Unstorable as error:
            left_out.append(f"{name} ({error})")
            continue
        plain[name] = value
    settings = set(inspect.signature(type(callback).__init__).parameters)
    unchanged = [
        name
        for name, value in plain.items()
        if name in settings and at_start and _equal(value, at_start["plain"].get(name))
    ]
    known = type(callback).__module__.startswith(("keras.", "finetunekit."))
    if left_out and not known and not at_start:
        warn(
            f"a checkpoint cannot hold these attributes of {type(callback).__name__}, which start "
            f"anew after an interruption: {listed(left_out)}"
        )
    return {
        "class": type(callback).__name__,
        "plain": dict(plain),
        "unchanged": unchanged,
        "monitors": getattr(callback, "monitor_op", None) is not None,
        "variables": _values(getattr(callback, "variables", [])),
    }


def put_into_callback(callback: Any, state: dict[str, Any]) -> None:
    """Puts back what `of_callback` took; settings that no run has changed stay the new ones."""
    changed = {k: v for k, v in state["plain"].items() if k not in state["unchanged"]}
    if state["monitors"]:
        for name in ("monitor", "mode"):
            if name in changed:
                setattr(callback, name, changed[name])
        keras_internals.find_monitor_op(
            callback
        )  # Else it is done late, and turns `min_delta` once more.
    vars(callback).update(changed)
    for variable, value in zip(getattr(callback, "variables", []), state["variables"], strict=True):
        variable.assign(value)


def _equal(one: Any, other: Any) -> bool:
    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    try:
        same = checkpoint_files.encode(one, first) == checkpoint_files.encode(other, second)
    except checkpoint_files.Unstorable:
        return False
    return same and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def of_random(mixers: list[Any]) -> dict[str, Any]:
    """The states of Python's and numpy's generators, and of layers that mix batches."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "mixers": [_values(keras_internals.seed_states(layer)) for layer in mixers],
    }


def put_into_random(state: dict[str, Any], mixers: list[Any]) -> None:
    """Puts back what `of_random` took."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    for layer, values in zip(mixers, state["mixers"], strict=True):
        for variable, value in zip(keras_internals.seed_states(layer), values, strict=True):
            variable.assign(value)
