"""The best model of a run, by the task's own metric, in a file."""

import os
from typing import Any

import keras
import numpy as np

from finetunekit.callbacks import monitors
from finetunekit.foundation.messages import say, warn
from finetunekit.models import saving


class SaveBest(monitors.Monitoring, keras.callbacks.Callback):
    """Saves the model, metadata included, whenever the task's metric is better than ever.

    Each file is written beside the old one and then takes its place, so that a run that dies
    leaves a whole file.

    Args:
        path: A path that ends in `.keras`.
        monitor: As for `EarlyStopping`.
        mode: `"auto"`, `"min"` or `"max"`.

    Raises:
        ValueError: If the path is not one of a `.keras` file.
        OSError: If nothing can be written there; found before training.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        keep = ftk.callbacks.SaveBest("best.keras")
        ftk.fit(model, x_train, y_train, validation_split=0.25, callbacks=[keep], verbose=0)
        best = ftk.load("best.keras")
        ```
    """

    changes_frozen_weights = False

    def __init__(
        self, path: str | os.PathLike[str], *, monitor: str = "auto", mode: str = "auto"
    ) -> None:
        super().__init__()
        monitors.check_mode(monitor, mode)
        self.path = saving.check_target(path)
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.monitor, self.mode = monitor, mode
        self._watch(monitor, mode)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves if this epoch is the best, of earlier runs that watched the same too."""
        found = self._watched(logs)
        if found is None:
            return
        if found[0] != self._before:
            self.best = self.best_epoch = None
        self.monitor, self.mode = found
        self._before = self.monitor
        value = (logs or {}).get(self.monitor)
        if value is None or not np.isfinite(value):
            return
        better = self.best is None or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if better:
            self.best, self.best_epoch = float(value), epoch
            saving.save(self.model, self.path, verbose=0)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says which epoch was saved."""
        if self.best_epoch is None:
            warn(f"SaveBest: {self.monitor!r} was never a finite number, nothing was saved")
        else:
            say(f"saved {self.path}: epoch {self.best_epoch + 1}, {self.monitor} {self.best:.4f}")
        self._validated = None
