"""The state of training, taken from model, optimizer and callbacks, and put back."""

import inspect
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed, warn
from finetunekit.models import compiled, graph, optimizer_state, rate_multipliers
from finetunekit.resuming import encoding

# Attributes of callbacks that belong to the process, not to the run.
_OWN = {"_model", "model", "params", "validation_data", "monitor_op", "append_header"}


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


def check_architecture(known: list[str], mine: list[str]) -> None:
    """Raises if a checkpoint is of a model of other layers.

    Raises:
        ValueError: If so; the message has the first that differs.
    """
    differs = [f"{b!r} instead of {a!r}" for a, b in zip(known, mine, strict=False) if a != b]
    if differs or len(mine) != len(known):
        what = differs[0] if differs else f"{len(mine)} layers instead of {len(known)}"
        raise ValueError(
            "`resume` is of a run of another model. Build the model as for that run, or begin "
            f"anew without `resume`. Received: a model with {what}"
        )


def of_model(model: keras.Model) -> dict[str, Any]:
    """Weights, seeds, what trains, and the optimizer."""
    optimizer = model.optimizer
    inner = rate_multipliers.innermost(optimizer)
    place = {id(v): number for number, v in enumerate(model.weights)}
    return {
        "variables": values_of(variables(model)),
        "layer_flags": [bool(p.layer.trainable) for p in graph.walk(model)],
        "variable_flags": [bool(v.trainable) for v in model.weights],
        "optimizer": values_of(optimizer.variables),
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


def values_of(found: list[Any]) -> list[np.ndarray]:
    """The values of variables, copied."""
    return [encoding.to_numpy(variable) for variable in found]


def of_callback(callback: Any, at_start: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a callback that are numbers, text, arrays, or made of them.

    Args:
        callback: The callback.
        at_start: What `settings_of` gave before training began.
    """
    plain, _ = _plain(callback)
    now = settings_of(callback)
    return {
        "class": type(callback).__name__,
        "plain": plain,
        "unchanged": [name for name in now if now[name] == at_start.get(name)],
        "monitors": getattr(callback, "monitor_op", None) is not None,
        "variables": values_of(getattr(callback, "variables", [])),
    }


def settings_of(callback: Any) -> dict[str, Any]:
    """The attributes that are named as arguments, encoded: what changes in place is not shared."""
    arguments = inspect.signature(type(callback).__init__).parameters
    plain, _ = _plain(callback)
    return {name: encoding.to_json(plain[name]) for name in arguments if name in plain}


def warn_of_losses(callback: Any) -> None:
    """Says which attributes of a user's callback a checkpoint cannot hold."""
    known = type(callback).__module__.startswith(("keras.", "finetunekit."))
    _, left_out = _plain(callback)
    if left_out and not known:
        warn(
            f"a checkpoint cannot hold these attributes of {type(callback).__name__}, which start "
            f"anew after an interruption: {listed(left_out)}"
        )


def _plain(callback: Any) -> tuple[dict[str, Any], list[str]]:
    """The attributes that a checkpoint can hold, and the names of the others."""
    plain, left_out = {}, []
    for name, value in vars(callback).items():
        if name in _OWN:
            continue
        try:
            encoding.encode(value, [])
        except encoding.Unstorable as error:
            left_out.append(f"{name} ({error})")
            continue
        plain[name] = value
    return plain, left_out


def put_into_callback(callback: Any, state: dict[str, Any]) -> None:
    """Puts back what `of_callback` took; settings that no run has changed stay the new ones."""
    changed = {k: v for k, v in state["plain"].items() if k not in state["unchanged"]}
    if state["monitors"]:
        for name in ("monitor", "mode"):
            if name in changed:
                setattr(callback, name, changed[name])
        # Else it is done late, and turns `min_delta` once more.
        keras_internals.find_monitor_op(callback)
    vars(callback).update(changed)
    for variable, value in zip(getattr(callback, "variables", []), state["variables"], strict=True):
        variable.assign(value)
