"""Yes or no: one probability, judged by accuracy and the area under the ROC curve."""

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import Shape, one_each, text

ACTIVATION: str | None = "sigmoid"
MONITOR = "auc"


def loss(task: Task, from_logits: bool, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Binary cross-entropy."""
    return keras.losses.BinaryCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing)


def metrics(task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
    """Accuracy and AUC."""
    threshold = 0.0 if from_logits else 0.5
    return [
        keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold),
        keras.metrics.AUC(name="auc", from_logits=from_logits),
    ]


def check_labels(labels: np.ndarray, task: Task, output_shape: Shape) -> None:
    """Labels are 0 and 1, one for each output."""
    if not one_each(labels, output_shape):
        raise ValueError(
            f"`y` must have shape {text(output_shape[:-1])} or {text((*output_shape[:-1], 1))} for "
            "task 'binary'. For rows of 0 and 1 with one 1 each use task 'multiclass', with "
            f"several 'multilabel'. Received: y of shape {labels.shape}"
        )
    if ((labels < 0) | (labels > 1)).any():
        found = np.unique(labels)
        remedy = "For more than two classes use task 'multiclass'."
        if len(found) <= 2:
            low = "`y = y - 1`" if found.tolist() == [1, 2] else "`y = (y > 0).astype('float32')`"
            remedy = f"Write {low}."
        raise ValueError(
            f"`y` must lie between 0 (no) and 1 (yes) for task 'binary'. {remedy} "
            f"Received: y with values {found[:8].tolist()}"
        )


def class_ids(labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
    """The class number of each label."""
    return (labels > 0.5).astype("int64")


def probabilities(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    """Outputs of shape (n, 1) to probabilities of shape (n, 2), the negative class first."""
    positive = outputs.reshape(-1, 1)
    if from_logits:
        positive = 0.5 * (1.0 + np.tanh(0.5 * positive))
    return np.concatenate([1.0 - positive, positive], axis=1)
