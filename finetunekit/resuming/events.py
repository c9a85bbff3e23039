"""Callbacks of a resumed run: what the others are told, and in which order."""

from typing import Any

import keras


class EpochStart(keras.callbacks.Callback):
    """The first of the callbacks: before any other draws random numbers for the epoch."""

    changes_frozen_weights = False

    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run = run

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._run.note_epoch()


class PutBack(keras.callbacks.Callback):
    """The last of the callbacks but the `Checkpoint`: all others have begun."""

    changes_frozen_weights = False

    def __init__(self, run: Any) -> None:
        super().__init__()
        self._run = run

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._run.put_back()


class Unseen(keras.callbacks.CallbackList):
    """Callbacks that hear nothing of the steps that are skipped."""

    def __init__(self, callbacks: list[Any], skip: int, **options: Any) -> None:
        self._skip, self._passing = skip, False
        super().__init__(callbacks, **options)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on for steps that are done now."""
        self._passing = batch < self._skip
        if not self._passing:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on for steps that are done now."""
        if not self._passing:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """From the next epoch on, all is heard."""
        self._skip = 0
        super().on_epoch_end(epoch, logs)
