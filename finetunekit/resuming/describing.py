"""Objects described in plain values that are the same in each process."""

import functools
import hashlib
import inspect
import re
import types
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import hashing

# What another process may count otherwise, or what no longer matters once weights are put back.
_INCIDENTAL = re.compile(
    r"name|trainable|build_config|registered_name|module|\w+_initializer|learning_rate"
)
_NUMBERED = re.compile(r"_\d+$")  # As Keras numbers names, by what was made before.
_DEEPEST = 12


def describe(value: Any, depth: int = 0) -> Any:
    """A value as numbers, texts, lists and dicts: no ids, no addresses, no numbered names.

    Objects are said by class and settings, functions by name, code and what they enclose.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return value if value == value else "nan"  # Else it would differ from itself.
    if isinstance(value, np.generic):
        return describe(value.item(), depth)
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        return f"array {hashing.array_digest(value)[:16]}"
    if depth > _DEEPEST:
        return type(value).__name__
    if isinstance(value, dict):
        rows = ((k if isinstance(k, str) else str(describe(k)), v) for k, v in value.items())
        return {key: describe(part, depth + 1) for key, part in rows}
    if isinstance(value, (list, tuple)):
        return [describe(part, depth + 1) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted((describe(part, depth + 1) for part in value), key=str)
    if isinstance(value, type):
        return value.__qualname__
    code = _function(value, depth)
    return _object(value, depth) if code is None else code


def _function(value: Any, depth: int) -> Any:
    """A function, bound method, partial, or code object; None for anything else."""
    if isinstance(value, functools.partial):
        return ["partial", describe([value.func, value.args, value.keywords], depth + 1)]
    if isinstance(value, types.MethodType):
        return [describe(value.__func__, depth + 1), type(value.__self__).__name__]
    value = getattr(value, "python_function", value)  # That of a `tf.function`.
    if isinstance(value, types.CodeType):
        parts = [value.co_code.hex(), list(value.co_names), describe(value.co_consts, depth + 1)]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    if isinstance(value, types.BuiltinFunctionType):
        return value.__qualname__
    if not isinstance(value, types.FunctionType):
        return None
    if value.__module__.startswith("keras."):
        return value.__qualname__
    held = [value.__defaults__, value.__kwdefaults__, *map(_inside, value.__closure__ or ())]
    given = [describe(part, depth + 1) for part in held if part is not None]
    return [value.__qualname__, describe(value.__code__, depth + 1), *given]


def _inside(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It is empty still.
        return None


def _object(value: Any, depth: int) -> Any:
    """Class, config, and attributes that have the names of arguments: not all configs are whole."""
    config = {}
    if hasattr(value, "get_config"):
        try:
            config = _stripped(value.get_config())
        except Exception:  # What a user's class raises that does not describe itself.
            config = {}
    found = {"class": type(value).__name__, **config}
    arguments = inspect.signature(type(value).__init__).parameters
    held = getattr(value, "__dict__", {})
    for name in arguments:
        kept = next((key for key in (name, f"_{name}") if key in held), None)
        unsaid = name not in found or _is_code(found[name])
        if kept is not None and unsaid and not _INCIDENTAL.fullmatch(name):
            found[name] = describe(held[kept], depth + 1)
    if "call" in held:  # On the instance: it hides the class's.
        found["call"] = describe(held["call"], depth + 1)
    if isinstance(value, keras.metrics.Metric):
        found["name"] = _NUMBERED.sub("", value.name)
    return describe(found, depth + 1)


def _is_code(said: Any) -> bool:
    """Whether a stripped config says no more of a function than its name, or its bytes."""
    return isinstance(said, list) and said[:1] in (["function"], ["__lambda__"])


def _stripped(config: Any) -> Any:
    """A config of Keras without what is incidental; objects in it as `describe` has them."""
    if isinstance(config, dict) and {"class_name", "config"} <= set(config):
        kind, inner = config["class_name"], config["config"]
        if kind == "DTypePolicy":
            return inner["name"]
        whole = isinstance(inner, dict) and kind != "__lambda__"
        return {"class": kind, **_stripped(inner)} if whole else [kind, inner]
    if isinstance(config, dict):
        rows = config.items()
        return {k: _stripped(v) for k, v in rows if not _INCIDENTAL.fullmatch(str(k))}
    if isinstance(config, (list, tuple)):
        return [_stripped(part) for part in config]
    return config
