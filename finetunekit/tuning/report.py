"""The report of `fine_tune`."""

import textwrap
from dataclasses import dataclass
from typing import Any

from finetunekit.evaluation import EvaluationReport
from finetunekit.foundation import html
from finetunekit.models.metadata import Task
from finetunekit.training.stage import StagedHistory


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneReport:
    """What `fine_tune` did; prints as text.

    Attributes:
        task: The task.
        choices: What was chosen, and why: name -> words.
        history: The epochs of all stages.
        explained: The share of what there is to learn that the head alone has learned, from its
            training loss: 1 is all of it, 0 no more than the mean of the labels.
        probe: Metrics of the head on the frozen backbone, on the held-out samples, if any.
        tuned: Metrics after fine-tuning, on the same samples.
        kept: Which of the two the model has: `"probe"` or `"tuned"`.
        validation: All figures of the weights that are kept, on the held-out samples, with
            intervals, the baseline, each class and the confusions.
        test: The same on the test data, if given.
        seconds: Stage -> seconds, loading not counted.
    """

    task: Task
    choices: dict[str, str]
    history: StagedHistory
    explained: float
    probe: dict[str, float] | None
    tuned: dict[str, float] | None
    kept: str
    validation: EvaluationReport | None
    test: EvaluationReport | None
    seconds: dict[str, float]

    def __str__(self) -> str:
        """All of it, a line each."""
        rows = [f"fine_tune: {self.task.name}"]
        rows += [f"  {name}: {words}" for name, words in self.choices.items()]
        for name, metrics in (("probe", self.probe), ("tuned", self.tuned)):
            if metrics is not None:
                rows.append(f"  {name}, on held-out samples: {_text(metrics)}")
        rows.append(f"  kept: the {self.kept} weights")
        spent = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        rows.append(f"  epochs: {', '.join(self._epochs())}")
        rows.append(f"  time: {spent}")
        for name, found in (("held-out samples", self.validation), ("test data", self.test)):
            if found is not None:
                rows += [f"  {name}:", textwrap.indent(str(found), "    ")]
        return "\n".join(rows)

    def __repr__(self) -> str:
        found = self.test or self.validation
        words = "" if found is None else f"; {found!r}"
        return f"<TuneReport: {self.task.name}, the {self.kept} weights are kept{words}>"

    def _repr_html_(self) -> str:
        measured = {"probe": self.probe, "tuned": self.tuned}
        known = {**self.choices, **{n: _text(m) for n, m in measured.items() if m is not None}}
        known["kept"] = f"the {self.kept} weights"
        known["time"] = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        parts = {"held-out samples": self.validation, "test data": self.test}
        return html.view(
            f"fine_tune: {self.task.name}",
            html.facts(known),
            *(
                html.lines([f"{name}:"]) + found.to_html()
                for name, found in parts.items()
                if found is not None
            ),
        )

    def _epochs(self) -> list[str]:
        """How many each stage has run, which a budget or a callback may have cut."""
        firsts = [first for _, first in self.history.stages]
        ends = [*firsts[1:], len(self.history.epoch)]
        rows = zip(self.history.stages, ends, strict=True)
        return [f"{name} {end - first}" for (name, first), end in rows]


def _text(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
