"""Label smoothing for integer labels; Keras smooths one-hot labels only."""

from typing import Any

import keras

from finetunekit.foundation import patches

ops = keras.ops


def smooth(loss: keras.losses.Loss, classes: int, amount: float) -> keras.losses.Loss:
    """Smooths a loss of stock Keras in place: a file of it opens anywhere, without smoothing.

    Args:
        loss: A `SparseCategoricalCrossentropy`.
        classes: The number of classes.
        amount: The share of each label that is spread over all classes.
    """
    from_logits = loss.get_config()["from_logits"]

    def call(y_true: Any, y_pred: Any) -> Any:
        numbers = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:-1]), "int32")
        rows = ops.one_hot(numbers, classes, dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(rows, y_pred, from_logits, amount)

    patches.exchange(loss, "call", call)
    return loss


def smooth_again(loss: Any, classes: int, amount: float) -> None:
    """Smooths the loss of a loaded model, if it is one that lost its smoothing in the file."""
    if amount and isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        smooth(loss, classes, amount)
