"""The user's callbacks see each step, as in `model.fit`, while many steps run in one execution."""

from typing import Any

import keras

from finetunekit.callbacks import protocol


class StepCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a fit in which Keras may see one step an epoch, and they see all of them.

    Args:
        callbacks: The user's.
        train_steps: Whether Keras' own calls for training are of real steps.
        test_steps: The same for validation.
        **options: Those of Keras' `CallbackList`.
    """

    epochs_begun = 0

    def __init__(
        self, callbacks: list[Any], *, train_steps: bool, test_steps: bool, **options: Any
    ) -> None:
        self._train_steps, self._test_steps = train_steps, test_steps
        super().__init__(callbacks, **options)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Counts the epochs of this fit."""
        self.epochs_begun += 1
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._train_steps:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._train_steps:
            super().on_train_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._test_steps:
            super().on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Passed on for real steps only."""
        if self._test_steps:
            super().on_test_batch_end(batch, logs)

    def begin_train_step(self, step: int) -> None:
        """A real step begins."""
        super().on_train_batch_begin(step)

    def end_train_step(self, step: int, logs: Any) -> None:
        """A real step has ended."""
        super().on_train_batch_end(step, logs)

    def begin_test_step(self, step: int) -> None:
        """A real step of a validation begins."""
        super().on_test_batch_begin(step)

    def end_test_step(self, step: int, logs: Any) -> None:
        """A real step of a validation has ended."""
        super().on_test_batch_end(step, logs)


def want_batches(callbacks: list[Any], *, training: bool) -> bool:
    """Whether one of the user's callbacks does something at each batch."""
    return any(protocol.needs_batches(callback, training) for callback in callbacks)


def may_change_weights(callbacks: list[Any]) -> bool:
    """Whether a callback might change weights that are frozen."""
    return any(protocol.changes_frozen_weights(callback) for callback in callbacks)
