"""Input contracts: recorded or inferred from the first layers, and compared with inputs."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import input_transforms, statistics
from finetunekit.backbones.input_transforms import Front, Signal
from finetunekit.foundation import arguments
from finetunekit.models import (
    data_formats,
    graph,
    image_sizes,
    inputs,
    metadata,
    tables,
    value_ranges,
)
from finetunekit.models.data_formats import Layout
from finetunekit.models.metadata import InputContract
from finetunekit.text import roles

# A factor below this turns pixels of 0 to 255 into small numbers.
_SHRINKS = 1 / 20


def input_contract(model: keras.Model) -> InputContract | None:
    """The inputs that a model expects: as recorded, otherwise as inferred from its first layers.

    Args:
        model: Any model.

    Returns:
        The contract, or None if nothing is known.

    Raises:
        TypeError: If it is not a keras.Model.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("builtin:mobilenet_v2")
        assert ftk.input_contract(backbone).value_range == (0.0, 255.0)
        ```
    """
    arguments.check_model(model)
    return metadata.of(model).contract or infer(model)


def remember_size(model: keras.Model, shape: tuple[Any, ...]) -> None:
    """Notes the size of the images that a model is tuned on, if it takes any size.

    Args:
        model: The model.
        shape: The shape of a batch, `(n, height, width, channels)`.
    """
    size = image_sizes.to_remember(model, shape)
    if size is not None:
        known = input_contract(model) or InputContract()
        metadata.remember(model, contract=dataclasses.replace(known, tuned_size=size))


def infer(model: keras.Model) -> InputContract | None:
    """The contract as far as it follows from the model's graph, or None."""
    if not graph.is_graph(model) or not model.inputs:
        return None
    found = input_transforms.walk(model)
    tokens = [(name, layer.input_dim) for name, layer in found.embeddings]
    if tokens:
        name, size = max(tokens, key=lambda row: row[1])
        tensor = next(tensor for tensor in model.inputs if tensor.name == name)
        return _of_tokens(tensor, size)
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return None
    return _of_images(model.inputs[0], found, data_formats.layout_of_input(model))


def _of_tokens(tensor: Any, size: int) -> InputContract:
    length = tensor.shape[1] if len(tensor.shape) == 2 else None
    return InputContract(
        value_range=(0.0, float(size - 1)),
        note=f"token ids of 0 to {size - 1:,}",
        dtype=str(tensor.dtype),
        vocabulary_size=size,
        length=length,
    )


def _of_images(tensor: Any, found: Front, layout: Layout) -> InputContract | None:
    height, width = (tensor.shape[axis] for axis in layout.spatial_axes())
    size = (int(height), int(width)) if height and width else None
    kept = _kept(found)
    if kept is not None:
        value_range, order, mean, std = kept.value_range, kept.channel_order, kept.mean, kept.std
    else:
        value_range, order, mean, std = _scaling(found)
    if size is None and value_range is None:
        return None
    raw = value_range == (0.0, 255.0)
    note = f"raw {order.upper()} pixels of 0 to 255" if raw else "pixels as its maker scaled them"
    return InputContract(
        value_range=value_range,
        size=size,
        channel_order=order,
        preprocessing="inside" if raw else "outside",
        note=note,
        dtype=str(tensor.dtype),
        mean=mean,
        std=std,
    )


def _kept(found: Front) -> InputContract | None:
    """The contract of the first nested model with one that gets the input as it is."""
    for layer, signal in found.stages:
        contract = metadata.of(layer).contract
        if contract is not None and not signal.touched:
            return contract
    return None


def _scaling(found: Front) -> tuple[Any, str, Any, Any]:
    """Range, channel order, mean and std, from the layers that scale; range None if none does."""
    signals = {signal.name: signal for signal in found.ends}
    if len(signals) != 1:
        return None, "rgb", None, None
    (signal,) = signals.values()
    ends = [255 * signal.scale + signal.offset, signal.offset]
    if (signal.scale <= 0).any() or not signal.touched:
        return None, "rgb", None, None
    shrinks = (signal.scale < _SHRINKS).all() and np.abs(ends).max() < 8
    centred = signal.flipped and (signal.scale == 1).all() and np.abs(ends).max() < 200
    if not shrinks and not centred:
        return None, "rgb", None, None
    scale, offset = (row.tolist() for row in np.broadcast_arrays(signal.scale, signal.offset))
    # As the user feeds them: a model that turns the channels itself takes RGB.
    rows = list(zip(scale, offset, strict=True))[:: -1 if signal.flipped else 1]
    mean = tuple(0.0 - shift / factor for factor, shift in rows)
    return (0.0, 255.0), "rgb", mean, tuple(1 / factor for factor, _ in rows)


def doubts(model: keras.Model, x: Any, name: str = "x") -> list[str]:
    """Findings about inputs that `inputs.read` has read, each with its fix.

    Args:
        model: The model that they are for.
        x: Inputs in the structure that it takes.
        name: What the user calls them.

    Raises:
        ValueError: If token ids lie outside the vocabulary.
    """
    found = input_transforms.walk(model)
    arrays = by_input(model, x)
    check_tokens(found, arrays, model, name)
    rows = list(_rescaled_twice(found, model))
    others = [*_augmented_in_another_range(found, model), *_of_padding_only(found, model, x, name)]
    if len(arrays) != 1:
        return rows + others
    (array,) = arrays.values()
    size = image_sizes.doubt(model, array.shape, name)
    contract, signal = _taker(model, found)
    if not rows and contract is not None:
        rows += _out_of_range(model, array, contract, signal, name)
    sample = array[:: max(1, len(array) // statistics.SAMPLES)][: statistics.SAMPLES]
    alone = None if signal.touched else contract
    rows += statistics.doubts(model, sample, name, alone, scale=not rows)
    rows += others
    return rows if size is None else [size, *rows]


def doubts_of_layers(model: keras.Model) -> list[str]:
    """Findings about the layers in front of the first weights, whatever the inputs are."""
    found = input_transforms.walk(model)
    return [*_rescaled_twice(found, model), *_augmented_in_another_range(found, model)]


def by_input(model: keras.Model, x: Any) -> dict[str, np.ndarray]:
    """Name of each input -> its array."""
    if not graph.is_graph(model):
        return {"x": x} if isinstance(x, np.ndarray) else {}
    wanted = graph.input_structure(model)
    if isinstance(x, dict):
        tensors = wanted if isinstance(wanted, dict) else {t.name: t for t in model.inputs}
        return {tensor.name: x[key] for key, tensor in tensors.items()}
    names = [tensor.name for tensor in keras.tree.flatten(wanted)]
    return dict(zip(names, keras.tree.flatten(x), strict=True))


def check_tokens(
    found: Front, arrays: dict[str, np.ndarray], model: keras.Model, name: str
) -> None:
    """Raises for token ids that an Embedding has no row for.

    TensorFlow takes such an id for a row of zeros on a GPU, and raises its own error on a CPU.

    Raises:
        ValueError: With the first such sample.
    """
    for key, layer in found.embeddings:
        ids = arrays[key]
        part = name if len(arrays) == 1 else f"{name}[{key!r}]"
        low, high = ids.min(), ids.max()
        if low >= 0 and high < layer.input_dim:
            continue
        bad = (ids < 0) | (ids >= layer.input_dim)
        sample = int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
        remedy = "Tokenize with the tokenizer that belongs to these weights"
        if low < 0:
            remedy += "; padding is a token id too, often 0"
        raise ValueError(
            f"`{part}` must hold token ids of 0 to {layer.input_dim - 1:,}, which is what "
            f"{layer.name!r} in {model.name!r} knows; sample {sample} holds others. {remedy}. "
            f"Received: {part} with ids from {low} to {high}"
        )


def _rescaled_twice(found: Front, model: keras.Model) -> Iterator[str]:
    """Finds pixels that are scaled down twice."""
    for layer, signal in found.stages:
        if not (signal.scale < _SHRINKS).all():
            continue
        contract = metadata.of(layer).contract
        takes_pixels = contract is not None and contract.value_range == (0.0, 255.0)
        if takes_pixels or _shrinks(layer):
            yield (
                f"{model.name!r} scales its input twice: it is already scaled (times "
                f"{float(signal.scale.max()):.3g}) where it comes to {layer.name!r}, which scales "
                "pixels of 0 to 255 itself. Take the first scaling out"
            )
            return


def _shrinks(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Rescaling):
        return bool((np.asarray(layer.scale, "float64") < _SHRINKS).all())
    if isinstance(layer, keras.layers.Normalization) and layer.variance is not None:
        deviation = np.sqrt(np.asarray(keras.ops.convert_to_numpy(layer.variance), "float64"))
        return bool((deviation > 1 / _SHRINKS).all())
    return False


def _taker(model: keras.Model, found: Front) -> tuple[InputContract | None, Signal]:
    """The contract that the values must fit, and what has become of them where it holds."""
    for layer, signal in found.stages:
        known = metadata.of(layer).contract
        if known is not None and known.value_range is not None:
            return known, signal
    return input_contract(model), Signal("x")


def _augmented_in_another_range(found: Front, model: keras.Model) -> Iterator[str]:
    """Finds augmentation layers that take the values for smaller or larger ones than they are."""
    if not found.augmentations:
        return
    contract, signal = _taker(model, found)
    if contract is None or contract.value_range is None or (signal.scale == 0).any():
        return
    fed = (np.array([[end] for end in contract.value_range]) - signal.offset) / signal.scale
    for layer, seen in found.augmentations:
        ends = fed * seen.scale + seen.offset
        yield from value_ranges.doubts([layer], float(ends.min()), float(ends.max()), model.name)


def _of_padding_only(found: Front, model: keras.Model, x: Any, name: str) -> Iterator[str]:
    """Finds samples without a token, of which an average of plain Keras makes NaN."""
    filled = roles.mask_of(model, x)
    masking = [layer for _, layer in found.embeddings if layer.mask_zero]
    if filled is None and masking and isinstance(x, np.ndarray):
        filled = x
    if not isinstance(filled, np.ndarray) or filled.ndim != 2:
        return
    rows = np.flatnonzero(~(filled != 0).any(axis=1))
    if len(rows):
        yield (
            f"`{name}` has samples of padding only, without a token: {tables.rows_text(rows)}. "
            "There is nothing to learn from, and a GlobalAveragePooling1D of plain Keras makes NaN "
            "of them, which spoils all weights. Drop them: "
            f"`keep = mask.any(axis=1)`"
        )


def _out_of_range(
    model: keras.Model, x: np.ndarray, contract: InputContract, signal: Signal, name: str
) -> Iterator[str]:
    if x.ndim < 3:
        return
    if not signal.touched and inputs.is_dark(x, contract):
        return
    lowest, highest = float(x.min()), float(x.max())
    ends = np.array([[lowest], [highest]]) * signal.scale + signal.offset
    doubt = inputs.doubt_range(float(ends.min()), float(ends.max()), model, contract, name)
    if doubt is not None and lowest < highest:
        yield doubt
