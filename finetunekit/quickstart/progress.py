"""Progress of training: a line of text every few seconds."""

import time
from collections.abc import Callable
from typing import Any

import keras

_SECONDS_BETWEEN = 2.0


class Progress(keras.callbacks.Callback):
    """Reports epoch, loss and accuracy every two seconds at most, and after the last epoch.

    Args:
        tell: Called with each line.

    Example:
        ```python
        from finetunekit.quickstart.progress import Progress

        progress = Progress(print)
        ```
    """

    changes_frozen_weights = False

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell
        self._told = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._told = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the progress of training."""
        epochs, values = self.params["epochs"], logs or {}
        if epoch + 1 < epochs and time.monotonic() - self._told < _SECONDS_BETWEEN:
            return
        self._told = time.monotonic()
        self._tell(
            f"  epoch {epoch + 1:>2}/{epochs}: loss {values['loss']:.3f}, "
            f"accuracy {values['accuracy']:.1%} on the training images"
        )
