"""Shapes of inputs against those that a model takes, and what to do where they do not fit."""

from typing import Any

import keras
import numpy as np

from finetunekit.models import data_formats, image_sizes


def fits(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Whether a batch of this shape can be fed; Keras adds or drops a last axis of length 1."""
    if len(found) == len(wanted) - 1 and wanted[-1] == 1:
        wanted = wanted[:-1]
    elif len(found) == len(wanted) + 1 and found[-1] == 1:
        found = found[:-1]
    return len(found) == len(wanted) and all(
        one is None or other is None or one == other
        for one, other in zip(found[1:], wanted[1:], strict=True)
    )


def check(x: np.ndarray, wanted: tuple[Any, ...], model: keras.Model, name: str) -> None:
    """Raises for an input of another shape than the model takes.

    Args:
        x: The input.
        wanted: The shape that the model takes.
        model: The model.
        name: What the user calls the input.

    Raises:
        ValueError: With what to do about it.
    """
    if fits(x.shape, wanted):
        return
    raise ValueError(
        f"`{name}` must have shape {shape_text(wanted)} for {model.name!r}. "
        f"{remedy_for_shape(wanted, x.shape, model)}Received: {name} of shape {x.shape}"
    )


def remedy_for_shape(wanted: tuple[Any, ...], found: tuple[Any, ...], model: keras.Model) -> str:
    """What to do about inputs of a wrong shape, where it can be told."""
    if len(found) == len(wanted) - 1 and fits((None, *found), wanted):
        return "For a single sample, add the batch axis: `x[None]`; for a dataset, `.batch(32)`. "
    if len(wanted) == len(found) == 4 and data_formats.of_input(model) == data_formats.FIRST:
        return _remedy_channels_first(wanted, found, model)
    if len(wanted) == 4 and wanted[-1] == 3 and (len(found) == 3 or found[-1] == 1):
        return "Grey images become RGB with `np.repeat(x.reshape(*x.shape[:3], 1), 3, axis=-1)`. "
    if len(wanted) == len(found) == 4:
        if found[1] == wanted[-1] and found[-1] != wanted[-1]:
            return "The channels come last in Keras: `np.moveaxis(x, 1, -1)`. "
        if found[-1] == 4 and wanted[-1] == 3:
            return "Drop the alpha channel: `x[..., :3]`. "
        if found[-1] == wanted[-1]:
            return (
                f"Resize with `{image_sizes.resizing(wanted[1:3])}(x)`, or load the backbone with "
                f"`input_shape={found[1:]}`. "
            )
    return _reshaped(wanted)


def _remedy_channels_first(
    wanted: tuple[Any, ...], found: tuple[Any, ...], model: keras.Model
) -> str:
    if found[-1] == wanted[1] and found[1] != wanted[1]:
        return "This model takes the channels first: `np.moveaxis(x, -1, 1)`. "
    if found[1] == wanted[1]:
        return f"Resize with `{image_sizes.resizing(wanted[2:4], model)}(x)`. "
    return _reshaped(wanted)


def _reshaped(wanted: tuple[Any, ...]) -> str:
    sizes = ", ".join("-1" if size is None else str(size) for size in wanted[1:])
    return f"If the values are there in another form, `x.reshape(len(x), {sizes})`. "


def shape_text(shape: tuple[Any, ...]) -> str:
    """`(n, 96, 96, 3)` for `(None, 96, 96, 3)`."""
    return (
        "(" + ", ".join(["n", *("any" if size is None else str(size) for size in shape[1:])]) + ")"
    )
