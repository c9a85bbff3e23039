"""What each stage was worth, how long the second one is, and which weights are kept."""

import functools
import time
from typing import Any

import keras

from finetunekit.callbacks.monitors import direction
from finetunekit.evaluation import EvaluationReport, evaluate
from finetunekit.foundation.messages import plural, say, warn
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of
from finetunekit.tuning.length import Length, constant_loss, explained


class Judge(keras.callbacks.Callback):
    """Measures the model at the end of each stage, and puts the probe's weights back if better.

    What few samples say by chance must not undo what training has gained: the weights of the
    second stage go only if the probe's figure lies outside of their interval. What the judge has
    found is part of a checkpoint, so a resumed run decides as a whole one does.

    Args:
        model: The model.
        task: Its task.
        y: The labels that it trains on.
        held_out: `(x, y)`, a pipeline, or None.
        stages: 1 for the probe alone, 2 with fine-tuning.

    Attributes:
        probe: Metrics after the probe.
        tuned: Metrics after fine-tuning.
        kept: `"probe"` or `"tuned"`.
        explained: The share of what there is to learn that the probe has learned.
        seconds: Stage -> seconds.
    """

    changes_frozen_weights = False

    def __init__(
        self, model: keras.Model, task: Task, y: Any, held_out: Any, *, stages: int
    ) -> None:
        super().__init__()
        self._task = task
        # Functions, since a checkpoint would hold arrays.
        self._measure = functools.partial(measure, model, held_out)
        self._constant_loss = functools.partial(constant_loss, model, task, y)
        self._judges = stages == 2 and held_out is not None
        self.probe: dict[str, float] | None = None
        self.tuned: dict[str, float] | None = None
        self.kept = "probe"
        self.explained = 0.0
        self.seconds: dict[str, float] = {}
        self._reports: dict[str, EvaluationReport | None] = {}
        self._loss = 0.0
        self._start = 0.0
        self._weights: list[Any] = []
        self._probed = False

    @property
    def report(self) -> EvaluationReport | None:
        """The figures of the weights that are kept, on the held-out samples, if any."""
        if self.kept not in self._reports:  # Of a run that another process has finished.
            self._reports[self.kept] = self._measure()
        return self._reports[self.kept]

    def epochs(self, length: Length) -> int:
        """The epochs of the second stage, from what the probe has learned and its steps."""
        found = length.epochs(self.explained, self._steps)
        reason = ""
        if length.strong != length.weak:
            share = f"{max(0.0, self.explained):.0%}"
            reason = f"the head alone explains {share} of what there is to learn: "
        say(f"{reason}{plural(found, 'epoch')} of fine-tuning")
        return found

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes the time."""
        self._start = time.time()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the loss: a run that is resumed at the end of a stage has no further epoch."""
        self._loss = float((logs or {})["loss"])

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """A stage has ended."""
        self.seconds["fine-tune" if self._probed else "probe"] = time.time() - self._start
        if self._probed:
            self._end_of_tuning()
            return
        self._probed = True
        self._steps = int(self.params["steps"] or 1)
        self.explained = explained(self._loss, self._constant_loss())
        report = self._reports["probe"] = self._measure()
        self.probe = None if report is None else dict(report.metrics)
        if self._judges:
            self._weights = self.model.get_weights()

    def _end_of_tuning(self) -> None:
        self.kept = "tuned"
        report = self._reports["tuned"] = self._measure()
        self.tuned = None if report is None else dict(report.metrics)
        if self.probe is None or report is None:
            return
        if is_worse(self._task, report, self.probe):
            self.kept = "probe"
            self.model.set_weights(self._weights)
            warn("fine-tuning made it worse on held-out samples: the probe's weights are kept")
        self._weights = []


def measure(model: keras.Model, data: Any) -> EvaluationReport | None:
    """The figures on some data, without disturbing the metrics of a running epoch; None of None."""
    if data is None:
        return None
    x, y = data if isinstance(data, tuple) else (data, None)
    return evaluate(model, x, y)


def is_worse(task: Task, report: EvaluationReport, before: dict[str, float]) -> bool:
    """Whether the task's figure was better before than the interval that it lies in now."""
    name = family_of(task).monitor
    if name not in report.intervals:
        return False
    low, high = report.intervals[name]
    return before[name] < low if direction(name) == "min" else before[name] > high


def is_no_better_than_baseline(task: Task, report: EvaluationReport) -> bool:
    """Whether a prediction that ignores its input has at least as good a figure of the task."""
    name = family_of(task).monitor
    if name not in report.baseline:
        return False
    figure, baseline = report.metrics[name], report.baseline[name]
    return figure >= baseline if direction(name) == "min" else figure <= baseline
