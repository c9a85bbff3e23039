"""The loss and metrics of a task, for the form of the labels."""

from dataclasses import dataclass, field

import keras

from finetunekit.models import metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import family_of
from finetunekit.tasks.inference import from_logits
from finetunekit.tasks.label_shapes import Shape


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a model is compiled with, apart from the optimizer.

    Attributes:
        task: The task, with the form of labels that the loss takes.
        loss: The task's loss.
        metrics: The task's metrics.
    """

    task: Task
    loss: keras.losses.Loss
    metrics: list[keras.metrics.Metric] = field(default_factory=list)


def objective_of(model: keras.Model, task: Task, label_smoothing: float = 0.0) -> Objective:
    """The objective of a task on a model, which is not changed.

    Args:
        model: The model, whose output says whether it gives logits.
        task: Its task, with the form of the labels.
        label_smoothing: As for `compile_for_task`.

    Raises:
        ValueError: If the model's output does not fit the task.
    """
    family, logits = family_of(task), from_logits(model, task)
    return Objective(
        task=task,
        loss=family.loss(task, logits, label_smoothing),
        metrics=family.metrics(task, logits),
    )


def objective_for_labels(model: keras.Model, label_shape: Shape) -> Objective | None:
    """The objective that a model compiled by `compile_for_task` needs for labels; changes nothing.

    Args:
        model: The model.
        label_shape: The shape of the labels, None for a size that is not known.

    Returns:
        None if the labels suit what the model is compiled with, or the loss is the user's own.
    """
    known = metadata.of(model)
    if known.task is None or known.choices is None or known.choices.loss is not model.loss:
        return None
    if not known.choices.automatic_loss:
        return None
    task = family_of(known.task).task_for_labels(known.task, label_shape, model.output_shape)
    if task == known.task:
        return None
    return objective_of(model, task, known.choices.label_smoothing)
