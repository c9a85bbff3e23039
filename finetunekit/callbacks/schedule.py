"""Schedules of the learning rate over a run, which find out the number of steps."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import arguments, keras_optimizers
from finetunekit.foundation.patches import Patch, exchange
from finetunekit.models import rate_multipliers
from finetunekit.models.temporary_injection import TemporaryInjection

ops = keras.ops


def _cosine(start: float, end: float, share: Any) -> Any:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + ops.cos(math.pi * share)) / 2


def _line(start: float, end: float, share: Any) -> Any:
    return start + (end - start) * share


# Shape -> default share of the warm-up, the way up and the way down, by the share of each. The
# numbers of one-cycle are fastai's (divided by 25 at the start, by 1e5 at the end), those of the
# slanted triangle ULMFiT's (ratio 32).
_SHAPES: dict[str, tuple[float, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "constant": (0.1, lambda share: share, lambda share: 1.0),
    "linear": (0.1, lambda share: share, lambda share: 1 - share),
    "cosine": (0.1, lambda share: share, functools.partial(_cosine, 1.0, 0.0)),
    "one_cycle": (
        0.25,
        functools.partial(_cosine, 1 / 25, 1.0),
        functools.partial(_cosine, 1.0, 1e-5),
    ),
    "slanted_triangular": (
        0.1,
        functools.partial(_line, 1 / 32, 1.0),
        functools.partial(_line, 1.0, 1 / 32),
    ),
}


class Schedule(TemporaryInjection):
    """Lets the rate rise and fall over one `fit`, as a factor on the optimizer's own rate.

    It finds out the number of steps when training begins. The optimizer's rate stays what it is,
    the peak of the schedule, so `ReduceLROnPlateau`, `LearningRateScheduler` and rates by layer
    go on working; it is the rate alone again when training ends. `learning_rate` in the logs is
    the product. A `fit` that resumes with `initial_epoch` goes on where the schedule was.

    Args:
        shape: What follows the warm-up: `"constant"`; `"linear"` or `"cosine"`, down to 0 after
            the last step; `"one_cycle"`, up from 1/25 and down to 1e-5 along cosines;
            `"slanted_triangular"`, up from 1/32 and down to it along lines.
        warmup: The share of the steps, below 1, or the number of steps, in which the rate rises.
            Defaults to 0.1, and 0.25 for `"one_cycle"`. A step is an update of the optimizer,
            which may take several batches (`gradient_accumulation_steps`).
        first_epoch: The epoch at which the schedule begins.

    Raises:
        ValueError: If an argument is out of range; when training begins, if the number of steps
            is unknown or the optimizer has a schedule of its own.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model, learning_rate=1e-3)
        cosine = ftk.callbacks.Schedule("cosine", warmup=0.1)
        ftk.fit(model, x_train, y_train, epochs=3, callbacks=[cosine], verbose=0)
        print(cosine.factors(100))
        ```

    Source: Smith, "A disciplined approach to neural network hyper-parameters", arXiv:1803.09820
        (one-cycle); Howard, Ruder, "Universal Language Model Fine-tuning for Text
        Classification", arXiv:1801.06146 (slanted triangular); Loshchilov, Hutter, "SGDR",
        arXiv:1608.03983 (cosine).
    """

    changes_frozen_weights = False

    def __init__(
        self, shape: str = "cosine", *, warmup: float | None = None, first_epoch: int = 0
    ) -> None:
        super().__init__()
        arguments.check_choice(shape, "shape", _SHAPES)
        arguments.check_int(first_epoch, "first_epoch", 0)
        self.shape, self.first_epoch = shape, int(first_epoch)
        self.warmup = _SHAPES[shape][0] if warmup is None else _warmup(warmup)
        self._start: int | None = None
        self._total = 0

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed run has to share."""
        return {"shape": self.shape, "warmup": self.warmup, "first_epoch": self.first_epoch}

    def factors(self, steps: int) -> np.ndarray:
        """The factor of each step of a run of so many, float32 of shape `(steps,)`."""
        done = ops.arange(steps, dtype="float32")
        return np.array(keras.ops.convert_to_numpy(self._factor(done, steps)))

    def _factor(self, done: Any, total: int) -> Any:
        _, up, down = _SHAPES[self.shape]
        rise = self._rise(total)
        first = 0 if self.shape in ("one_cycle", "slanted_triangular") else 1
        rising = up(ops.clip((done + first) / max(1, rise), 0.0, 1.0))
        falling = down(ops.clip((done - rise) / (total - rise), 0.0, 1.0))
        return ops.where(done < rise, rising, falling)

    def _rise(self, total: int) -> int:
        """The number of steps of the warm-up; at least one is left for what follows."""
        steps = self.warmup if self.warmup >= 1 else round(self.warmup * total)
        return min(int(steps), total - 1)

    def _change(self, model: keras.Model) -> list[Patch]:
        optimizer = model.optimizer
        rate_multipliers.check_rate_is_a_number(optimizer, "Schedule")
        params = self.params or {}
        epochs, steps = params.get("epochs") or 0, params.get("steps")
        if not steps:
            raise ValueError(
                "`Schedule` needs to know how many steps an epoch has, and these data do not say. "
                f"Give `steps_per_epoch`. Received: steps={steps!r}"
            )
        if epochs <= self.first_epoch:
            raise ValueError(
                "`first_epoch` must lie before the last epoch. "
                f"Received: first_epoch={self.first_epoch}, epochs={epochs}"
            )
        self._every = rate_multipliers.batches_per_update(optimizer)
        self._total = max(1, (epochs - self.first_epoch) * steps // self._every)
        self._start = None
        return [exchange(rate_multipliers.change(optimizer), "schedule", self._now)]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Finds out at the first epoch where in the schedule it lies."""
        if self._start is None:
            inner = rate_multipliers.innermost(self.model.optimizer)
            batches = int(keras_optimizers.batches_seen(inner))
            first = batches - (epoch - self.first_epoch) * self.params["steps"]
            self._start = first // self._every  # Whole updates; accumulation may be in mid-way.

    def _now(self, iterations: Any) -> Any:
        done = ops.cast(iterations - (self._start or 0), "float32")
        return self._factor(ops.maximum(done, 0.0), self._total)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the rate of the last step."""
        if logs is not None:
            optimizer = self.model.optimizer
            last = rate_multipliers.innermost(optimizer).iterations - 1
            logs["learning_rate"] = float(optimizer.learning_rate) * float(self._now(last))


def _warmup(value: Any) -> float:
    if not arguments.is_number(value):
        raise TypeError(
            "`warmup` must be a share of the steps below 1, or a number of steps. "
            f"Received: warmup={value!r}"
        )
    whole = float(value).is_integer()
    if not 0 <= float(value) < float("inf") or (float(value) > 1 and not whole):
        raise ValueError(
            "`warmup` must be a share of the steps below 1, such as 0.1, or a number of steps, "
            f"such as 100. Received: warmup={value!r}"
        )
    return float(value)
