"""Are settings of metrics changed where they must be, and nowhere else?"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.tasks import metric_settings
from finetunekit.tasks.metric_settings import Head

m = keras.metrics
BINARY = ftk.Task(name="binary", num_classes=1)


def test_the_same_object_unless_something_changes() -> None:
    metric = m.BinaryAccuracy(threshold=0.3)
    assert metric_settings.rebuilt(metric, threshold=0.3) is metric
    other = metric_settings.rebuilt(metric, threshold=0.4)
    assert (other.threshold, other.name, metric.threshold) == (0.4, "binary_accuracy", 0.3)
    top = metric_settings.rebuilt(m.TopKCategoricalAccuracy(3), m.SparseTopKCategoricalAccuracy)
    assert (type(top), top.k) == (m.SparseTopKCategoricalAccuracy, 3)
    assert top.name == "top_k_categorical_accuracy"
    own = m.AUC(thresholds=[0.2, 0.4], label_weights=[1.0, 2.0])
    again = metric_settings.rebuilt(own, from_logits=True)
    assert np.allclose(again.thresholds, own.thresholds)
    assert np.allclose(again.label_weights, own.label_weights)


@pytest.mark.parametrize(
    ("threshold", "logits", "wanted"),
    [
        (None, False, 0.5),
        (0.3, False, 0.3),
        (None, True, 0.0),
        (0.3, True, math.log(0.3 / 0.7)),
        (0.0, True, 0.0),
        (-1.0, True, -1.0),
        (0.0, False, None),
        (1.5, False, None),
    ],
)
def test_thresholds_of_probabilities(threshold: Any, logits: bool, wanted: float | None) -> None:
    head = Head(task=BINARY, logits=logits)
    metric = m.BinaryAccuracy()
    if wanted is None:
        with pytest.raises(ValueError, match=r"suits logits.*Received: metrics with 'binary_acc"):
            metric_settings.probability_threshold(metric, threshold, head)
        return
    found = metric_settings.probability_threshold(metric, threshold, head)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("thresholds", [None, 0.5, [0.0, 0.5, 1.0], [0.5]])
def test_thresholds_of_curves_are_left_alone(thresholds: Any) -> None:
    metric_settings.check_threshold(m.Precision(), thresholds)


def test_variables_are_there_before_the_first_step() -> None:
    metric = m.F1Score()
    assert not metric.variables
    assert metric_settings.with_variables(metric, 3) is metric
    assert len(metric.variables) == 4
    assert not any(np.any(v) for v in metric.variables)


def test_an_iou_counts_fractions_of_weights() -> None:
    head = Head(task=BINARY, logits=False, weighted=True)
    assert metric_settings.counting_dtype(m.BinaryIoU(), head) == {"dtype": "float64"}
    assert metric_settings.counting_dtype(m.BinaryIoU(dtype="float32"), head) == {}
    plain = Head(task=BINARY, logits=False)
    assert metric_settings.counting_dtype(m.BinaryIoU(), plain) == {}
