"""The traced tail of a model, kept for the next fit as long as it would be traced the same."""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.caching.calls import Value, values_in
from finetunekit.caching.cut import FrozenSplit
from finetunekit.execution.tail import Tail, build_optimizer
from finetunekit.foundation import keras_internals
from finetunekit.models import graph, rate_multipliers

# On the model itself, as Keras keeps its own traced functions: they refer to it, and go with it.
_ATTRIBUTE = "_finetunekit_tail"
_SIMPLE = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True)
class _Kept:
    tail: Tail
    made_from: list[Any]  # Objects are compared by identity, and live as long as the tail does.


def tail_of(model: keras.Model, split: FrozenSplit, function: Any, *, exact: bool) -> Tail:
    """The tail of a model that is cut so: the kept one, if it would be traced the same.

    Args:
        model: The compiled model.
        split: Where it is cut.
        function: Keras' own train function, or None: another one is there if the user has had it
            made anew.
        exact: Whether each bit must be that of Keras' own step.
    """
    build_optimizer(model)
    kept: _Kept | None = vars(model).get(_ATTRIBUTE)
    made_from = [exact, function, *_ingredients(model, split)]
    if kept is not None and _same(kept.made_from, made_from):
        return kept.tail
    tail = Tail(model, split, exact=exact)
    vars(model)[_ATTRIBUTE] = _Kept(tail, made_from)
    return tail


def drop(model: keras.Model) -> None:
    """Forgets the tail of a model."""
    vars(model).pop(_ATTRIBUTE, None)


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and isinstance(a, _SIMPLE) and a == b)
        for a, b in zip(one, other, strict=True)
    )


def _ingredients(model: keras.Model, split: FrozenSplit) -> list[Any]:
    """All that a trace of the tail depends on, as a flat list."""
    found = [model.jit_compile, repr(rate_multipliers.fingerprint(model.optimizer))]
    found += _wiring(split)
    for layer in _layers(split):
        found += [layer, layer.trainable, *_settings(layer)]
    for part in keras_internals.compiled_parts(model):
        found += [part, *_settings(part)]
    found += [*model.trainable_variables, *getattr(model.optimizer, "variables", [])]
    for variable in model.variables:
        regularizer = variable.regularizer
        found += [variable, variable.trainable, regularizer, *_settings(regularizer)]
    return found


def _layers(split: FrozenSplit) -> list[keras.layers.Layer]:
    """The layers that the tail calls, with those inside and the nested models around them."""
    found: dict[int, keras.layers.Layer] = {}
    for call in split.tail_calls:
        found.update({id(around): around for around in call.inside})
        if isinstance(call.operation, keras.layers.Layer):
            inside = (place.layer for place in graph.walk(call.operation))
            found.update({id(layer): layer for layer in (call.operation, *inside)})
    return list(found.values())


def _wiring(split: FrozenSplit) -> list[Any]:
    """Which operations of the tail are called on what."""
    numbers: dict[Value, int] = {}

    def number(value: Value) -> int:
        return numbers.setdefault(value, len(numbers))

    found: list[Any] = [number(value) for value in (*split.features, *split.passed)]
    found += [len(split.features), repr([row[1:] for row in split.boundary])]
    for call in split.tail_calls:
        leaves = keras.tree.flatten((call.args, call.kwargs))
        found += [call.operation, *(number(x) if isinstance(x, Value) else x for x in leaves)]
        found += [number(value) for value in call.outputs]
    return found + [number(value) for value in values_in(split.outputs)]


def _settings(part: Any) -> list[Any]:
    """The public attributes that are plain values or functions, such as a rate or an activation."""
    public = [(n, v) for n, v in getattr(part, "__dict__", {}).items() if not n.startswith("_")]
    plain = [
        row
        for row in sorted(public, key=lambda row: row[0])
        if isinstance(row[1], _SIMPLE) or callable(row[1])
    ]
    return [leaf for row in plain for leaf in row if row[0] != "built"]
