"""EMA weights in a fit: what is validated and kept, while the trained weights go on."""

from typing import Any

import keras

from finetunekit.foundation import keras_optimizers
from finetunekit.models import rate_multipliers


class Averages(keras.callbacks.Callback):
    """Has validation and callbacks see the averages, as the first of a fit's callbacks.

    Keras puts them into the model when training ends; until then it validates, saves and keeps as
    the best weights those between two steps. Its `SwapEMAWeights` exchanges both by adding and
    subtracting, which rounds.
    """

    changes_frozen_weights = False

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Any] | None = None  # The weights that train on, while others stand in.

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Training goes on where it was."""
        if self.running is not None:
            for variable, value in zip(self._variables(), self.running, strict=True):
                variable.assign(value)
            self.running = None

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A validation is of the averages."""
        self._put_in()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Without validation, too, the callbacks after this one see the averages."""
        self._put_in()

    def _put_in(self) -> None:
        if self.running is None:
            averages = keras_optimizers.averages(rate_multipliers.innermost(self.model.optimizer))
            self.running = [keras.ops.copy(v) for v in self._variables()]
            for variable, average in zip(self._variables(), averages, strict=True):
                if average is not None:
                    variable.assign(average)

    def _variables(self) -> list[Any]:
        return keras_optimizers.optimizer_variables(
            rate_multipliers.innermost(self.model.optimizer)
        )


def needed(model: keras.Model, callbacks: list[Any]) -> bool:
    """Whether the optimizer averages, and no callback of the user's sees to it."""
    inner = rate_multipliers.innermost(model.optimizer)
    asked = any(isinstance(callback, keras.callbacks.SwapEMAWeights) for callback in callbacks)
    return bool(getattr(inner, "use_ema", False)) and not asked
