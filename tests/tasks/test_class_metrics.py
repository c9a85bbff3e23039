"""Do metrics on heads of a softmax give what plain formulas give, or say why not?"""

from __future__ import annotations

from typing import Any

import keras
import pytest

from metric_tables import FORMS, check_every_metric, check_refused

m = keras.metrics
REFUSED = [
    ("multiclass", False, "binary_accuracy", "'accuracy'"),
    ("multiclass", False, "BinaryCrossentropy", "'categorical_crossentropy'"),
    ("multiclass", False, "top_k_categorical_accuracy", "k=3"),
    ("multiclass", False, lambda: m.MeanIoU(5), "its 4 classes"),
    ("multiclass", False, lambda: m.Precision(top_k=4), "a smaller one"),
    ("multiclass", False, "SensitivityAtSpecificity", r"specificity=\.\.\."),
]


@pytest.mark.parametrize(
    ("task", "logits", "form"), [row for row in FORMS if row[0] in ("multiclass",)]
)
def test_every_metric_by_formula(task: str, logits: bool, form: str) -> None:
    check_every_metric(task, logits=logits, form=form)


@pytest.mark.parametrize(("task", "logits", "given", "remedy"), REFUSED)
def test_what_means_nothing_is_refused(task: str, logits: bool, given: Any, remedy: str) -> None:
    check_refused(task, logits, given, remedy)
