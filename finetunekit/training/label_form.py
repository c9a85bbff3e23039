"""Integer labels or one-hot labels: the task that labels speak of, and the loss that takes them."""

import dataclasses
from typing import Any

import keras

from finetunekit.data import pipelines
from finetunekit.data.batches import Batches
from finetunekit.foundation.messages import say
from finetunekit.models import metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks.multiclass import is_one_hot
from finetunekit.training.compiling import recompile_for_labels


def of_batches(
    model: keras.Model, task: Task | None, batches: Batches, validation: Batches | None
) -> Task | None:
    """The task with the form of labels that the data have; the task as it is where nothing tells.

    Raises:
        ValueError: If training and validation labels differ in form.
    """
    if task is None or task.name != "multiclass":
        return task
    one_hot = _is_one_hot(batches.spec[1], task, model)
    if one_hot is None:
        return task
    held_out = None if validation is None else _is_one_hot(validation.spec[1], task, model)
    if held_out is not None and held_out != one_hot:
        raise ValueError(
            "`validation_data` must have labels of the same form as the training data: class "
            "numbers or one-hot rows. Turn rows into numbers with `y.argmax(axis=-1)`. "
            f"Received: validation_data with {'rows' if held_out else 'class numbers'}"
        )
    return dataclasses.replace(task, one_hot=one_hot)


def _is_one_hot(labels: Any, task: Task, model: keras.Model) -> bool | None:
    shape = pipelines.known_shape(labels)
    return None if shape is None else is_one_hot(shape, task, model.output_shape)


def follow(model: keras.Model, task: Task | None, labels: Task | None) -> bool:
    """Compiles for the form of labels that the data have, in place; says whether it did.

    Only a loss that `compile_for_task` chose is changed.
    """
    known = metadata.of(model).task or task
    if known is None or labels is None or bool(known.one_hot) == bool(labels.one_hot):
        return False
    if not recompile_for_labels(model, labels):
        return False
    say(f"the labels are {'one-hot rows' if labels.one_hot else 'class numbers'}: loss chosen anew")
    return True


def follow_back(model: keras.Model, task: Task | None) -> None:
    """Compiles for the form of labels that the user has, so that `evaluate` takes them."""
    if task is not None and not task.one_hot:
        recompile_for_labels(model, task)
