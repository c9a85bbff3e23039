"""What binary and multilabel tasks share: yes or no for each output, of logits or probabilities."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of

BINARY = Task(name="binary", num_classes=1)
MULTILABEL = Task(name="multilabel", num_classes=2)
Y = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
LOGITS = np.array([[-2.0, 0.3], [0.1, -0.5], [-0.1, -3.0], [0.2, 0.1]])
P = 1 / (1 + np.exp(-LOGITS))


@pytest.mark.parametrize("from_logits", [False, True])
def test_loss_and_accuracy_are_those_of_the_probabilities(from_logits: bool) -> None:
    family, found = family_of(MULTILABEL), LOGITS if from_logits else P
    wanted = -np.mean(Y * np.log(P) + (1 - Y) * np.log(1 - P))
    assert float(family.loss(MULTILABEL, from_logits)(Y, found)) == pytest.approx(wanted, rel=1e-4)
    smooth = 0.8 * Y + 0.1
    wanted = -np.mean(smooth * np.log(P) + (1 - smooth) * np.log(1 - P))
    smoothed = family.loss(MULTILABEL, from_logits, label_smoothing=0.2)
    assert float(smoothed(Y, found)) == pytest.approx(wanted, rel=1e-4)
    accuracy, area = family.metrics(MULTILABEL, from_logits)
    for metric in (accuracy, area):
        metric.update_state(Y, found)
    assert (accuracy.name, area.name) == ("accuracy", "auc")
    assert float(accuracy.result()) == pytest.approx(((P > 0.5) == Y).mean())
    pairs = [
        np.mean([float(p > n) for p in P[Y[:, k] == 1, k] for n in P[Y[:, k] == 0, k]])
        for k in range(2)
    ]
    assert float(area.result()) == pytest.approx(np.mean(pairs), abs=0.02)


def test_hinge_losses_take_minus_one_for_no() -> None:
    family, labels = family_of(BINARY), np.array([-1, 1, 1])
    assert family.labels_for_check(labels, "Hinge").tolist() == [0, 1, 1]
    assert family.labels_for_check(labels, "SquaredHinge").tolist() == [0, 1, 1]
    assert family.labels_for_check(labels, "BinaryCrossentropy") is labels
    other = np.array([-1, 2])
    assert family.labels_for_check(other, "Hinge") is other


@pytest.mark.parametrize(
    ("labels", "sure"),
    [
        ([0, 1], True),
        ([0.0, 0.4, 1.0], True),
        ([0, 2], False),
        ([-1, 1], False),
        ([float("nan")], False),
        ([255, 0], False),
    ],
)
def test_labels_from_0_to_1_are_surely_valid(labels: Any, sure: bool) -> None:
    found = family_of(BINARY).surely_valid(keras.ops.convert_to_tensor(labels), BINARY, (None, 1))
    assert bool(found) is sure


def test_a_label_of_more_than_a_half_is_a_yes() -> None:
    found = family_of(MULTILABEL).class_ids(np.array([[0.5, 0.51]]), MULTILABEL, (None, 2))
    assert found.tolist() == [[0, 1]]
