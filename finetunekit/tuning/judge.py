"""What each stage was worth on held-out samples, and which weights are kept."""

import functools
import time
from typing import Any

import keras

from finetunekit.callbacks.monitors import monitored
from finetunekit.data import batch_form, pipelines
from finetunekit.data.checked_batches import Checks
from finetunekit.foundation.messages import warn
from finetunekit.models import inputs
from finetunekit.tasks import known_task


class Judge(keras.callbacks.Callback):
    """Measures the model at the end of each stage, and puts the probe's weights back if better.

    As the last callback of a stage it sees its best weights. What it has found is part of
    a checkpoint, so a resumed run decides as a whole one does.

    Args:
        model: The model.
        held_out: `(x, y)`, a pipeline, or None.
        stages: 1 for the probe alone, 2 with fine-tuning.

    Attributes:
        probe: Metrics after the probe.
        tuned: Metrics after fine-tuning.
        kept: `"probe"` or `"tuned"`.
        seconds: Stage -> seconds.
    """

    changes_frozen_weights = False

    def __init__(self, model: keras.Model, held_out: Any, *, stages: int) -> None:
        super().__init__()
        # A function, since a checkpoint would hold arrays.
        self._measure = functools.partial(measure, model, held_out, "validation_data")
        self._judges = stages == 2 and held_out is not None
        self.probe: dict[str, float] | None = None
        self.tuned: dict[str, float] | None = None
        self.kept = "probe"
        self.seconds: dict[str, float] = {}
        self._start = 0.0
        self._weights: list[Any] = []
        self._probed = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes the time."""
        self._start = time.time()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """A stage has ended."""
        self.seconds["fine-tune" if self._probed else "probe"] = time.time() - self._start
        if self._probed:
            self._end_of_tuning()
            return
        self._probed = True
        self.probe = self._measure()
        if self._judges:
            self._weights = self.model.get_weights()

    def _end_of_tuning(self) -> None:
        self.tuned, self.kept = self._measure(), "tuned"
        if self.probe is None or self.tuned is None:
            return
        if not _better(self.model, self.tuned, self.probe):
            self.kept = "probe"
            self.model.set_weights(self._weights)
            warn("fine-tuning did not improve on the probe: the probe's weights are kept")
        self._weights = []


def measure(model: keras.Model, data: Any, name: str = "test_data") -> dict[str, float] | None:
    """The metrics on some data, without disturbing those of a running epoch; None without data.

    Raises:
        ValueError: If labels of a pipeline do not fit.
    """
    if data is None:
        return None
    options = {"verbose": 0, "return_dict": True}
    if isinstance(data, tuple):
        found = model.evaluate(inputs.read(data[0], model), data[1], **options)
    elif pipelines.shown_batch(data) is None:
        found = model.evaluate(data, **options)
    else:
        checks = Checks(batch_form.of(model, known_task(model), name))
        with checks.named():
            found = model.evaluate(checks.of(data), **options)
    return {name: float(value) for name, value in found.items()}


def _better(model: keras.Model, one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether the first is as good as the second, by the task's metric, then by the loss."""
    name, mode = monitored(model, "auto", "auto", {f"val_{key}": 0.0 for key in one})
    key = name.removeprefix("val_")
    if one[key] == other[key]:
        return one["loss"] <= other["loss"]
    return (one[key] < other[key]) == (mode == "min")
