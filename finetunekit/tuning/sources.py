"""Data for `fine_tune`: arrays, texts, a folder of images, or a pipeline."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import batch_form, image_files, image_folders, output_names, pipelines
from finetunekit.data.image_folders import ClassFolder
from finetunekit.foundation.messages import listed, say
from finetunekit.models import image_sizes, inputs, tables

_ENDLESS = -1  # tf.data.INFINITE_CARDINALITY


@dataclass(frozen=True)
class Source:
    """Samples with their labels.

    Attributes:
        x: Inputs, or a pipeline of `(inputs, labels)`.
        y: Labels; of a pipeline, what one pass of it gave.
        class_names: Names of the classes, if the data say them.
        is_pipeline: Whether `x` brings its own labels.
        of_files: Whether `x` was read of image files.
        bits: The depth that files of more than 8 bits were taken for, if there are any.
    """

    x: Any
    y: Any
    class_names: tuple[str, ...] | None
    is_pipeline: bool
    of_files: bool = False
    bits: int | None = None


def parts(train: Any, validation_data: Any, test_data: Any) -> tuple[Any, Any, Any]:
    """The data with the parts of a folder that has subfolders such as train, val and test.

    What the user gave beside the folder takes the place of its part.

    Raises:
        ValueError: If the subfolders are parts and something else too.
        OSError: If the folder is not there.
    """
    if not isinstance(train, (str, os.PathLike)):
        return train, validation_data, test_data
    found = image_folders.read_parts(train, "train")
    if not found:
        return train, validation_data, test_data
    given = {"validation": validation_data, "test": test_data}
    roles = {"train": "train on", "validation": "validate on", "test": "test on"}
    used = [part for part in roles if part in found and given.get(part) is None]
    words = [f"{found[part]} to {roles[part]}" for part in used]
    say(f"the folder holds parts of a data set: {', '.join(words)}")
    validation_data, test_data = (
        found.get(part) if value is None else value for part, value in given.items()
    )
    return found["train"], validation_data, test_data


def read(
    given: Any,
    name: str,
    model: keras.Model,
    size: int | None,
    class_names: Sequence[str] | None = None,
    *,
    labels: bool,
    bits: int | None = None,
) -> Source:
    """Reads what the user gave.

    Args:
        given: A folder, `(x, y)`, or a pipeline.
        name: The argument's name, for errors.
        model: The backbone, which says how large images are.
        size: Height and width of images, or None for the backbone's.
        class_names: Names of the classes in the order of their numbers; None takes the data's.
        labels: Whether a pipeline is walked for its labels.
        bits: The depth of image files of more than 8 bits; None goes by their values.

    Raises:
        ValueError: If it holds no samples with labels.
        TypeError: If it is of no known kind.
        OSError: If a folder is not there.
    """
    if isinstance(given, (str, os.PathLike)):
        return _folder(os.fspath(given), name, model, size, class_names, bits)
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
    _check_ends(given, name)
    return Source(given, _walked(given) if labels else None, names, True)


def _names_of_pipeline(
    given: Any, name: str, class_names: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The names that Keras' functions for folders give their datasets and iterators."""
    numbers = getattr(given, "class_indices", None) or {}
    names = getattr(given, "class_names", None) or sorted(numbers, key=lambda name: numbers[name])
    if not names:
        return None
    if class_names is not None and tuple(class_names) != tuple(names):
        raise ValueError(
            f"`{name}` numbers its classes in its own order, which `class_names` cannot change. "
            "Give `class_names` to the function that makes the dataset, or leave it out. Received: "
            f"class_names={list(class_names)!r} beside {name}.class_names={list(names)!r}"
        )
    return tuple(names)


def _check_ends(given: Any, name: str) -> None:
    """Raises for a pipeline that never ends, whose labels could not be counted."""
    count = given.num_batches if isinstance(given, keras.utils.PyDataset) else None
    endless = isinstance(given, keras.utils.PyDataset) and count is None
    cardinality = getattr(given, "cardinality", None)
    if endless or (cardinality is not None and int(cardinality()) == _ENDLESS):
        raise ValueError(
            f"`{name}` never ends, and `fine_tune` reads it once to learn about its labels. Leave "
            "`repeat()` out, or cut it with `take`. "
            f"Received: {name} of type {type(given).__name__}"
        )
    what = pipelines.unknown_length(given)
    if what and name == "train":
        raise ValueError(
            f"`train` is {what}, and Keras on TensorFlow runs one training step too many at the "
            "end of each epoch of such data. Of a tf.data pipeline say the number of batches, "
            "`train.apply(tf.data.experimental.assert_cardinality(batches))`; make one, or a "
            f"PyDataset, of anything else. Received: train of type {type(given).__name__}"
        )


def _walked(given: Any) -> np.ndarray:
    batches = (
        (given[n] for n in range(len(given)))
        if isinstance(given, keras.utils.PyDataset)
        else iter(given)
    )
    rows = [
        np.asarray(keras.ops.convert_to_numpy(output_names.of_one(batch[1], "y")))
        for batch in batches
    ]
    return np.concatenate(rows) if rows else np.zeros(0)


def _one_each(x: Any, model: keras.Model) -> Any:
    """A list with one array for each of several inputs as a tuple: other lists are samples."""
    count = len(getattr(model, "inputs", None) or ())
    several = isinstance(x, list) and 1 < len(x) == count
    return tuple(x) if several and all(hasattr(part, "shape") for part in x) else x


def _folder(
    path: str,
    name: str,
    model: keras.Model,
    size: int | None,
    class_names: Sequence[str] | None,
    bits: int | None,
) -> Source:
    found = image_folders.read_classes(path, name, least=2 if name == "train" else 1)
    wanted = (size, size) if size is not None else image_sizes.expected(model)
    classes = list(found.files)
    if class_names is not None:
        classes = _in_order(found, class_names, name)
    found.report()
    files = [file for label in classes for file in found.files.get(label, ())]
    y = [n for n, label in enumerate(classes) for _ in found.files.get(label, ())]
    read_in = image_files.read_files(files, size=wanted, bits=bits)
    read_in.report(path)
    images = image_files.as_fed(read_in.images, model)
    return Source(images, np.array(y), tuple(classes), False, True, read_in.bits)


def _in_order(found: ClassFolder, class_names: Sequence[str], name: str) -> list[str]:
    """Classes in the order of the names; those held out may lack images of some."""
    known = set(found.files)
    if name != "train":
        known |= set(found.empty) & set(class_names)
    if isinstance(class_names, str) or sorted(class_names) != sorted(known):
        wanted = (
            "`class_names` must be the subfolders of `train`, each once, in the order wanted"
            if name == "train"
            else f"`{name}` must have the classes of `train`, a subfolder each"
        )
        raise ValueError(
            f"{wanted}. Received: class_names={class_names!r}, {name}={found.path!r} with the "
            f"subfolders {listed(found.files)}"
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
