"""`TimeBudget`: training that ends in time, with a rate that has fallen by then."""

import re
import time
from typing import Any

import keras

from finetunekit.foundation import arguments
from finetunekit.foundation.messages import say
from finetunekit.foundation.patches import Patch, patch
from finetunekit.models import rate_multipliers
from finetunekit.models.temporary_injection import TemporaryInjection

ops = keras.ops

_UNITS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_FALLS = 0.5  # From this share of the time on the rate falls, to 0 at the end.


class TimeBudget(TemporaryInjection):
    """Ends training after a time, over which the rate falls to 0, so that the weights settle.

    The rate is left alone for half of the time, and falls along a line in the other half; a run
    that ends by itself before that is the same as without. It multiplies whatever else the rate
    is made of, such as a `Schedule`. One object goes on counting in each further `fit` or stage.

    Args:
        budget: Seconds, or a text such as `"90 s"`, `"2 min"`, `"1.5 h"`.

    Attributes:
        seconds: The budget in seconds.
        spent: The seconds of training so far.

    Raises:
        ValueError: If the budget is not a positive time.
        TypeError: If it is neither a number nor a text.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model)
        limit = ftk.callbacks.TimeBudget("2 min")
        ftk.fit(model, x_train, y_train, epochs=3, callbacks=[limit], verbose=0)
        assert 0 < limit.spent < 120
        ```

    Source: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
        Durations", arXiv:2405.18392 (a constant rate, then a fall to 0).
    """

    changes_frozen_weights = False

    def __init__(self, budget: float | str) -> None:
        super().__init__()
        self.seconds = seconds_of(budget, "budget")
        self.spent = 0.0
        self._watch = _Stopwatch()

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed run has to share."""
        return {"seconds": self.seconds}

    @property
    def is_over(self) -> bool:
        """Whether the time has been spent."""
        return self.spent >= self.seconds

    def _change(self, model: keras.Model) -> list[Patch]:
        optimizer = model.optimizer
        rate_multipliers.check_rate_is_a_number(optimizer, "TimeBudget")
        self._factor = keras.Variable(self._now(), trainable=False, name="time_budget")
        self._watch = _Stopwatch()

        def wrap(schedule: Any) -> Any:
            return lambda done: self._factor * (1 if schedule is None else schedule(done))

        return [patch(rate_multipliers.change(optimizer), "schedule", wrap)]

    def _now(self) -> float:
        left = 1 - self.spent / self.seconds
        return float(min(1.0, max(0.0, left / (1 - _FALLS))))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the rate of the step by the time that is left."""
        self._factor.assign(self._now())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the time, and ends training when it is over."""
        self.spent += self._watch.lap()
        if self.is_over and not self.model.stop_training:
            self.model.stop_training = True
            say(f"the time budget of {self.seconds:g} s is spent: training ends")


class _Stopwatch:
    """Of this process alone: no checkpoint holds it, since another process has another clock."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """The seconds since the last call, or the beginning."""
        before, self._last = self._last, time.perf_counter()
        return self._last - before


def seconds_of(budget: Any, name: str) -> float:
    """Seconds, from a number or a text with a unit.

    Raises:
        ValueError: If it is not a positive time.
        TypeError: If it is neither a number nor a text.
    """
    if not isinstance(budget, str):
        return arguments.check_number(budget, name, arguments.POSITIVE, "seconds, or '2 min'")
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]+?)s?\s*", budget.lower() + " ")
    unit = _UNITS.get(found[2]) if found else None
    if found is None or unit is None or float(found[1]) <= 0:
        raise ValueError(
            f"`{name}` must be a number of seconds, or a text such as '90 s', '2 min' or '1.5 h'. "
            f"Received: {name}={budget!r}"
        )
    return float(found[1]) * unit
