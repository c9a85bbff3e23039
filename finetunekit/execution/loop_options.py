"""The plain arguments of `model.fit`: how long, in which steps, how talkative."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import closest


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """As `model.fit` takes them, under the same names."""

    batch_size: int | None = None
    epochs: int = 1
    initial_epoch: int = 0
    verbose: Any = "auto"
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: Any = 1

    def checked(self) -> "LoopOptions":
        """The same, if they make sense.

        Raises:
            TypeError: If one is of the wrong type.
            ValueError: If a number is out of range.
        """
        arguments.check_int(self.batch_size, "batch_size", 1, optional=True)
        arguments.check_int(self.epochs, "epochs", 1)
        arguments.check_int(self.initial_epoch, "initial_epoch", 0)
        if self.initial_epoch >= self.epochs:
            raise ValueError(
                "`epochs` is the epoch at which to stop, not how many more to run, so it must be "
                "above `initial_epoch`. "
                f"Received: epochs={self.epochs}, initial_epoch={self.initial_epoch}"
            )
        for name in ("steps_per_epoch", "validation_steps", "validation_batch_size"):
            arguments.check_int(getattr(self, name), name, 1, optional=True)
        return self

    @property
    def evaluation_size(self) -> int | None:
        """Samples in a batch of validation arrays; None leaves it to Keras, which goes by steps."""
        return self.validation_batch_size or self.batch_size


def check_names(unknown: Mapping[str, Any]) -> None:
    """Raises for arguments that `fit` does not have.

    Raises:
        TypeError: With the name that was meant.
    """
    known = inspect.signature(keras.Model.fit).parameters
    for name, value in unknown.items():
        remedy = (
            "The learning rate goes to `compile_for_task(model, learning_rate=...)`. "
            if name in ("lr", "learning_rate", "optimizer", "loss", "metrics")
            else closest(name, known)
        )
        raise TypeError(f"`{name}` is not an argument of `fit`. {remedy}Received: {name}={value!r}")
