"""Labels to measure by: names as numbers, and what is left out of the figures."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.data import label_checks, output_names
from finetunekit.foundation.messages import listed, plural
from finetunekit.models import inputs
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of, void_label


@dataclass(frozen=True)
class Labels:
    """Checked labels.

    Attributes:
        y: As the task takes them; what is left out is filled with a label that is kept.
        kept: Which places count: `(n,)`, or with the axes of the output's places, such as pixels.
        notes: What is left out, in words.
    """

    y: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """Outputs and labels that count, one row each.

    Attributes:
        outputs: `(rows, outputs)`.
        y: `(rows,)` or `(rows, columns)`.
        samples: How many samples the rows come from.
    """

    outputs: np.ndarray
    y: np.ndarray
    samples: int


def read(y: Any, sample_weight: Any, model: keras.Model, task: Task) -> Labels:
    """Reads and checks labels.

    Args:
        y: Labels, or names of classes.
        sample_weight: Weights; samples of weight 0 are left out.
        model: The model.
        task: Its task.

    Raises:
        ValueError: If they are missing or do not fit the task.
    """
    if y is None:
        raise ValueError(
            "`y` is missing: the labels, one for each sample. Give `evaluate(model, x, y)`, or a "
            "pipeline or folder that brings them. Received: y=None"
        )
    found = inputs.to_numpy(_numbers(output_names.of_one(y, "y"), task), "y")
    places = found.shape[: len(model.output_shape) - 1]
    kept, notes = np.ones(places, bool), []
    ignored = void_label(model.loss) if model.compiled else None
    if ignored is not None and found.size == math.prod(places):
        kept &= found.reshape(places) != ignored
        if not kept.all():
            notes.append(f"{_left_out(kept, 'label')} void (ignore_class={ignored})")
    if sample_weight is not None:
        notes += _weigh(kept, inputs.to_numpy(sample_weight, "sample_weight"))
    if not kept.any():
        raise ValueError(
            "`y` holds nothing to measure by: all labels are void or have weight 0. "
            f"Received: y of shape {found.shape}"
        )
    filled = _filled(found, kept)
    label_checks.check_labels(filled, model, task)
    if family_of(task).has_classes and (filled != np.round(filled)).any():
        notes.append("soft labels count as their most probable class")
    return Labels(filled, kept, tuple(notes))


def rows(outputs: np.ndarray, labels: Labels) -> Rows:
    """The outputs and labels that count, places of a sample such as pixels below each other.

    Raises:
        ValueError: If there are more or fewer labels than samples.
    """
    if len(labels.y) != len(outputs):
        raise ValueError(
            "`x` and `y` must hold the same number of samples. Received: x "
            f"with {len(outputs)}, y with {len(labels.y)} samples"
        )
    flat = outputs.reshape(-1, outputs.shape[-1])
    y = labels.y.reshape(len(flat), -1)
    kept = labels.kept.reshape(-1)
    samples = int(labels.kept.reshape(len(outputs), -1).any(axis=1).sum())
    return Rows(flat[kept], (y[:, 0] if y.shape[1] == 1 else y)[kept], samples)


def _numbers(y: Any, task: Task) -> Any:
    """Names of the model's classes as integers; anything else as it is."""
    names, words = task.class_names, _words(y)
    if words is None or not names or not family_of(task).can_stratify:
        return y
    unknown = sorted(set(words.flat) - set(names))
    if unknown:
        raise ValueError(
            f"`y` must hold names of the model's classes, {listed(names)}. "
            f"Received: y with {listed(unknown, 5)}"
        )
    return np.array([names.index(word) for word in words.flat]).reshape(words.shape)


def _words(y: Any) -> np.ndarray | None:
    """An array of strings; None if these are anything else."""
    try:
        array = np.asarray(keras.ops.convert_to_numpy(y) if keras.ops.is_tensor(y) else y)
    except ValueError:  # Rows of unequal length, which are told of where numbers are read.
        return None
    if array.dtype.kind not in "OUS":
        return None
    words = [word.decode() if isinstance(word, bytes) else word for word in array.flat]
    if not all(isinstance(word, str) for word in words):
        return None
    return np.array(words, dtype=object).reshape(array.shape)


def _weigh(kept: np.ndarray, weights: np.ndarray) -> list[str]:
    """Leaves out, in place, what has weight 0; what is to be said of it."""
    while weights.ndim > kept.ndim and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != kept.shape[: weights.ndim]:
        raise ValueError(
            "`sample_weight` must have one weight a sample. Received: sample_weight of shape "
            f"{weights.shape} for {len(kept)} samples"
        )
    inputs.check_finite(weights, "sample_weight")
    counted = (weights != 0).reshape(weights.shape + (1,) * (kept.ndim - weights.ndim))
    notes = []
    if not counted.all():
        notes.append(f"{_left_out(weights != 0, 'sample')} of weight 0")
    if len(np.unique(weights[weights != 0])) > 1:
        notes.append("the other weights differ and are not used: each sample counts once")
    kept &= counted
    return notes


def _left_out(kept: np.ndarray, noun: str) -> str:
    missing = int((~kept).sum())
    be = "is" if missing == 1 else "are"
    return f"left out: {plural(missing, noun)} of {kept.size:,} that {be}"


def _filled(y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    if kept.all():
        return y
    filled = y.copy()
    filled[~kept] = y[kept][0]
    return filled
