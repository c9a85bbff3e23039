"""Outputs of a model for samples in whatever form a person has them."""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import image_files, image_folders, pipelines
from finetunekit.foundation import paths
from finetunekit.foundation.messages import warn
from finetunekit.models import graph, inputs, metadata
from finetunekit.text import attach, roles
from finetunekit.text import lengths as text_lengths

_SCALING = (keras.layers.Normalization, keras.layers.Rescaling)
_FILES_AT_ONCE = 256  # Images of files that are held in memory together.


@dataclass(frozen=True)
class Answered:
    """What a model gave for samples.

    Attributes:
        outputs: Its outputs, float64.
        y: Labels that came with the samples, or None.
        weights: Weights that came with them, or None.
        files: The file of each sample, if they were read from files.
    """

    outputs: np.ndarray
    y: Any = None
    weights: Any = None
    files: list[str] | None = None


def run(model: keras.Model, x: Any, *, batch_size: int, verbose: Any) -> Answered:
    """Runs a model of one output over samples.

    Args:
        model: The model.
        x: Samples, as for `predict`.
        batch_size: Samples that are computed at once, unless they come in batches.
        verbose: As for `model.predict`.

    Raises:
        ValueError: If they do not fit the model, or it gives NaN.
        TypeError: If they are of no known kind.
        OSError: If a file is not there.
    """
    if isinstance(x, Iterator):
        x = _listed(x)
    files = files_of(model, x)
    if files is not None:
        found = _of_files(model, files, batch_size, verbose)
    elif isinstance(x, str) and _takes_strings(model):
        found = Answered(_of_arrays(model, [x], batch_size, verbose))
    elif inputs.is_array_like(x) or isinstance(x, (bytes, os.PathLike)):
        found = Answered(_of_arrays(model, x, batch_size, verbose))
    else:
        found = _of_batches(model, x, batch_size, verbose)
    _check_numbers(found.outputs, model)
    return found


def files_of(model: keras.Model, x: Any) -> list[str] | None:
    """The image files that are meant, if `x` is paths or a folder of them; else None."""
    if _takes_strings(model) or not _takes_images(model):
        return None
    if isinstance(x, (str, os.PathLike)):
        path = os.fspath(x)
        return image_folders.list_images(path, "x") if os.path.isdir(path) else [path]
    if isinstance(x, (dict, bytes)) or not inputs.is_array_like(x) or len(x) == 0:
        return None
    if getattr(x, "ndim", 1) != 1 or not all(isinstance(path, (str, os.PathLike)) for path in x):
        return None
    return [os.fspath(path) for path in x]


def _listed(x: Iterator[Any]) -> Any:
    """Paths or texts that come one by one, such as those of `Path.glob`, as a list."""
    first = next(x, None)
    whole = itertools.chain([] if first is None else [first], x)
    return list(whole) if first is None or isinstance(first, (str, os.PathLike)) else whole


def _takes_strings(model: keras.Model) -> bool:
    named = roles.named_inputs(model).values()
    return attach.takes_texts(model) or any(str(tensor.dtype) == "string" for tensor in named)


def _takes_images(model: keras.Model) -> bool:
    known = getattr(model, "inputs", None)
    return not known or (len(known) == 1 and len(known[0].shape) == 4)


def _of_files(model: keras.Model, files: list[str], batch_size: int, verbose: Any) -> Answered:
    _check_raw_pixels(model)
    for file in files:
        paths.check_source(file, "x")
    parts = [
        _of_arrays(
            model, image_files.read_for(model, files[at : at + _FILES_AT_ONCE]), batch_size, verbose
        )
        for at in range(0, len(files), _FILES_AT_ONCE)
    ]
    return Answered(np.concatenate(parts), files=files)


def _check_raw_pixels(model: keras.Model) -> None:
    contract = metadata.of(model).contract
    doubt = contract and inputs.doubt_range(0.0, 255.0, model, contract)
    if doubt:
        raise ValueError(
            f"Files are read as pixels of 0 to 255, which do not suit this model: {doubt}. "
            "Received: x=paths of images"
        )
    known = contract is not None and contract.value_range is not None
    if not known and not any(isinstance(place.layer, _SCALING) for place in graph.walk(model)):
        warn(
            f"files are read as pixels of 0 to 255, and it is not known whether {model.name!r} "
            "takes these: if it was trained on scaled ones, give arrays that are scaled alike"
        )


