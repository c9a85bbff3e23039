"""A compiled model whose layers change: its traced functions and optimizer follow."""

from typing import Any

import keras

from finetunekit.foundation import keras_internals, keras_optimizers
from finetunekit.models import (
    graph,
    head_metrics,
    metadata,
    optimizer_state,
    pickling,
    rate_multipliers,
)
from finetunekit.models.state_tables import TRACED_FROM


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
        optimizer_state.refit(model.optimizer, model.trainable_variables)
    TRACED_FROM[model] = _fingerprint(model)


def renew_all(layers: list[keras.layers.Layer], *models: keras.Model) -> None:
    """Renews the models given and every living model of ours that contains one of the layers."""
    found = {id(model): model for model in (*models, *metadata.models_with(layers))}
    for model in found.values():
        pickling.follow(model)
        if isinstance(model, keras.Model):
            renew(model)


def renew_if_stale(model: keras.Model) -> bool:
    """Renews a model whose layers changed since its functions were traced; says whether it did."""
    traced = model.train_function is not None or model.test_function is not None
    stale = traced and TRACED_FROM.get(model) != _fingerprint(model)
    stale = stale or _trains_something_else(model)
    if stale:
        renew(model)
    else:
        TRACED_FROM[model] = _fingerprint(model)
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


def compile_as(old: keras.Model, new: keras.Model) -> None:
    """Compiles a model as the one it was made of, with an optimizer of its own in equal state.

    `model_state.carry` hands on what belongs to it besides.
    """
    arguments = keras_internals.compile_arguments(old)
    arguments["metrics"] = keras.tree.map_structure(head_metrics.fresh, arguments["metrics"])
    arguments["weighted_metrics"] = keras.tree.map_structure(
        head_metrics.fresh, arguments["weighted_metrics"]
    )
    optimizer = old.optimizer
    if optimizer is not None:
        arguments["optimizer"] = optimizer_state.copy_of(optimizer, new)
    new.compile(**arguments)
