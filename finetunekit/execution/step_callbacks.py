"""What do the user's callbacks see, while many steps run in one? What they see in `model.fit`."""

from typing import Any

import keras

from finetunekit.callbacks import protocol


class StepCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a fit in which Keras sees one step an epoch, and they see all of them."""

    epochs_begun = 0

    def __init__(self, callbacks: list[Any], *, passes: dict[bool, bool], **options: Any) -> None:
        # Whether Keras' own calls, for training and for tests, are of real steps.
        self._passes = dict(passes)
        super().__init__(callbacks, **options)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts the epochs of this fit."""
        self.epochs_begun += 1
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._passes[True]:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._passes[True]:
            super().on_train_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._passes[False]:
            super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._passes[False]:
            super().on_test_batch_end(batch, logs)

    def begin(self, step: int, *, training: bool) -> None:
        """A real step begins."""
        held, self._passes[training] = self._passes[training], True
        (self.on_train_batch_begin if training else self.on_test_batch_begin)(step)
        self._passes[training] = held

    def end(self, step: int, logs: Any, *, training: bool) -> None:
        """A real step has ended."""
        held, self._passes[training] = self._passes[training], True
        (self.on_train_batch_end if training else self.on_test_batch_end)(step, logs)
        self._passes[training] = held


def want_batches(callbacks: list[Any], *, training: bool) -> bool:
    """Whether one of the user's callbacks does something at each batch."""
    return any(protocol.needs_batches(callback, training) for callback in callbacks)


def may_change_weights(callbacks: list[Any]) -> bool:
    """Whether a callback might change weights that are frozen."""
    return any(protocol.changes_frozen_weights(callback) for callback in callbacks)
