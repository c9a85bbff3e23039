"""The form that labels have, such as integer or one-hot, and the loss that takes it."""

from typing import Any

import keras

from finetunekit.data import pipelines
from finetunekit.data.batches import Batches
from finetunekit.foundation.messages import say
from finetunekit.models import metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of
from finetunekit.training.compiling import recompile_for_labels


def of_batches(
    model: keras.Model, task: Task | None, batches: Batches, validation: Batches | None
) -> Task | None:
    """The task with the form of labels that the data have; the task as it is where nothing tells.

    Raises:
        ValueError: If training and validation labels differ in form.
    """
    found = _task_for(batches.spec[1], task, model)
    if task is None or found is None:
        return task
    held_out = None if validation is None else _task_for(validation.spec[1], task, model)
    if held_out is not None and held_out != found:
        if batches.random_layers:
            raise ValueError(
                "`mix` trains on mixtures of labels, so batches of `validation_data` need one-hot "
                f"labels: `data.map(lambda x, y: (x, tf.one_hot(y, {task.num_classes})))`. "
                f"Received: validation_data with {family_of(task).label_form(held_out)}"
            )
        raise ValueError(
            "`validation_data` must have labels of the same form as the training data: integer "
            "labels or one-hot labels. Turn one-hot labels into integers with "
            "`y.argmax(axis=-1)`. Received: validation_data with "
            f"{family_of(task).label_form(held_out)}"
        )
    return found


def _task_for(labels: Any, task: Task | None, model: keras.Model) -> Task | None:
    """The task as labels show it; None if one of them is not known."""
    shape = pipelines.known_shape(labels)
    if task is None or shape is None:
        return None
    return family_of(task).task_for_labels(task, shape, model.output_shape)


def follow(model: keras.Model, task: Task | None, labels: Task | None) -> bool:
    """Compiles for the form of labels that the data have, in place; says whether it did.

    Metrics of `compile_for_task` are fitted to it, and a loss that it chose is changed.
    """
    known = metadata.of(model).task or task
    if known is None or labels is None or known == labels:
        return False
    if not recompile_for_labels(model, labels):
        return False
    say(f"the labels are {family_of(labels).label_form(labels)}: compiled for them")
    return True


def follow_back(model: keras.Model, task: Task | None) -> None:
    """Compiles for the form of labels that the user has, so that `evaluate` takes them."""
    if task is not None:
        recompile_for_labels(model, task)
