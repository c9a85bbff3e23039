"""The data of `fine_tune`: what trains, what is held out, what tests."""

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of
from finetunekit.tuning import labels as label_tasks
from finetunekit.tuning import options as given_options
from finetunekit.tuning import sources
from finetunekit.tuning.options import Options

_HELD_OUT, _FEWEST = 0.1, 1000  # With fewer samples, those held out would say little.
_WHAT_FOR = "to measure, and to put the probe's weights back should fine-tuning do harm"


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """What `fine_tune` was given, read.

    Attributes:
        task: The task that the labels speak of.
        y: The labels of all samples to train on.
        train: `(x, y)`, or a pipeline alone.
        held_out: `(x, y)`, a pipeline, or None.
        test: The same.
        of_files: Whether the samples are images from files.
        bits: Of such images, the depth that is scaled to 0..255; see `image_files`.
        choices: What was chosen: name -> words.
    """

    task: Task
    y: np.ndarray
    train: tuple[Any, ...]
    held_out: Any
    test: Any
    of_files: bool
    bits: int | None
    choices: dict[str, str]

    @classmethod
    def read(
        cls,
        train: Any,
        validation_data: Any,
        test_data: Any,
        backbone: keras.Model,
        options: Options,
    ) -> "Datasets":
        """Reads all of it for a backbone."""
        names = label_tasks.names_in_order(options.task, options.class_names)
        train, validation_data, test_data = sources.parts(train, validation_data, test_data)
        known = sources.read(train, "train", backbone, options.image_size, names, labels=True)
        task, y, why = label_tasks.task_of_labels(known.y, options.task, names or known.class_names)
        if known.of_files and options.task == "auto":
            why = f"the folder has {len(known.class_names or ())} subfolders of images"
        choices = {"task": f"{task.name}, {why}"}
        kept, held_out = _divided(known, y, task, validation_data, options, choices)
        also = functools.partial(
            _also, backbone=backbone, size=options.image_size, task=task, bits=known.bits
        )
        return cls(
            task=family_of(task).task_for_targets(task, y),
            y=y,
            train=kept,
            held_out=also(validation_data, "validation_data", otherwise=held_out),
            test=also(test_data, "test_data", otherwise=None),
            of_files=known.of_files,
            bits=known.bits,
            choices=choices,
        )


def _divided(
    known: sources.Source,
    y: np.ndarray,
    task: Task,
    validation_data: Any,
    options: Options,
    choices: dict[str, str],
) -> tuple[tuple[Any, ...], Any]:
    """What trains, and what is held out of it."""
    whole = (known.x,) if known.is_pipeline else (known.x, y)
    share = options.validation_split
    if validation_data is not None:
        if share not in ("auto", 0):
            raise ValueError(
                "`validation_split` and `validation_data` both say what to validate on; give one. "
                f"Received: validation_split={share!r}"
            )
        choices["validation"] = f"the data given, {_WHAT_FOR}"
        return whole, None
    if share == "auto":
        share = _HELD_OUT if len(y) >= _FEWEST and not known.is_pipeline else 0.0
    if not share:
        choices["validation"] = (
            f"none of {len(y):,} samples is held out, so nothing is measured; give "
            "`validation_data` or `validation_split`"
        )
        return whole, None
    if known.is_pipeline:
        raise ValueError(
            "`validation_split` cannot cut a pipeline; give `validation_data`. "
            f"Received: validation_split={share!r}"
        )
    share = given_options.share(share, "validation_split")
    stratify = family_of(task).can_stratify and y[0].size == 1
    kept, out = sources.split(known, y, share, options.seed, stratify=stratify)
    choices["validation"] = f"{len(out[1]):,} of {len(y):,} samples, drawn at random, {_WHAT_FOR}"
    return kept, out


def _also(
    given: Any,
    name: str,
    *,
    backbone: keras.Model,
    size: int | None,
    task: Task,
    bits: int | None,
    otherwise: Any,
) -> Any:
    """Validation or test data, as `fit` and `evaluate` take them."""
    if given is None:
        return otherwise
    names = task.class_names
    source = sources.read(given, name, backbone, size, names, labels=False, bits=bits)
    if source.is_pipeline:
        return source.x
    _, y, _ = label_tasks.task_of_labels(source.y, task, names, name)
    return source.x, y
