"""Any number of labels at once: a probability each, judged by accuracy and the mean AUC."""

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import Shape, fits, text

ACTIVATION: str | None = "sigmoid"
MONITOR = "auc"


def loss(task: Task, from_logits: bool, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Binary cross-entropy, averaged over the labels."""
    return keras.losses.BinaryCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing)


def metrics(task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
    """Accuracy over all labels, and AUC averaged over them."""
    threshold = 0.0 if from_logits else 0.5
    return [
        keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold),
        keras.metrics.AUC(
            name="auc", multi_label=True, num_labels=task.num_classes, from_logits=from_logits
        ),
    ]


def check_labels(labels: np.ndarray, task: Task, output_shape: Shape) -> None:
    """Rows of 0 and 1, one column a label."""
    if not fits(labels, output_shape):
        raise ValueError(
            f"`y` must have one column a label for task 'multilabel': shape {text(output_shape)} "
            "of 0 and 1. For class numbers use task 'multiclass'. "
            f"Received: y of shape {labels.shape}"
        )
    if ((labels < 0) | (labels > 1)).any():
        raise ValueError(
            "`y` must hold 0 (absent) and 1 (present) for task 'multilabel'. "
            f"Received: y with values {np.unique(labels)[:8].tolist()}"
        )


def class_ids(labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
    """0 or 1 for each label of each sample."""
    return (labels > 0.5).astype("int64")


def probabilities(outputs: np.ndarray, from_logits: bool) -> np.ndarray:
    """Outputs of shape (n, labels) to probabilities."""
    return 0.5 * (1.0 + np.tanh(0.5 * outputs)) if from_logits else outputs
