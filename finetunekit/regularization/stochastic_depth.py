"""Stochastic depth put into an existing model: residual blocks left out in training."""

import collections
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import graph, model_state
from finetunekit.models.selection import Selector, find_layers_for
from finetunekit.regularization.dropout import checked_rate, free_name


def inject_stochastic_depth(
    model: keras.Model, rate: float, *, layers: Selector = ".*", seed: int | None = None
) -> keras.Model:
    """Returns a new model that leaves residual blocks out at random, in training, by sample.

    Each addition of a shortcut and a branch gets a `Dropout` that drops a sample's whole branch, at
    a rate that grows linearly from the first block to `rate` in the last. The new model shares all
    weights with the old one and predicts the same. A compiled model keeps its compile
    configuration and optimizer state.

    Args:
        model: A Functional model with residual blocks, or one around it.
        rate: Share of the samples that skip the last block, in (0, 1).
        layers: Which additions, as in `find_layers`; what is not an addition is skipped.
        seed: Seed of the Dropout layers; drawn from Keras' global generator if None.

    Returns:
        The new model, of stock Keras layers.

    Raises:
        ValueError: If the rate is out of range, or no residual block is among the layers.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(64, 64, 3))
        model = ftk.inject_stochastic_depth(ftk.add_head(backbone, "binary"), 0.1)
        ```

    Source: Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth",
        arXiv:1603.09382.
    """
    rate = checked_rate(rate)
    chosen = {id(layer) for layer in find_layers_for("layers", model, layers).values()}
    every, sparing = _blocks(model)
    branches = [branch for addition, branch in every if id(addition) in chosen]
    if not branches:
        raise ValueError(_why_none(model, every, sparing, layers))
    taken = {place.layer.name for place in graph.walk(model)}
    additions = {
        id(branch): keras.layers.Dropout(
            rate * number / len(branches),
            noise_shape=(None,) + (1,) * (len(branch.output.shape) - 1),
            seed=seed,
            name=free_name(f"{branch.name}_depth", taken),
        )
        for number, branch in enumerate(branches, start=1)
    }
    new = graph.insert_after(model, additions)
    model_state.carry(model, new)
    say(
        f"{plural(len(branches), 'residual block')} of {model.name!r} left out at rates from "
        f"{rate / len(branches):.2g} to {rate:.2g}"
    )
    return new


def _blocks(model: keras.Model) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Pairs of an addition and the last layer of its branch; additions that drop already."""
    found: list[tuple[Any, Any]] = []
    sparing: list[Any] = []
    graphs = [model, *(place.layer for place in graph.walk(model))]
    for one in [g for g in graphs if graph.is_graph(g) and not isinstance(g, keras.Sequential)]:
        made = {
            id(t): (keras_internals.producer(t), keras_internals.incoming(t))
            for t in graph.upstream(one)
        }
        used = collections.Counter(id(t) for _, inputs in made.values() for t in inputs)
        used.update(id(tensor) for tensor in one.outputs)
        for operation, _, _, outputs in keras_internals.graph_calls(one):
            if not isinstance(operation, keras.layers.Add) or id(outputs[0]) not in made:
                continue
            branch = _branch(one, made[id(outputs[0])][1])
            if branch is None or used[id(branch)] > 1:
                continue
            last = keras_internals.producer(branch)
            drops = isinstance(last, keras.layers.Dropout) and last.noise_shape is not None
            (sparing if drops else found).append(operation if drops else (operation, last))
    return found, sparing


def _branch(model: keras.Model, inputs: list[Any]) -> Any:
    """The tensor that a shortcut is added to: the one with more layers after their fork."""
    if len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
        return None
    above = [{id(t) for t in graph.upstream(model, [tensor])} for tensor in inputs]
    own = [len(above[0] - above[1]), len(above[1] - above[0])]
    if own[0] == own[1] or not above[0] & above[1]:
        return None
    return inputs[0] if own[0] > own[1] else inputs[1]


def _why_none(model: keras.Model, every: list[Any], sparing: list[Any], given: Any) -> str:
    names = [addition.name for addition, _ in every]
    if names:
        reason = f"`layers` matches no residual block. Their additions are: {listed(names)}."
    elif sparing:
        reason = (
            "The residual blocks of the model are left out at random already: "
            f"{listed([a.name for a in sparing])}. Load it with another rate instead."
        )
    else:
        reason = (
            f"{model.name!r} has no `Add` layer that adds a shortcut to a branch, or has it inside "
            "of a layer. Use `inject_dropout`."
        )
    return f"{reason} Received: layers={given!r}"
