"""The size of images: which one a model expects, and whether it is given that."""

from typing import Any

import keras

from finetunekit.models import data_formats, graph, metadata
from finetunekit.models.metadata import InputContract

_DEFAULT = (224, 224)


def expected(model: keras.Model) -> tuple[int, int]:
    """Height and width of the images that a model is to be fed.

    Args:
        model: A model of one input of images.

    Returns:
        The only size that it takes; or else the one that it was tuned on, or its weights were
        trained on; or else 224 by 224.

    Raises:
        ValueError: If it takes no images.
    """
    shape = _input_shape(model)
    if shape is None:
        known = getattr(model, "inputs", None)
        raise ValueError(
            f"{model.name!r} does not take one input of images, so files of images cannot be read "
            f"for it. Received: a model with input "
            f"{[tuple(tensor.shape) for tensor in known] if known else 'unknown'}"
        )
    fixed = _sides(shape, model)
    if all(fixed):
        return int(fixed[0]), int(fixed[1])
    for contract in _contracts(model):
        for size in (contract.tuned_size, contract.size):
            if size is not None:
                return size
    return _DEFAULT


def channels(model: keras.Model) -> int | None:
    """How many channels the images of a model have; None if it takes any number."""
    shape = _input_shape(model)
    return None if shape is None else shape[_channel_axis(model)]


def doubt(model: keras.Model, shape: tuple[Any, ...], name: str = "x") -> str | None:
    """What is wrong with images of this shape `(n, height, width, channels)`, if anything."""
    known = metadata.of(model).contract
    if known is None or known.tuned_size is None:
        return None
    size = known.tuned_size
    if _size(model, shape) in (None, size):
        return None
    return (
        f"`{name}` holds images of {_text(_size(model, shape))} pixels, but {model.name!r} was "
        f"tuned on {_text(size)}, and is less accurate at another size. Resize them, "
        f"`{resizing(size, model)}({name})`; `fit` on another size makes that the size of the model"
    )


def doubt_between(
    model: keras.Model, train: tuple[Any, ...] | None, held_out: tuple[Any, ...] | None
) -> str | None:
    """What is wrong with the size of images to validate on, if anything.

    Args:
        model: The model, which may take images of any size.
        train: The shape of a batch to train on; None if it is not known.
        held_out: The shape of a batch to validate on; None if it is not known.
    """
    if train is None or held_out is None:
        return None
    size, other = _size(model, train), _size(model, held_out)
    if size is None or other is None or size == other:
        return None
    return (
        f"`validation_data` holds images of {_text(other)} pixels, and {model.name!r} trains on "
        f"{_text(size)}: what is measured on them is not what it can do. Resize them, "
        f"`{resizing(size, model)}(x)`"
    )


def to_remember(model: keras.Model, shape: tuple[Any, ...]) -> tuple[int, int] | None:
    """The size of a batch, if the model takes images of any size and does not resize them itself.

    Args:
        model: The model.
        shape: The shape of the batch, `(n, height, width, channels)`.
    """
    if any(isinstance(place.layer, keras.layers.Resizing) for place in graph.walk(model)):
        return None
    return _size(model, shape)


def _size(model: keras.Model, shape: tuple[Any, ...]) -> tuple[int, int] | None:
    """The size of a batch of RGB images, if the model takes any, and gives one result for each.

    Spectrograms are as long as they are, and a model that labels pixels is at home at any size.
    """
    wanted = _input_shape(model)
    if wanted is None or len(shape) != 4:
        return None
    if all(_sides(wanted, model)) or None in _sides(shape, model):
        return None
    outputs = getattr(model, "outputs", None)
    if not outputs or any(len(tensor.shape) > 2 for tensor in outputs) or channels(model) != 3:
        return None
    height, width = _sides(shape, model)
    return int(height), int(width)


def _text(size: tuple[int, int] | None) -> str:
    return "x".join(str(side) for side in size or ())


def resizing(size: tuple[int, int], model: keras.Model | None = None) -> str:
    """The layer that fits images to a size as image files are, as code."""
    height, width = size
    found = None if model is None else data_formats.of_input(model)
    other = "" if found in (None, keras.config.image_data_format()) else f", data_format={found!r}"
    return (
        f"keras.layers.Resizing({height}, {width}, crop_to_aspect_ratio=True, "
        f"antialias=True{other})"
    )


def _contracts(model: keras.Model) -> list[InputContract]:
    layers = [model, *(place.layer for place in graph.walk(model))]
    found = [metadata.of(layer).contract for layer in layers]
    return [contract for contract in found if contract is not None]


def _input_shape(model: keras.Model) -> tuple[Any, ...] | None:
    """The shape of a batch of images, its sizes None where any will do; None for other inputs."""
    known = getattr(model, "inputs", None)
    if not known:
        return (None, None, None, None)
    return tuple(known[0].shape) if len(known) == 1 and len(known[0].shape) == 4 else None


def _sides(shape: tuple[Any, ...], model: keras.Model) -> tuple[Any, ...]:
    return tuple(shape[2:4] if _channel_axis(model) == 1 else shape[1:3])


def _channel_axis(model: keras.Model) -> int:
    return 1 if data_formats.of_input(model) == data_formats.FIRST else 3
