"""Functions of Lambda layers: as bytecode in files, given by the layers' names, and at saving."""

import base64
import binascii
from types import CellType, FunctionType
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import bytecode
from finetunekit.models import graph

NAMELESS = ("<lambda>", "lambda_")
"""What functions without a name of their own are called, which says nothing about a layer."""


def function_from(stored: Any, names: dict[str, Any]) -> FunctionType:
    """The function that a file holds as bytecode; only of files that the caller trusts.

    Args:
        stored: What Keras wrote: code, defaults and closure, as a dictionary or in this order.
        names: What the function may refer to, besides `keras`, `np` and `tf`.

    Raises:
        bytecode.Foreign: If this Python must not run it; the message says why.
    """
    parts = (
        dict(zip(("code", "defaults", "closure"), stored, strict=False))
        if isinstance(stored, (list, tuple))
        else stored
    )
    try:
        data = base64.b64decode(parts["code"])
        defaults = tuple(parts["defaults"]) if parts.get("defaults") else None
        cells = tuple(CellType(_plain(value)) for value in parts.get("closure") or ()) or None
    except (TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise bytecode.Foreign(f"it is damaged ({type(error).__name__})") from error
    code = bytecode.load(data)
    if len(cells or ()) != len(code.co_freevars):
        raise bytecode.Foreign("it is damaged (the values that it refers to are missing)")
    known = {"keras": keras, "np": np, "tf": _tensorflow(), **names}
    return FunctionType(code, known, "<lambda>", defaults, cells)


def _plain(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and set(value) == {"type", "value"} else value


def _tensorflow() -> Any:
    """The module that most of these functions call; None where it is not installed."""
    try:
        import tensorflow as tf
    except ImportError:
        return None
    return tf


def needing_their_function(model: keras.Model) -> list[str]:
    """The names of the Lambda layers whose functions a file of the model does not bring back."""
    layers = [model, *(place.layer for place in graph.walk(model))]
    found = [layer for layer in layers if isinstance(layer, keras.layers.Lambda)]
    return list(dict.fromkeys(layer.name for layer in found if not _comes_back(layer.function)))


def _comes_back(function: Any) -> bool:
    """Whether Keras finds the function again by its name: its own ones, and registered ones."""
    if getattr(function, "__name__", "") in NAMELESS:
        return False
    try:
        stored = keras.saving.serialize_keras_object(function)
        found = keras.saving.deserialize_keras_object(stored)
    except (TypeError, ValueError, AttributeError, KeyError):
        return False
    # One of Keras' own may come back from another of its modules; one of the user's must not.
    return found is function or all(_module(f).startswith("keras.") for f in (found, function))


def _module(function: Any) -> str:
    return str(getattr(function, "__module__", ""))


def given_by_name(model: keras.Model) -> dict[str, Any]:
    """The functions of a model's Lambda layers, by the names that only one of them has."""
    found: dict[str, list[Any]] = {}
    for place in graph.walk(model):
        if isinstance(place.layer, keras.layers.Lambda):
            found.setdefault(place.layer.name, []).append(place.layer.function)
    return {name: functions[0] for name, functions in found.items() if len(functions) == 1}
