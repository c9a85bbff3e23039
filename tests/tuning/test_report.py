"""Does the report of `fine_tune` say what there is, and nothing of what there is not?"""

from __future__ import annotations

import dataclasses

import pytest

from finetunekit.evaluation import EvaluationReport
from finetunekit.models.metadata import Task
from finetunekit.training.stage import StagedHistory
from finetunekit.tuning.report import TuneReport

TASK = Task(name="binary", num_classes=1)
REPORT = TuneReport(
    task=TASK,
    choices={"task": "binary, the labels are <0> and <1>"},
    history=StagedHistory({"loss": [1.0, 0.5]}, [0, 1], [("probe", 0), ("fine-tune", 1)]),
    explained=0.5,
    probe=None,
    tuned=None,
    kept="tuned",
    validation=None,
    test=None,
    seconds={"probe": 1.0, "fine-tune": 2.5},
)
FOUND = EvaluationReport(
    task=TASK,
    count=20,
    class_names=("<0>", "<1>"),
    metrics={"accuracy": 0.75},
    intervals={"accuracy": (0.5, 0.9)},
    baseline={"accuracy": 0.5},
    baseline_is="always '<0>'",
)
SHORT = "<EvaluationReport: accuracy 0.750 (0.500 to 0.900), 20 samples>"


def test_without_anything_held_out() -> None:
    assert str(REPORT).splitlines() == [
        "fine_tune: binary",
        "  task: binary, the labels are <0> and <1>",
        "  kept: the tuned weights",
        "  epochs: probe 1, fine-tune 1",
        "  time: probe 1.0 s, fine-tune 2.5 s",
    ]
    assert repr(REPORT) == "<TuneReport: binary, the tuned weights are kept>"
    shown = REPORT._repr_html_()
    assert "the labels are &lt;0&gt; and &lt;1&gt;" in shown
    assert "held-out" not in shown


@pytest.mark.parametrize(("part", "title"), [("validation", "held-out"), ("test", "test data")])
def test_what_was_measured_is_shown_once(part: str, title: str) -> None:
    report = dataclasses.replace(REPORT, probe={"accuracy": 0.7}, **{part: FOUND})
    assert repr(report) == f"<TuneReport: binary, the tuned weights are kept; {SHORT}>"
    shown = report._repr_html_()
    assert shown.count(FOUND.to_html()) == 1
    assert title in shown
    assert "accuracy 0.7<" in shown
