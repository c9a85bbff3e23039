"""Inputs as arrays in the structure that a model takes, checked against it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.foundation.messages import closest, listed, say, warn
from finetunekit.models import data_formats, graph, image_sizes, input_shapes, metadata, tables
from finetunekit.models.metadata import InputContract
from finetunekit.text import attach

DEPTHS = (8, 10, 12, 14, 16)
"""Bits in which the values of a channel may be stored, as cameras and scanners do."""

_BLOCK = 1 << 24


def is_array_like(data: Any) -> bool:
    """Arrays, tensors, lists of numbers, and dicts or lists of these: data that can be indexed."""
    if isinstance(data, (list, tuple)):
        return True
    if isinstance(data, dict):
        return all(is_array_like(part) for part in data.values())
    if packing(data) or _is_tensor(data):
        return True
    return hasattr(data, "shape") and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def read(x: Any, model: keras.Model, name: str = "x", *, compare: bool = True) -> Any:
    """Inputs as numpy arrays in the structure that the model takes, checked against it.

    `compare=False` leaves the range of the values to the caller.

    Raises:
        ValueError: If structure, shapes, lengths or values do not fit.
        TypeError: If it is not an array.
    """
    _check_is_data(x, model, name)
    x = tokenized(x, model, name)
    wanted = _wanted(model)
    columns = tables.columns_of(x)
    if columns and len(_in_order(wanted)) > 1:
        x, columns = {column: x[column] for column in columns}, []
    arrays, pairs = _structured(x, wanted, name)
    for array, tensor in pairs:
        part = name if len(pairs) == 1 or tensor is None else f"{name}[{tensor.name!r}]"
        if tensor is not None:
            input_shapes.check(array, tuple(tensor.shape), model, part)
        check_finite(array, part, columns)
    check_lengths(arrays, name)
    if compare and len(pairs) == 1:
        _compare(pairs[0][0], model, name)
    return arrays


def _structured(x: Any, wanted: Any, name: str) -> tuple[Any, list[Any]]:
    """The arrays in the structure that the model takes, and each with its symbolic input."""
    if isinstance(x, dict):
        return _from_dict(x, wanted, name)
    flat = _in_order(wanted)
    if isinstance(x, (list, tuple)) and _is_one_each(x, wanted):
        tensors = flat or [None] * len(x)
        parts = tuple(_array(p, t, name) for p, t in zip(x, tensors, strict=True))
        pairs = list(zip(parts, tensors, strict=True))
        return parts[0] if len(parts) == 1 else parts, pairs
    array = _array(x, flat[0] if len(flat) == 1 else None, name)
    if len(flat) > 1:
        raise ValueError(
            f"`{name}` must be a dict or list of {len(flat)} arrays, one for each input: "
            f"{listed(tensor.name for tensor in flat)}. Received: one array of shape "
            f"{array.shape}"
        )
    return array, [(array, flat[0] if flat else None)]


def _check_is_data(x: Any, model: keras.Model, name: str) -> None:
    if isinstance(x, (str, bytes, os.PathLike)):
        remedy = (
            "Give a list of texts, `[text]`. "
            if metadata.of(model).tokenizer is not None
            else "Read images with `keras.utils.image_dataset_from_directory(path)`, arrays with "
            "`np.load(path)`. "
        )
        raise TypeError(f"`{name}` is a path or text, not data. {remedy}Received: {name}={x!r}")


def tokenized(x: Any, model: keras.Model, name: str = "x") -> Any:
    """Texts as token ids, if that is what the model takes; anything else as it is."""
    texts = attach.as_texts(x) if attach.takes_texts(model) else None
    return x if texts is None else attach.to_arrays(model, texts, name)


def _compare(x: np.ndarray, model: keras.Model, name: str) -> None:
    compare_range(x, model, name)
    size = image_sizes.doubt(model, x.shape, name)
    if size is not None:
        warn(size)


def compare_range(x: np.ndarray, model: keras.Model, name: str = "x") -> None:
    """Warns of values in another range than the input contract of the model says."""
    contract = metadata.of(model).contract
    if contract is None or is_dark(x, contract):
        return
    doubt = doubt_range(float(x.min()), float(x.max()), model, contract, name)
    if doubt:
        warn(doubt)


def is_dark(x: np.ndarray, contract: InputContract) -> bool:
    """Whether low values are no sign of scaling: whole numbers where 0 to 255 are expected."""
    return x.dtype.kind in "bu" and contract.value_range == (0.0, 255.0) and float(x.max()) <= 255


def doubt_range(
    low: float, high: float, model: keras.Model, contract: InputContract, name: str = "x"
) -> str | None:
    """What is wrong with values between `low` and `high` for a model of this contract, if anything.

    Pictures that were resized or augmented may pass the ends of the range a little, which is fine.
    """
    if contract.value_range is None or contract.vocabulary_size is not None or low == high:
        return None
    start, end = contract.value_range
    width = end - start
    found = f"`{name}` lies between {low:.3g} and {high:.3g}, but {model.name!r} takes "
    if (start, end) == (0.0, 255.0):
        if high <= 1 or (low < 0 and high <= 3) or low < -width / 10:
            return (
                f"{found}raw pixels of 0 to 255 and scales them itself: with scaled ones it sees "
                "next to nothing. Feed the pixels as they are, or load the backbone with "
                "`preprocessing='outside'`"
            )
        if high > 2 * end:
            return f"{found}pixels of 0 to 255. {_deep(high, name)}"
        return None
    found += f"pixels that you have scaled to {start:.3g} to {end:.3g} before. "
    if high > end + width / 4 or low < start - width / 4:
        what = "These look raw. " if low >= 0 and high > 64 else ""
        return f"{found}{what}{_scale(name, contract, model)}"
    if start < 0 <= low and high <= 1:
        return f"{found}These look scaled to 0 to 1. {_scale(f'255 * {name}', contract, model)}"
    if width > 64 and -3 <= low and high <= 3:
        return f"{found}With these it sees next to nothing. {_scale('pixels', contract, model)}"
    return None


def _deep(high: float, name: str) -> str:
    """How images of more than 8 bits become pixels of 0 to 255: by the depth that holds them."""
    bits = next((bits for bits in DEPTHS if high <= 2**bits - 1), None)
    if bits is None:
        return f"Scale them: `{name} = 255 * ({name} / {name}.max())`"
    white = 2**bits - 1
    return (
        f"These look like {bits}-bit images, whose white is {white:,}: "
        f"`{name} = {name} * (255 / {white})`; take the white of your camera if it is another, "
        "the same for all images"
    )


def _scale(pixels: str, contract: InputContract, model: keras.Model) -> str:
    inside = "load the backbone with `preprocessing='inside'` and feed pixels of 0 to 255"
    if contract.mean is None or contract.std is None:
        return f"Scale them as the maker of the model did, or {inside}"
    mean, std = (str([round(float(v), 3) for v in row]) for row in (contract.mean, contract.std))
    order = "[..., ::-1]" if contract.channel_order == "bgr" else ""
    if data_formats.of_input(model) == data_formats.FIRST:
        mean, std = (f"np.reshape({row}, (-1, 1, 1))" for row in (mean, std))
        order = order and "[:, ::-1]"
    parts = f"{pixels}{order}" if "*" not in pixels or order else f"({pixels})"
    return f"Scale RGB pixels of 0 to 255, `({parts} - {mean}) / {std}`, or {inside}"


def check_lengths(arrays: Any, name: str) -> int:
    """The number of samples; all arrays must hold the same.

    Raises:
        ValueError: If they do not, or hold none.
    """
    counts = [len(part) for part in keras.tree.flatten(arrays)]
    if len(set(counts)) > 1:
        raise ValueError(
            f"`{name}` must hold the same number of samples in each of its arrays. Cut them to the "
            f"same length. Received: {name} with {counts} samples"
        )
    if counts[0] == 0:
        raise ValueError(
            f"`{name}` holds no samples. Check how it was made or filtered. "
            f"Received: {name} with 0 samples"
        )
    return counts[0]


def _array(data: Any, tensor: Any, name: str) -> np.ndarray:
    """The array for one input: of texts if the model takes texts, else of numbers."""
    if tensor is None or tensor.dtype != "string":
        return to_numpy(data, name)
    array = np.asarray(keras.ops.convert_to_numpy(data) if _is_tensor(data) else data, dtype=object)
    if not array.ndim or not all(isinstance(text, (str, bytes)) for text in array.flat):
        raise ValueError(
            f"`{name}` must hold texts, as the model takes strings. Give an array or list of str, "
            f"one for each sample. Received: {name} of type {type(data).__name__}"
        )
    texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.flat]
    return np.array(texts, dtype=object).reshape(array.shape)


def to_numpy(data: Any, name: str) -> np.ndarray:
    """One array, float64 as `keras.config.floatx()` like Keras' own array pipeline has it.

    Raises:
        ValueError: For text, dates, objects, single numbers, or parts of unequal shape.
    """
    if packing(data) == "ragged":
        raise ValueError(
            f"`{name}` is ragged, and its samples must have one shape. Fill them up, "
            f"`{name}.to_tensor()`, with a padding mask if the model takes one. "
            f"Received: {name} of type {type(data).__name__}"
        )
    if hasattr(data, "toarray"):  # A sparse matrix of scipy.
        data = data.toarray()
    try:
        array = np.asarray(keras.ops.convert_to_numpy(data) if _is_tensor(data) else data)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`{name}` does not form one array: its parts differ in shape. Give all samples one "
            f"shape. Received: {name} of type {type(data).__name__}"
        ) from error
    array = tables.as_numbers(array, name, tables.columns_of(data))
    if array.dtype.kind not in "biuf":
        raise ValueError(_not_numbers(array, name))
    if array.ndim == 0:
        raise ValueError(
            f"`{name}` is a single number; for one sample give an array of one, `np.array([...])`. "
            f"Received: {name}={array}"
        )
    if array.dtype != np.float64:
        return array
    return array.astype(keras.config.floatx(), copy=False)


def _not_numbers(array: np.ndarray, name: str) -> str:
    remedy = "Turn it into numbers first: `np.asarray(values, dtype='float32')`."
    if array.dtype.kind in "mM":
        remedy = "Turn dates into numbers: `values.astype('datetime64[s]').astype('float32')`."
    elif name.endswith("y") and array.dtype.kind in "OUS":
        remedy = (
            "Turn class names into integer labels, "
            "`y = np.array([class_names.index(name) for name in y])`; numbers written as text "
            "into numbers, `np.asarray(y, dtype='float32')`."
        )
    return (
        f"`{name}` holds values of type {array.dtype}, not numbers. {remedy} "
        f"Received: {name} of dtype {array.dtype}"
    )


def check_finite(array: np.ndarray, name: str, columns: Sequence[Any] = ()) -> None:
    """Raises for NaN or infinity.

    Args:
        array: The array.
        name: What the user calls it.
        columns: Names of its columns, if it was a table.

    Raises:
        ValueError: With the first such sample, and of a table its column.
    """
    if array.dtype.kind != "f":
        return
    rows = max(1, _BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        bad = ~np.isfinite(array[start : start + rows])
        if bad.any():
            place = np.argwhere(bad)[0]
            first = place[0] = start + int(place[0])
            raise ValueError(
                f"`{name}` holds NaN or infinite values, first in "
                f"{tables.place_text(place, columns)}; one such value "
                "spoils all weights. Drop these samples, "
                f"`keep = np.isfinite({name}).reshape(len({name}), -1).all(axis=1)`, or fill them. "
                f"Received: {name}[{first}] with {int(bad[first - start].sum())} such values"
            )


def _wanted(model: keras.Model) -> Any:
    """The symbolic inputs as the model is called with them, or None if they are not known."""
    return graph.input_structure(model) if graph.is_graph(model) else None


def _in_order(wanted: Any) -> list[Any]:
    return [] if wanted is None else keras.tree.flatten(wanted)


def _from_dict(x: dict[str, Any], wanted: Any, name: str) -> tuple[dict[str, Any], list[Any]]:
    tensors = wanted
    if not isinstance(wanted, dict):
        tensors = {tensor.name: tensor for tensor in _in_order(wanted)}
    missing = [key for key in tensors if key not in x]
    if missing:
        hint = "".join(closest(str(key), list(tensors)) for key in x if key not in tensors)
        raise ValueError(
            f"`{name}` lacks inputs of the model: {listed(missing)}. {hint}Give a dict with the "
            f"keys {listed(tensors)}. Received: {name} with the keys {list(x)}"
        )
    if tensors:  # Keras would take what is left over for an input: by its place in the alphabet.
        say_left_out(x, tensors, name)
        x = {key: part for key, part in x.items() if key in tensors}
    arrays = {key: _array(p, tensors.get(key), f"{name}[{key!r}]") for key, p in x.items()}
    return arrays, [(array, tensors.get(key)) for key, array in arrays.items()]


def say_left_out(given: Mapping[str, Any], taken: Iterable[str], name: str) -> None:
    """Says which parts of a dict are no inputs of the model."""
    known = set(taken)
    spare = [key for key in given if key not in known]
    if spare:
        say(f"`{name}` has parts that are no inputs of the model and are left out: {listed(spare)}")


def _is_one_each(x: Any, wanted: Any) -> bool:
    """Whether a list holds one array for each input, rather than one sample after the other."""
    tensors = _in_order(wanted)
    if len(tensors) > 1:
        if len(x) != len(tensors):
            raise ValueError(
                f"`x` must hold one array for each of the {len(tensors)} inputs: "
                f"{listed(tensor.name for tensor in tensors)}. Received: x with {len(x)} arrays"
            )
        return True
    if not x or not all(hasattr(part, "shape") for part in x):
        return False
    if not tensors:
        return len(x) > 1 and len({len(part.shape) for part in x}) > 1
    if len(x) == 2 and len(x[0].shape) == len(tensors[0].shape):
        raise ValueError(
            "`x` holds two arrays, but the model has one input. If the second one is the labels, "
            "give it as `y`: `fit(model, x[0], x[1])`. "
            f"Received: x of shapes {[tuple(part.shape) for part in x]}"
        )
    return len(x) == 1 and len(x[0].shape) == len(tensors[0].shape)


def packing(part: Any) -> str:
    """`"ragged"` or `"sparse"` for a tensor or spec that is; else an empty string."""
    kind = type(part).__name__.lower()
    return next((word for word in ("ragged", "sparse") if kind.startswith(word)), "")


def _is_tensor(data: Any) -> bool:
    return not isinstance(data, np.ndarray) and bool(keras.ops.is_tensor(data))
