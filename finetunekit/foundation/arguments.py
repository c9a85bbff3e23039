"""Checks of arguments: one function and one error text for each kind."""

import contextlib
import math
import numbers
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras

from finetunekit.foundation.messages import closest, listed

_LONGEST = 200  # Characters of a value that an error shows.


class Interval(NamedTuple):
    """Which numbers are meant: in words, and as a test."""

    words: str
    holds: Callable[[float], bool]


SHARE = Interval("a number in (0, 1)", lambda value: 0 < value < 1)
SHARE_OR_NONE = Interval("a number in [0, 1)", lambda value: 0 <= value < 1)
SHARE_OR_ALL = Interval("a number in (0, 1]", lambda value: 0 < value <= 1)
ANY_SHARE = Interval("a number in [0, 1]", lambda value: 0 <= value <= 1)
POSITIVE = Interval("a positive number", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Interval("a number of at least 0", lambda value: 0 <= value < math.inf)


def check_model(
    model: Any, name: str = "model", remedy: str = "", *, kind: type = keras.Model
) -> None:
    """Raises for what is not a model.

    Args:
        model: What was given.
        name: The argument's name.
        remedy: What to do, if more is known.
        kind: `keras.layers.Layer` where any layer does too.

    Raises:
        TypeError: If it is not a Keras model.
    """
    if not isinstance(model, kind):
        is_data = isinstance(model, (list, tuple, dict)) or hasattr(model, "shape")
        if is_data or hasattr(model, "element_spec"):
            remedy = remedy or "The model comes first, the data after it."
        more = f"{remedy} " if remedy else ""
        raise TypeError(f"`{name}` must be a keras.Model. {more}Received: {shown(name, model)}")


def shown(name: str, value: Any) -> str:
    """`name=value` for an error: of arrays the shape, of what is long the beginning."""
    shape = getattr(value, "shape", None)
    if shape and (isinstance(shape, tuple) or keras.ops.is_tensor(value)):
        return f"{name} of type {type(value).__name__} and shape {tuple(shape)}"
    text = repr(value)
    return f"{name}={text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...'}"


def is_number(value: Any) -> bool:
    """Whether it is a real number, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_number(value: Any, name: str, interval: Interval, what: str = "") -> float:
    """The number as a float.

    Args:
        value: What was given.
        name: The argument's name.
        interval: Which numbers it may be.
        what: What the number is, as in `the share of values set to zero`, or `such as 1e-4`.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is outside of the interval.
    """
    if not is_number(value) or not interval.holds(float(value)):
        error = ValueError if is_number(value) else TypeError
        more = f", {what}" if what else ""
        raise error(f"`{name}` must be {interval.words}{more}. Received: {shown(name, value)}")
    return float(value)


def check_flag(value: Any, name: str) -> None:
    """Raises for what is not a bool.

    Raises:
        TypeError: If it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False. Received: {shown(name, value)}")


def check_choice(value: Any, name: str, names: Iterable[str]) -> None:
    """Raises for what is none of some names.

    Raises:
        ValueError: If it is another name, with the nearest ones, or not a name at all.
    """
    known = list(names)
    if not isinstance(value, str) or value not in known:
        hint = closest(value, known) if isinstance(value, str) else ""
        raise ValueError(
            f"`{name}` must be one of {listed(known, 20)}. {hint}Received: {shown(name, value)}"
        )


def check_path(value: Any, name: str) -> str:
    """The path as a string.

    Raises:
        TypeError: If it is neither a string nor a path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"`{name}` must be a string or a path. Received: {shown(name, value)}")
    return str(os.fspath(value))


def check_seed(seed: Any) -> None:
    """Raises for a seed that is not an int of at least 0.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is negative.
    """
    check_int(seed, "seed", 0, optional=True)


def check_int(value: Any, name: str, smallest: int, *, optional: bool = False) -> None:
    """Raises for what is not an int of some size.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is too small.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an int of at least {smallest}. Received: {shown(name, value)}"
        )
    if value < smallest:
        raise ValueError(f"`{name}` must be at least {smallest}. Received: {shown(name, value)}")


def callback_list(callbacks: Any) -> list[Any]:
    """The callbacks as a list, of whatever form `fit` takes them in."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


@contextlib.contextmanager
def renamed(name: str, given: str, values: Mapping[str, str]) -> Iterator[None]:
    """Errors raised inside name the argument that the caller gave, not that of an inner function.

    Args:
        name: The argument of the inner function.
        given: The argument of the caller.
        values: What was passed on -> what was given.
    """
    try:
        yield
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        if f"`{name}`" not in text:
            raise
        text = text.replace(f"`{name}`", f"`{given}`").replace(
            f"Received: {name}=", f"Received: {given}="
        )
        for passed, value in values.items():
            text = text.replace(repr(passed), repr(value))
        raise type(error)(text) from error
