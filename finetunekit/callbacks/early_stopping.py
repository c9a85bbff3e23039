"""Early stopping by the task's own metric, with the best weights put back."""

import weakref
from typing import Any

import keras
import numpy as np

from finetunekit.callbacks import monitors
from finetunekit.foundation.messages import say, warn


class EarlyStopping(monitors.Monitoring, keras.callbacks.EarlyStopping):
    """Stops when the task's metric no longer improves and puts the best weights back.

    Keras' own keeps the last weights by default. The rest is Keras'.

    Args:
        monitor: `"auto"` is the task's metric on the validation data (AUC, accuracy, RMSE), or the
            name of a logged value.
        patience: How many epochs to wait for an improvement.
        min_delta: The smallest change that counts as one.
        mode: `"auto"`, `"min"` or `"max"`.
        restore_best_weights: Whether the best epoch's weights come back at the end.
        **options: The other arguments of `keras.callbacks.EarlyStopping`.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        stop = ftk.callbacks.EarlyStopping(patience=1)
        ftk.fit(
            model, x_train, y_train, epochs=3, validation_split=0.25, callbacks=[stop], verbose=0
        )
        print(stop.best_epoch)
        ```
    """

    changes_frozen_weights = False

    def __init__(
        self,
        monitor: str = "auto",
        *,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
        **options: Any,
    ) -> None:
        monitors.check_mode(monitor, mode)
        super().__init__(
            monitor=monitor,
            patience=patience,
            min_delta=min_delta,
            mode=mode,
            restore_best_weights=restore_best_weights,
            **options,
        )
        self._watch(monitor, mode)
        self._last_run: tuple[Any, str, float] = (None, "", 0.0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew; the best weights of an earlier run are not kept."""
        self._before = ""
        self._begin(self._wanted, self._wanted_mode)

    def _begin(self, monitor: str, mode: str) -> None:
        super().on_train_begin()
        self.monitor, self.mode, self.monitor_op = monitor, mode, None
        # Keras gives it a sign when it finds out the direction, which it does after each begin.
        self.min_delta: float = abs(self.min_delta)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares with the best epoch so far."""
        found = self._watched(logs)
        if found is None:
            return
        if found[0] != self._before:
            self._begin(*found)
            self._before = found[0]
        value = (logs or {}).get(self.monitor)
        if value is not None and not np.isfinite(value):
            self._note_no_improvement(epoch)
        else:
            super().on_epoch_end(epoch, logs)

    def _note_no_improvement(self, epoch: int) -> None:
        """What Keras does with a value that is not better; it takes a NaN as the first best."""
        if epoch >= self.start_from_epoch:
            self.wait += 1
            if self.wait >= self.patience and epoch > 0:
                self.stopped_epoch = epoch
                self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back and says which epoch they are of."""
        super().on_train_end(logs)
        if self.best is not None:
            what = "its weights are back" if self.restore_best_weights else "weights are the last"
            say(f"best epoch {self.best_epoch + 1}: {self.monitor} {self.best:.4f}; {what}")
            self._compare_with_last_run()
        elif not self._before:
            warn(f"EarlyStopping: no epoch has logged {self._wanted!r}, nothing was compared")
        elif self.wait:
            warn(f"EarlyStopping: {self.monitor!r} was never a finite number; weights are the last")
        self._validated = None

    def _compare_with_last_run(self) -> None:
        """Warns if this run of the same model never got as far as the one before."""
        model, monitor, best = self._last_run
        if model is not None and model() is self.model and monitor == self.monitor:
            worse = best < self.best if self.mode == "min" else best > self.best
            if worse:
                warn(
                    f"{self.monitor} reached {best:.4f} in the fit before and {self.best:.4f} now: "
                    "training on made the model worse. A smaller learning rate may help; "
                    "`callbacks.SaveBest` would have kept the better weights"
                )
        self._last_run = (weakref.ref(self.model), self.monitor, self.best)
