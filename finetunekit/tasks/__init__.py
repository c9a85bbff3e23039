"""Heads, losses, metrics, labels and predictions of each kind of task."""

from finetunekit.models.metadata import Task
from finetunekit.tasks.attach import add_head, replace_head
from finetunekit.tasks.class_family import ClassFamily
from finetunekit.tasks.families import families, family_of, register, unregister
from finetunekit.tasks.family import TaskFamily
from finetunekit.tasks.heads import build_head
from finetunekit.tasks.inference import (
    from_logits,
    known_task,
    loss_name,
    output_activation,
    task_of,
    void_label,
)
from finetunekit.tasks.metric_fitting import feed_functions, fit_metrics, misfits
from finetunekit.tasks.objective import Objective, objective_for_labels, objective_of
from finetunekit.tasks.prediction import NumberPrediction, Prediction, SamplePrediction

__all__ = [
    "ClassFamily",
    "NumberPrediction",
    "Objective",
    "Prediction",
    "SamplePrediction",
    "Task",
    "TaskFamily",
    "add_head",
    "build_head",
    "families",
    "family_of",
    "feed_functions",
    "fit_metrics",
    "from_logits",
    "known_task",
    "loss_name",
    "misfits",
    "objective_for_labels",
    "objective_of",
    "output_activation",
    "register",
    "replace_head",
    "task_of",
    "unregister",
    "void_label",
]
