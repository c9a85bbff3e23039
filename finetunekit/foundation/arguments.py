"""Are arguments what they should be? One check and one error text for each kind."""

import numbers
from typing import Any

import keras


def check_seed(seed: Any) -> None:
    """Raises for a seed that is no int of at least 0.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is negative.
    """
    check_int(seed, "seed", 0, optional=True)


def check_int(value: Any, name: str, smallest: int, *, optional: bool = False) -> None:
    """Raises for what is no int of some size.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is too small.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an int of at least {smallest}. Received: {name}={value!r}"
        )
    if value < smallest:
        raise ValueError(f"`{name}` must be at least {smallest}. Received: {name}={value!r}")


def callback_list(callbacks: Any) -> list[Any]:
    """The callbacks as a list, of whatever form `fit` takes them in."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
