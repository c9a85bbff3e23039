"""Losses of targets that are compared in standard deviations rather than in their own unit."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import patches
from finetunekit.models.metadata import Task

ops = keras.ops


def standardize(loss: keras.losses.Loss, std: Sequence[float]) -> keras.losses.Loss:
    """Standardizes a loss of stock Keras in place: a file of it opens anywhere, as it was.

    The penalties and rates that suit targets of about 1 suit all others then, and of several
    targets none outweighs the others by its unit.

    Args:
        loss: A loss of numbers, such as `MeanSquaredError`.
        std: The standard deviation of each target, all positive.
    """
    scale = np.asarray(std, "float32")

    def wrap(call: Any) -> Any:
        def standardized(y_true: Any, y_pred: Any) -> Any:
            divisor = ops.cast(scale, y_pred.dtype)
            return call(ops.cast(y_true, y_pred.dtype) / divisor, y_pred / divisor)

        return standardized

    patches.patch(loss, "call", wrap)
    return loss


def standardize_again(loss: Any, task: Task) -> None:
    """Standardizes the loss of a loaded model, if its task has a scale that the file has not."""
    if task.target_std is not None and isinstance(loss, keras.losses.Loss):
        standardize(loss, task.target_std)
