"""Data for `fine_tune`: arrays, texts, a folder of images, or a pipeline."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import batch_form, pipelines
from finetunekit.foundation.messages import listed
from finetunekit.models import inputs, metadata, tables


@dataclass(frozen=True)
class Source:
    """Samples with their labels.

    Attributes:
        x: Inputs, or a pipeline of `(inputs, labels)`.
        y: Labels; of a pipeline, what one pass of it gave.
        class_names: Names of the classes, if the data say them.
        is_pipeline: Whether `x` brings its own labels.
    """

    x: Any
    y: Any
    class_names: tuple[str, ...] | None
    is_pipeline: bool


def read(
    given: Any,
    name: str,
    model: keras.Model,
    size: int | None,
    class_names: Sequence[str] | None = None,
    *,
    labels: bool,
) -> Source:
    """Reads what the user gave.

    Args:
        given: A folder, `(x, y)`, or a pipeline.
        name: The argument's name, for errors.
        model: The backbone, which says how large images are.
        size: Height and width of images, or None for the backbone's.
        class_names: Names of the classes in the order of their numbers; None takes the data's.
        labels: Whether a pipeline is walked for its labels.

    Raises:
        ValueError: If it holds no samples with labels.
        TypeError: If it is of no known kind.
        OSError: If a folder is not there.
    """
    if isinstance(given, (str, os.PathLike)):
        return _folder(os.fspath(given), name, _size(model, size), class_names)
    if isinstance(given, tuple) and len(given) == 2:
        return Source(_one_each(given[0], model), given[1], None, False)
    parts = pipelines.batch_parts(given)
    if parts is None or parts[1] is None:
        raise TypeError(
            f"`{name}` must be a folder with a subfolder of images for each class, a pair "
            "(x, y) of samples and labels, or a tf.data pipeline or PyDataset of (inputs, labels). "
            f"Received: {name} of type {type(given).__name__}"
        )
    for part in keras.tree.flatten(parts[1]):
        batch_form.check_kind(part, name, class_names)
    names = _names_of_pipeline(given, name, class_names)
    return Source(given, _walked(given) if labels else None, names, True)


def _names_of_pipeline(
    given: Any, name: str, class_names: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The names that Keras' `image_dataset_from_directory` and its like give their datasets."""
    names = getattr(given, "class_names", None)
    if not names:
        return None
    if class_names is not None and tuple(class_names) != tuple(names):
        raise ValueError(
            f"`{name}` numbers its classes in its own order, which `class_names` cannot change. "
            "Give `class_names` to the function that makes the dataset, or leave it out. Received: "
            f"class_names={list(class_names)!r} beside {name}.class_names={list(names)!r}"
        )
    return tuple(names)


def _walked(given: Any) -> np.ndarray:
    batches = (
        (given[n] for n in range(len(given)))
        if isinstance(given, keras.utils.PyDataset)
        else iter(given)
    )
    rows = [np.asarray(keras.ops.convert_to_numpy(_alone(batch[1]))) for batch in batches]
    return np.concatenate(rows) if rows else np.zeros(0)


def _alone(labels: Any) -> Any:
    """Labels that a dict names for the only output."""
    return next(iter(labels.values())) if isinstance(labels, dict) and len(labels) == 1 else labels


def _one_each(x: Any, model: keras.Model) -> Any:
    """A list with one array for each of several inputs as a tuple: other lists are samples."""
    count = len(getattr(model, "inputs", None) or ())
    several = isinstance(x, list) and 1 < len(x) == count
    return tuple(x) if several and all(hasattr(part, "shape") for part in x) else x


def _size(model: keras.Model, size: int | None) -> tuple[int, int]:
    if size is not None:
        return size, size
    shape = model.inputs[0].shape if getattr(model, "inputs", None) else (None, None, None, 3)
    if len(shape) != 4:
        raise ValueError(
            "`train` is a folder of images, and the backbone takes no images. "
            f"Received: a backbone with input {tuple(shape)}"
        )
    if shape[1] and shape[2]:
        return int(shape[1]), int(shape[2])
    contract = metadata.of(model).contract
    return contract.size if contract is not None and contract.size else (224, 224)


