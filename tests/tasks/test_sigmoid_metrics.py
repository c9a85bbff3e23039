"""Do metrics on heads of sigmoids give what plain formulas give, or say why not?"""

from __future__ import annotations

from typing import Any

import keras
import pytest

from metric_tables import FORMS, check_every_metric, check_refused

m = keras.metrics
REFUSED = [
    ("multilabel", False, "categorical_accuracy", "'accuracy'"),
    ("multilabel", False, "kl_divergence", "'f1_score'"),
    ("binary", False, "top_k_categorical_accuracy", "'f1_score'"),
    ("binary", False, lambda: m.Precision(class_id=1), "Leave `class_id` out"),
    ("binary", False, lambda: m.Precision(thresholds=0), "suits logits"),
    ("binary", False, lambda: m.BinaryAccuracy(threshold=0.0), "suits logits"),
    ("binary", False, "hinge", "activation=None"),
    ("binary", False, lambda: m.MeanIoU(3), "BinaryIoU"),
    ("binary", False, lambda: m.Recall(top_k=1), "Leave it out"),
    ("multilabel", False, lambda: m.Recall(class_id=3), "0 to 2"),
]


@pytest.mark.parametrize(
    ("task", "logits", "form"), [row for row in FORMS if row[0] in ("binary", "multilabel")]
)
def test_every_metric_by_formula(task: str, logits: bool, form: str) -> None:
    check_every_metric(task, logits=logits, form=form)


@pytest.mark.parametrize(("task", "logits", "given", "remedy"), REFUSED)
def test_what_means_nothing_is_refused(task: str, logits: bool, given: Any, remedy: str) -> None:
    check_refused(task, logits, given, remedy)
