"""Towards what is the model tuned, and how is it judged? Heads, losses, metrics, decoding."""

from finetunekit.models.metadata import Task
from finetunekit.tasks.attach import add_head, replace_head
from finetunekit.tasks.families import CLASSIFYING, FAMILIES
from finetunekit.tasks.heads import build_head
from finetunekit.tasks.inference import from_logits, output_activation, task_of
from finetunekit.tasks.labels import Prediction, predict_labels

__all__ = [
    "CLASSIFYING",
    "FAMILIES",
    "Prediction",
    "Task",
    "add_head",
    "build_head",
    "from_logits",
    "output_activation",
    "predict_labels",
    "replace_head",
    "task_of",
]
