"""When to stop, and which weights to keep? The best ones, by the task's own metric."""

import os
import weakref
from typing import Any

import keras
import numpy as np

from finetunekit.foundation.messages import listed, say, warn
from finetunekit.models import metadata
from finetunekit.models.saving import check_target, save
from finetunekit.tasks import FAMILIES

_LOWER = ("loss", "rmse", "mae", "mse", "msle", "error", "crossentropy", "divergence")
_HIGHER = ("accuracy", "acc", "auc", "precision", "recall", "f1_score", "iou", "r2_score")


class EarlyStopping(keras.callbacks.EarlyStopping):
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
        _check_mode(monitor, mode)
        super().__init__(
            monitor=monitor,
            patience=patience,
            min_delta=min_delta,
            mode=mode,
            restore_best_weights=restore_best_weights,
            **options,
        )
        self._wanted, self._wanted_mode = monitor, mode
        self._last_run: tuple[Any, str, float] = (None, "", 0.0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew; the best weights of an earlier run are not kept."""
        super().on_train_begin(logs)
        self.monitor, self.mode, self.monitor_op = self._wanted, self._wanted_mode, None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares with the best epoch so far."""
        if self.monitor_op is None:
            self.monitor, self.mode = monitored(self.model, self._wanted, self._wanted_mode, logs)
        super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back and says which epoch they are of."""
        super().on_train_end(logs)
        if self.best is not None:
            what = "its weights are back" if self.restore_best_weights else "weights are the last"
            say(f"best epoch {self.best_epoch + 1}: {self.monitor} {self.best:.4f}; {what}")
            self._compare_with_last_run()

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


class SaveBest(keras.callbacks.Callback):
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
        _check_mode(monitor, mode)
        self.path = check_target(path)
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.monitor, self.mode = monitor, mode
        self._wanted, self._wanted_mode = monitor, mode
        self._found = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the metric anew; the best value of earlier runs still has to be beaten."""
        self._found = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves if this epoch is the best."""
        if not self._found:
            self.monitor, self.mode = monitored(self.model, self._wanted, self._wanted_mode, logs)
            self._found = True
        value = (logs or {}).get(self.monitor)
        if value is None or not np.isfinite(value):
            return
        better = self.best is None or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if better:
            self.best, self.best_epoch = float(value), epoch
            save(self.model, self.path, verbose=0)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says which epoch was saved."""
        if self.best_epoch is None:
            warn(f"SaveBest: {self.monitor!r} was never a finite number, nothing was saved")
        else:
            say(f"saved {self.path}: epoch {self.best_epoch + 1}, {self.monitor} {self.best:.4f}")


def monitored(
    model: keras.Model, wanted: str, mode: str, logs: dict[str, Any] | None
) -> tuple[str, str]:
    """The logged value to watch and whether less or more of it is better.

    Raises:
        ValueError: If a value was asked for that is not logged.
    """
    names = list(logs or {})
    if wanted != "auto":
        if wanted not in names:
            raise ValueError(
                f"`monitor` must be one of the logged values: {listed(names)}. Validation values "
                f"need `validation_data` or `validation_split`. Received: monitor={wanted!r}"
            )
        return wanted, mode if mode != "auto" else _direction(wanted)
    task = metadata.of(model).task
    metric = FAMILIES[task.name].MONITOR if task is not None else "loss"
    for name in (f"val_{metric}", "val_loss", metric, "loss"):
        if name in names:
            if not name.startswith("val_"):
                warn(
                    f"no validation data: watching {name!r} on the training data, which goes on "
                    "improving while the model overfits; give `validation_split` or "
                    "`validation_data`"
                )
            return name, _direction(name)
    return "loss", "min"


def _direction(name: str) -> str:
    plain = name.removeprefix("val_")
    if plain.endswith(_LOWER):
        return "min"
    if plain.endswith(_HIGHER):
        return "max"
    raise ValueError(
        f"`mode` must say whether more or less of {name!r} is better: give mode='min' or "
        f"mode='max'. Received: monitor={name!r}, mode='auto'"
    )


def _check_mode(monitor: Any, mode: Any) -> None:
    if not isinstance(monitor, str):
        raise TypeError(f"`monitor` must be a string. Received: monitor={monitor!r}")
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"`mode` must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
    if monitor != "auto" and mode == "auto":
        _direction(monitor)
