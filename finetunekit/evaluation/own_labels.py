"""Samples that bring their own labels: a folder with a subfolder for each class, and pipelines."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.data import image_folders
from finetunekit.evaluation import samples
from finetunekit.foundation.messages import listed, plural
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of


@dataclass(frozen=True)
class Named:
    """Samples, labels, and the task with the names of its classes.

    Attributes:
        x: Samples.
        y: Labels, or None if `x` gives them batch by batch.
        task: The task; if it has no names of its own, with those that the data have.
        notes: What is left out, in words.
    """

    x: Any
    y: Any
    task: Task
    notes: tuple[str, ...] = ()


def read(x: Any, y: Any, model: keras.Model, task: Task) -> Named:
    """The files and labels of a folder, and the names of the classes of a pipeline.

    Args:
        x: Samples of any kind.
        y: Labels, or None if `x` brings them.
        model: The model.
        task: Its task.

    Raises:
        ValueError: If the data have other classes than the model, or count them otherwise.
    """
    is_folder = isinstance(x, (str, os.PathLike)) and os.path.isdir(x)
    if y is None and is_folder and samples.files_of(model, x) is not None:
        return _folder(os.fspath(x), task)
    names = _names_of(x)
    if not names or not family_of(task).has_classes:
        return Named(x, y, task)
    if task.class_names and names != task.class_names:
        raise ValueError(
            "`x` numbers its classes in another order than the model, or has others. Give "
            f"`class_names={list(task.class_names)}` to the function that makes the dataset. "
            f"Received: x with the classes {listed(names)}"
        )
    return Named(x, y, _with_names(task, names))


def _folder(path: str, task: Task) -> Named:
    found = image_folders.read_classes(path, "x", least=1)
    named = _with_names(task, tuple(found.files))
    names = named.class_names or ()
    if not set(found.files) <= set(names):
        count = len(family_of(task).names(task))
        wanted = listed(task.class_names) if task.class_names else f"{count} of them"
        raise ValueError(
            f"`x` must have a subfolder for each class of the model: {wanted}. "
            f"Received: x={path!r} with the subfolders {listed(found.files)}"
        )
    pairs = [(file, names.index(name)) for name, files in found.files.items() for file in files]
    count = found.skipped.total() + len(found.broken)
    left_out = f"left out: {plural(count, 'file')} that cannot be read as images"
    return Named(
        [file for file, _ in pairs],
        [number for _, number in pairs],
        named,
        (left_out,) if count else (),
    )


def _names_of(data: Any) -> tuple[str, ...]:
    """The names that Keras' `image_dataset_from_directory` and its like give their datasets."""
    names = getattr(data, "class_names", None)
    indices = getattr(data, "class_indices", None)
    if names is None and isinstance(indices, Mapping):
        names = sorted(indices, key=lambda name: int(indices[name]))
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def _with_names(task: Task, names: tuple[str, ...]) -> Task:
    """The task with these names, if it has none and as many classes."""
    if task.class_names or len(names) != len(family_of(task).names(task)):
        return task
    return dataclasses.replace(task, class_names=names)
