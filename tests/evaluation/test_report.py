"""Does the report say all that was found, readably, and as JSON takes it?"""

from __future__ import annotations

import json

import numpy as np

import finetunekit as ftk
from answering import answering


def test_all_of_it_as_text() -> None:
    model = answering("multiclass", 3, class_names=["cat", "dog", "cow"])
    y = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    taken = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    report = ftk.evaluate(model, 5.0 * np.eye(3)[taken], y)
    text = str(report)
    assert repr(report) == ("<EvaluationReport: accuracy 0.750 (0.409 to 0.929), 8 samples>")
    assert text.splitlines() == [
        "evaluation: multiclass, 8 samples",
        "                             95 % interval  baseline",
        "  accuracy           0.750  0.409 to 0.929     0.500",
        "  balanced_accuracy  0.750  0.452 to 0.901     0.333",
        "  macro_f1           0.730  0.364 to 0.912     0.222",
        "  matthews           0.667  0.164 to 0.886     0.000",
        "  baseline: always 'cat', the most frequent class of these labels",
        "",
        "                    precision                  recall                      f1  samples",
        "  cat  1.000 (0.439 to 1.000)  0.750 (0.301 to 0.954)  0.857 (0.462 to 0.977)        4",
        "  dog  0.500 (0.150 to 0.850)  1.000 (0.342 to 1.000)  0.667 (0.261 to 0.919)        2",
        "  cow  1.000 (0.207 to 1.000)  0.500 (0.095 to 0.905)  0.667 (0.173 to 0.950)        2",
        "  most frequent errors: 'cat' taken for 'dog' 1x; 'cow' taken for 'dog' 1x",
    ]


def test_numbers_have_no_table_of_classes() -> None:
    y = np.array([94_000.0, 95_000, 96_000])
    text = str(ftk.evaluate(answering("regression", 1), y[:, None] + 250, y))
    assert "  mae     250 " in text
    assert "always the mean of these labels" in text
    assert "precision" not in text


def test_of_many_classes_the_worst_are_shown() -> None:
    model = answering("multiclass", 30, num_classes=30)
    y = np.repeat(np.arange(30), 2)
    taken = np.where(y == 17, 3, y)
    text = str(ftk.evaluate(model, 9.0 * np.eye(30)[taken], y))
    lines = text.splitlines()
    at = lines.index("  the 20 lowest of 30 by f1:")
    assert lines[at + 2].split()[0] == "17"
    assert lines[at + 3].split()[0] == "3"
    assert "'17' taken for '3' 2x" in text
    assert "never predicted: '17'" in text


def test_all_of_it_is_json() -> None:
    model = answering("binary", 1, class_names=["no", "yes"])
    report = ftk.evaluate(model, np.array([[1.0], [-2], [0.5]]), np.zeros(3), threshold=0.6)
    again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert again["metrics"]["auc"] is None
    assert again["metrics"]["accuracy"] == report.metrics["accuracy"]
    assert again["intervals"]["accuracy"] == list(report.intervals["accuracy"])
    assert again["confusion"] == report.confusion.tolist()
    assert (again["threshold"], again["class_names"]) == (0.6, ["no", "yes"])
    numbers = ftk.evaluate(
        answering("regression", 2, num_classes=2), np.eye(2), np.eye(2)
    ).to_dict()
    assert json.loads(json.dumps(numbers))["confusion"] is None