def _of_arrays(model: keras.Model, x: Any, batch_size: int, verbose: Any) -> np.ndarray:
    read = inputs.read(x, model)
    lengths = text_lengths.of(model, read)
    options = {"batch_size": batch_size, "verbose": verbose}
    if lengths is None:
        return np.asarray(model.predict(read, **options), "float64")
    return np.asarray(text_lengths.predict(model, read, lengths, **options), "float64")


def _of_batches(model: keras.Model, data: Any, batch_size: int, verbose: Any) -> Answered:
    """Walks data that come in batches once: labels belong to outputs though they shuffle."""
    _check_batches(data, model)
    texts: list[Any] = []
    outputs: list[np.ndarray] = []
    rest: tuple[list[Any], list[Any]] = [], []
    size, progress = 0, keras.utils.Progbar(pipelines.batch_count(data), verbose=int(bool(verbose)))
    for batch in _batches(data):
        x, *others = keras.utils.unpack_x_y_sample_weight(batch)
        words = _texts(x) if attach.takes_texts(model) else None
        if words is None:
            read = inputs.read(x, model, compare=not outputs)
            outputs.append(_of_batch(model, read, size))
            size = max(size, len(outputs[-1]))
        else:
            texts += words
        for parts, part in zip(rest, others, strict=True):
            parts.append(_one(part))
        progress.add(1)
    if not outputs and not texts:
        raise ValueError(
            "`x` gives no batches. Check how it was made or filtered. "
            f"Received: x of type {type(data).__name__}"
        )
    found = _of_arrays(model, texts, batch_size, verbose) if texts else np.concatenate(outputs)
    return Answered(found, *map(_joined, rest))


def _of_batch(model: keras.Model, x: Any, size: int) -> np.ndarray:
    """The outputs for a batch, which is filled up to a size: another size is traced anew."""
    count = len(keras.tree.flatten(x)[0])
    if count < size:
        rows = np.arange(size) % count
        x = keras.tree.map_structure(lambda array: array[rows], x)
    return np.asarray(model.predict_on_batch(x), "float64")[:count]


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return (data[number] for number in range(int(data.num_batches or 0)))
    return iter(data)


def _check_batches(data: Any, model: keras.Model) -> None:
    pydataset = isinstance(data, keras.utils.PyDataset)
    if not pydataset and not hasattr(data, "__iter__"):
        raise TypeError(
            "`x` must be arrays, paths of images or a folder of them, texts, a tf.data pipeline or "
            f"a PyDataset. Received: x of type {type(data).__name__}"
        )
    endless = pydataset and data.num_batches is None
    if callable(getattr(data, "cardinality", None)):
        endless = int(data.cardinality()) == -1
    if endless:
        raise ValueError(
            "`x` has no end. Say how many batches are meant, `x.take(10)`, or the length of a "
            f"PyDataset by `__len__`. Received: x of type {type(data).__name__}"
        )
    if not attach.takes_texts(model):
        pipelines.check(data, model, "x", labelled=False)


def _one(part: Any) -> Any:
    """Labels or weights of a batch as an array; those of the one output out of a dict."""
    if isinstance(part, dict):
        if len(part) > 1:
            return part  # Nothing to predict by; who needs labels says that one is meant.
        (part,) = part.values()
    return None if part is None else np.asarray(keras.ops.convert_to_numpy(part))


def _joined(parts: list[Any]) -> Any:
    """Labels or weights of all batches."""
    first = parts[0]
    return first if first is None or isinstance(first, dict) else np.concatenate(parts)


def _texts(x: Any) -> list[Any] | None:
    """Texts of a batch, or pairs of them, as a list; None if these are token ids."""
    columns = [_strings(part) for part in (x if isinstance(x, tuple) else (x,))]
    if any(column is None for column in columns):
        return None
    rows: Iterator[Any] = zip(*columns, strict=True)
    return [row if len(columns) > 1 else row[0] for row in rows]


def _strings(part: Any) -> list[str] | None:
    if isinstance(part, dict):
        return None
    array = np.asarray(keras.ops.convert_to_numpy(part) if keras.ops.is_tensor(part) else part)
    if array.dtype.kind not in "OUS" or array.ndim != 1:
        return None
    return [text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()]


def _check_numbers(outputs: np.ndarray, model: keras.Model) -> None:
    bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{model.name!r} gives NaN or infinity for {int(bad.sum())} of {len(bad)} samples, "
            f"first for sample {int(bad.argmax())}. If for all, its weights are not finite: load "
            "them again, or train again at a lower rate. Received: outputs that are not finite"
        )
