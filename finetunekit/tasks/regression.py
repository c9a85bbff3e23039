"""A number, or several: judged by the mean absolute and the root mean squared error."""

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import Shape, fits, one_each, text

ACTIVATION: str | None = None
MONITOR = "rmse"


def loss(task: Task, from_logits: bool, label_smoothing: float = 0.0) -> keras.losses.Loss:
    """Mean squared error; numbers are not smoothed.

    Raises:
        ValueError: If smoothing is asked for.
    """
    if label_smoothing:
        raise ValueError(
            "`label_smoothing` is for classes; task 'regression' has numbers. Leave it out. "
            f"Received: label_smoothing={label_smoothing!r}"
        )
    return keras.losses.MeanSquaredError()


def metrics(task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
    """Mean absolute error and root mean squared error, in the unit of the target."""
    return [
        keras.metrics.MeanAbsoluteError(name="mae"),
        keras.metrics.RootMeanSquaredError(name="rmse"),
    ]


def check_labels(labels: np.ndarray, task: Task, output_shape: Shape) -> None:
    """One number a sample and output."""
    alone = task.num_classes == 1 and one_each(labels, output_shape)
    if not alone and not fits(labels, output_shape):
        raise ValueError(
            f"`y` must have shape {text(output_shape)} for task 'regression' with "
            f"{task.num_classes} output(s). Build the head with `num_classes` equal to the number "
            f"of targets. Received: y of shape {labels.shape}"
        )
