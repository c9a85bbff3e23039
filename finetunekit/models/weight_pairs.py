"""Variables of one model paired with those of another of equal layers."""

from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import plural
from finetunekit.models import graph, metadata

Pair = tuple[Any, Any]  # A variable, and the other model's.


def weights(model: keras.Model, other: Any, name: str) -> list[Pair]:
    """The model's own weights beside those of a model of equal layers, or of its backbone.

    Names of layers may differ, as Keras numbers them anew in each process; their order, and the
    names and shapes of their weights, may not.

    Args:
        model: The model.
        other: A model of the same layers, or one like the model's backbone.
        name: The argument that the other one was given as, for messages.

    Raises:
        TypeError: If the other one is not a model.
        ValueError: If it is a model of other layers.
    """
    if not isinstance(other, keras.Model) or not other.built:
        raise TypeError(
            f"`{name}` must be a built Keras model of the same layers as {model.name!r}. "
            f"Received: {name}={other!r}"
        )
    backbone = metadata.of(model).backbone
    candidates = [model, *([backbone] if backbone is not None else [])]
    found = [_paired(one, other) for one in candidates]
    for pairs in found:
        if not isinstance(pairs, str):
            return pairs
    whole = [len(graph.leaves(one)) for one in candidates]
    nearest = min(range(len(found)), key=lambda i: abs(whole[i] - len(graph.leaves(other))))
    raise ValueError(
        f"`{name}` must be a model of the same layers as {candidates[nearest].name!r}: "
        f"{found[nearest]}. Load the model that the training started from. "
        f"Received: {name}={other!r}"
    )


def _paired(model: keras.layers.Layer, other: keras.Model) -> list[Pair] | str:
    """The pairs, or in words why the two do not fit."""
    mine, theirs = graph.leaves(model), graph.leaves(other)
    pairs: list[Pair] = []
    for one, two in zip(mine, theirs, strict=False):
        own, their = keras_internals.own_weights(one.layer), keras_internals.own_weights(two.layer)
        if _described(own) != _described(their):
            return (
                f"{one.path!r} has {_words(own)}, but {two.path!r} in its place has {_words(their)}"
            )
        pairs += zip(own, their, strict=True)
    if len(mine) != len(theirs):
        return f"it has {plural(len(theirs), 'layer')} with weights instead of {len(mine)}"
    return pairs


def _described(variables: list[Any]) -> list[tuple[str, tuple[int, ...]]]:
    return [(v.name, tuple(v.shape)) for v in variables]


def _words(variables: list[Any]) -> str:
    return ", ".join(f"{name} of shape {shape}" for name, shape in _described(variables))