def _folder(
    path: str, name: str, size: tuple[int, int], class_names: Sequence[str] | None
) -> Source:
    if not os.path.isdir(path):
        raise FileNotFoundError(
            f"`{name}` must be a folder with a subfolder of images for each class; there is no "
            f"such folder. Received: {name}={path!r}"
        )
    classes = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    if len(classes) < 2:
        raise ValueError(
            f"`{name}` must have a subfolder of images for each class, at least two. Its "
            f"subfolders are: {listed(classes) or 'none'}. Received: {name}={path!r}"
        )
    if class_names is not None:
        classes = _in_order(classes, class_names, path, name)
    read_in = keras.utils.image_dataset_from_directory(
        path,
        label_mode="int",
        class_names=classes,
        batch_size=32,
        image_size=size,
        shuffle=False,
        crop_to_aspect_ratio=True,
        verbose=False,
    )
    batches = [(keras.ops.convert_to_numpy(x), keras.ops.convert_to_numpy(y)) for x, y in read_in]
    images = np.concatenate([np.clip(x, 0, 255).astype("uint8") for x, _ in batches])
    return Source(images, np.concatenate([y for _, y in batches]), tuple(classes), False)


def _in_order(found: list[str], class_names: Sequence[str], path: str, name: str) -> list[str]:
    """Subfolders in the order of the names."""
    if isinstance(class_names, str) or sorted(class_names) != found:
        wanted = (
            "`class_names` must be the subfolders of `train`, each once, in the order wanted"
            if name == "train"
            else f"`{name}` must have the classes of `train`, a subfolder each"
        )
        raise ValueError(
            f"{wanted}. Received: class_names={class_names!r}, {name}={path!r} with the subfolders "
            f"{listed(found)}"
        )
    return list(class_names)


def split(source: Source, y: np.ndarray, share: float, seed: int, *, stratify: bool) -> Any:
    """The samples that train and those held out, as two pairs `(x, y)`, by class.

    Raises:
        ValueError: If samples and labels differ in number, or one side would be empty.
    """
    random = np.random.default_rng(seed)
    count = len(y)
    if _count(source.x) != count:
        raise ValueError(
            "`train` must hold the same number of samples and labels. "
            f"Received: {_count(source.x)} samples, {count} labels"
        )
    groups = (
        [np.flatnonzero(y.reshape(count, -1)[:, 0] == value) for value in np.unique(y)]
        if stratify
        else [np.arange(count)]
    )
    held: list[int] = []
    for rows in groups:
        drawn = random.permutation(rows)
        held += drawn[: round(share * len(rows))].tolist()
    if not 0 < len(held) < count:
        raise ValueError(
            "`validation_split` must leave samples on both sides. "
            f"Received: validation_split={share!r}, {count} samples"
        )
    out = np.zeros(count, bool)
    out[held] = True
    x = source.x
    return tuple((_rows(x, np.flatnonzero(part)), y[part]) for part in (~out, out))


def _count(x: Any) -> int:
    if isinstance(x, dict):
        return _count(next(iter(x.values())))
    return _count(x[0]) if isinstance(x, tuple) else len(x)


def _rows(x: Any, rows: np.ndarray) -> Any:
    if isinstance(x, dict):
        return {key: _rows(part, rows) for key, part in x.items()}
    if isinstance(x, tuple):  # A pair of texts for each sample, or one array for each input.
        return tuple(_rows(part, rows) for part in x)
    if isinstance(x, list):
        return [x[row] for row in rows]
    if tables.is_table(x) and hasattr(x, "iloc"):
        return x.iloc[rows]
    return np.asarray(x)[rows] if inputs.is_array_like(x) else x
