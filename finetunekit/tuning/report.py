"""The report of `fine_tune`."""

from dataclasses import dataclass
from typing import Any

from finetunekit.models.metadata import Task
from finetunekit.training.stages import StagedHistory


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneReport:
    """What `fine_tune` did; prints as text.

    Attributes:
        task: The task.
        choices: What was chosen, and why: name -> words.
        history: The epochs of all stages.
        probe: Metrics of the head on the frozen backbone, on the held-out samples, if any.
        tuned: Metrics after fine-tuning, on the same samples.
        kept: Which of the two the model has: `"probe"` or `"tuned"`.
        test: Metrics on the test data, if given.
        seconds: Stage -> seconds, loading not counted.
    """

    task: Task
    choices: dict[str, str]
    history: StagedHistory
    probe: dict[str, float] | None
    tuned: dict[str, float] | None
    kept: str
    test: dict[str, float] | None
    seconds: dict[str, float]

    def __str__(self) -> str:
        """All of it, a line each."""
        rows = [f"fine_tune: {self.task.name}"]
        rows += [f"  {name}: {words}" for name, words in self.choices.items()]
        for name, metrics in (("probe", self.probe), ("tuned", self.tuned)):
            if metrics is not None:
                rows.append(f"  {name}, on held-out samples: {_text(metrics)}")
        rows.append(f"  kept: the {self.kept} weights")
        if self.test is not None:
            rows.append(f"  test: {_text(self.test)}")
        spent = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        return "\n".join([*rows, f"  time: {spent}"])


def _text(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
