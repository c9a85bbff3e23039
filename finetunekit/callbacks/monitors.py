"""The logged value that a callback watches, and whether less or more of it is better."""

import re
from typing import Any

import keras

from finetunekit.foundation.messages import listed, warn
from finetunekit.tasks import family_of, known_task

_LOWER = ("loss", "rmse", "mae", "mse", "msle", "error", "crossentropy", "divergence")
_HIGHER = ("accuracy", "acc", "auc", "precision", "recall", "f1_score", "iou", "r2_score")
_VALIDATION = "val_"


def check_mode(monitor: Any, mode: Any) -> None:
    """Checks what a callback is asked to watch.

    Raises:
        TypeError: If the name is not a string.
        ValueError: If the mode is unknown, or does not follow from the name and is not given.
    """
    if not isinstance(monitor, str):
        raise TypeError(f"`monitor` must be a string. Received: monitor={monitor!r}")
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"`mode` must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
    if monitor != "auto":
        direction(monitor, mode)


def watched(
    model: keras.Model,
    wanted: str,
    mode: str,
    logs: dict[str, Any] | None,
    *,
    before: str,
    validated: bool | None,
) -> tuple[str, str] | None:
    """The value to watch in an epoch and its direction, or None if the epoch does not have it.

    An epoch without a validation, as `validation_freq=2` makes them, says nothing of a value of
    the validation data; values of the training data do not stand in for it.

    Args:
        model: The model, for the metric of its task.
        wanted: `"auto"`, or the name of a logged value.
        mode: `"auto"`, `"min"` or `"max"`.
        logs: What the epoch has logged.
        before: What has been watched up to now; empty if nothing has.
        validated: Whether the fit has validation data; None if that is not known.

    Raises:
        ValueError: If a value was asked for that is not logged.
    """
    names = list(logs or {})
    validating = any(name.startswith(_VALIDATION) for name in names)
    if validated is False and wanted == "auto" and before.startswith(_VALIDATION):
        before = ""  # Of an earlier fit, which had validation data.
    of_validation = any(name.startswith(_VALIDATION) for name in (before, wanted))
    if (of_validation or (validated and wanted == "auto")) and not validating:
        return None
    if before.startswith(_VALIDATION) and before not in names:
        return None
    better = wanted == "auto" and validating and not of_validation
    if before in names and not better:
        return before, direction(before, mode)
    return monitored(model, wanted, mode, logs)


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
        return wanted, direction(wanted, mode)
    task = known_task(model)
    family = None if task is None else family_of(task)
    metric = "loss" if family is None else family.monitor
    for name in (f"val_{metric}", "val_loss", metric, "loss"):
        if name in names:
            if family is not None and family.judges_both_sides and _is_dead(name, metric, logs):
                continue
            if not name.startswith(_VALIDATION):
                warn(
                    f"no validation data: watching {name!r} on the training data, which goes on "
                    "improving while the model overfits; give `validation_split` or "
                    "`validation_data`"
                )
            return name, direction(name, mode)
    return "loss", "min"


def _is_dead(name: str, metric: str, logs: dict[str, Any] | None) -> bool:
    """Whether a value of validation data is 0, as AUC is for ever where there is one class only."""
    dead = name == f"{_VALIDATION}{metric}" and metric != "loss" and (logs or {}).get(name) == 0
    if dead:
        warn(
            f"{name!r} is 0: the validation data hold one class only, or all are ranked the wrong "
            "way round. Watching 'val_loss' instead"
        )
    return dead


def direction(name: str, mode: str = "auto") -> str:
    """Whether less or more of a logged value is better, `"min"` or `"max"`, by its name.

    Raises:
        ValueError: If the name does not tell and the mode does not say.
    """
    if mode != "auto":
        return mode
    # Keras numbers a second metric of the same name.
    plain = re.sub(r"_\d+$", "", name.removeprefix(_VALIDATION).lower())
    for direction, endings in (("min", _LOWER), ("max", _HIGHER)):
        if any(plain == word or plain.endswith(f"_{word}") for word in endings):
            return direction
    raise ValueError(
        f"`mode` must say whether more or less of {name!r} is better: give mode='min' or "
        f"mode='max'. Received: monitor={name!r}, mode='auto'"
    )


class Monitoring:
    """What callbacks share that watch a logged value: which one, and the fit's validation.

    The state is plain attributes of the callback, so that a checkpoint holds them.
    """

    model: keras.Model
    monitor: str
    mode: str

    def _watch(self, monitor: str, mode: str) -> None:
        """Notes what was asked for; `check_mode` has checked it."""
        self._wanted, self._wanted_mode = monitor, mode
        self._before = ""
        self._validated: bool | None = None

    def attach_validation(self, validated: bool) -> None:
        """Says whether the fit to come has validation data; `fit` does."""
        self._validated = validated
        self.monitor, self.mode = self._wanted, self._wanted_mode

    def _watched(self, logs: dict[str, Any] | None) -> tuple[str, str] | None:
        """The value to watch in an epoch and its direction; None if the epoch does not have it."""
        return watched(
            self.model,
            self._wanted,
            self._wanted_mode,
            logs,
            before=self._before,
            validated=self._validated,
        )
