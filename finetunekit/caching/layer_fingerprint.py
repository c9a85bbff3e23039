"""Digests of what a layer computes beside its weights: code, attributes, vocabularies."""

import operator
import types
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import keras

from finetunekit.caching.fingerprint import Fingerprint, is_library
from finetunekit.foundation import keras_internals

# The methods of a layer that decide what it gives; others count if these name them.
_ENTRIES = ("__call__", "call", "compute_mask")
# Whoever uses these may reach attributes that no bytecode names.
_INDIRECT = {"getattr", "vars", "__dict__", "attrgetter", "eval", "exec", "__getattribute__"}
# Callables that hold arguments.
_HOLDING = (partial, operator.methodcaller, operator.itemgetter, operator.attrgetter)
# Libraries whose layers are told by configs, weights, tables and what users hand to them.
_CONFIGURED = ("keras.", "keras_hub.", "finetunekit.")


class LayerFingerprint(Fingerprint):
    """Describes layers too: of a user's layer all attributes that its code names.

    Args:
        weights: Variables whose values are digested elsewhere; they are described by number.
    """

    def __init__(self, weights: Iterable[Any] = ()) -> None:
        super().__init__()
        self._weights = {id(variable): number for number, variable in enumerate(weights)}

    def _described(self, value: Any) -> str:
        if id(value) in self._weights:
            return f"weight {self._weights[id(value)]}"
        if isinstance(value, keras.Operation):
            return self.layer(value) if isinstance(value, keras.layers.Layer) else self.op(value)
        return super()._described(value)

    def op(self, operation: Any) -> str:
        """An operation that is not a layer, with its settings."""
        settings = {n: v for n, v in vars(operation).items() if not n.startswith("_")}
        settings.pop("name", None)
        return f"operation {self._code_of(operation)} {self.items(settings)}"

    def layer(self, layer: Any) -> str:
        """A layer and all that stands below it."""
        return " ".join(
            [
                f"layer {self._code_of(layer)} {_policy(layer)}",
                self.all_of(keras_internals.own_weights(layer)),
                self._vocabulary(layer),
                self._attributes(layer),
                self.all_of(keras_internals.sublayers(layer)),
            ]
        )

    def _code_of(self, operation: Any) -> str:
        """The classes, and what those of the user's own define under names that are reached."""
        rows: dict[str, str] = {}
        own = [kind for kind in type(operation).__mro__ if not is_library(kind.__module__)]
        size = -1
        while size < len(rows):  # What is described may name further methods.
            size = len(rows)
            for number, kind in enumerate(own):
                for name in sorted(vars(kind).keys() & {*_ENTRIES, *self.names}):
                    if (key := f"{number} {name}") not in rows:
                        rows[key] = self.of(vars(kind)[name])
        named = [self._name_of(kind) for kind in type(operation).__mro__]
        return f"{named} {sorted(rows.items())}"

    def _name_of(self, kind: type) -> str:
        # Of a user's class the members are described one by one.
        return self.of(kind) if is_library(kind.__module__) else kind.__qualname__

    def _vocabulary(self, layer: Any) -> str:
        """What a lookup has learned: in no config, if it was adapted."""
        if not callable(getattr(layer, "get_vocabulary", None)):
            return "no vocabulary"
        return self.of([str(token) for token in layer.get_vocabulary()])

    def _attributes(self, layer: Any) -> str:
        base = _attributes_of_all()
        values = {n: v for n, v in vars(layer).items() if n not in base}
        chosen: dict[str, str] = {}
        size = -1
        while size < len(chosen):  # A function among them may name further ones.
            size = len(chosen)
            for name, value in sorted(values.items()):
                if name not in chosen and self._counts(layer, name, value):
                    chosen[name] = self.of(value)
        return str(sorted(chosen.items()))

    def _counts(self, layer: Any, name: str, value: Any) -> bool:
        """Whether an attribute may decide what the layer gives."""
        if not type(layer).__module__.startswith(_CONFIGURED):
            indirect = bool(self.names & _INDIRECT) and not name.startswith("_")
            return indirect or name in self.names or _is_the_users(value)
        return _is_the_users(value) or (hasattr(value, "dtype") and hasattr(value, "shape"))


def _is_the_users(value: Any) -> bool:
    """Whether it is code of the user's own, an object of it, or holds one."""
    if isinstance(value, dict):
        return any(_is_the_users(part) for part in value.values())
    if isinstance(value, (list, tuple, set)):
        return any(_is_the_users(part) for part in value)
    if isinstance(value, keras.layers.Layer):
        return False  # It is described as a sublayer.
    if isinstance(value, _HOLDING):
        return True  # No config tells what it holds.
    callables = (types.FunctionType, types.MethodType, type)
    if isinstance(value, callables):
        return not is_library(value.__module__)
    wrapped = getattr(value, "func", None) or getattr(value, "python_function", None)
    return _is_the_users(wrapped) if wrapped else not is_library(type(value).__module__)


def _policy(layer: Any) -> str:
    return str(layer.dtype_policy.name)


@cache
def _attributes_of_all() -> frozenset[str]:
    """What every layer has, as Keras keeps its books in it."""
    layer = keras.layers.Identity()
    layer(keras.KerasTensor((None, 1)))
    return frozenset(vars(layer))
