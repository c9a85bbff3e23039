"""Any number of labels at once: each column is a yes or no, weighed and decided by itself."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.multilabel import Multilabel

FAMILY = Multilabel()
TASK = Task(name="multilabel", num_classes=3, class_names=("a", "b", "c"))


def test_what_it_is() -> None:
    assert (FAMILY.name, FAMILY.activation, FAMILY.monitor) == ("multilabel", "sigmoid", "auc")
    assert (FAMILY.fixed_count, FAMILY.default_count) == (None, None)
    assert (FAMILY.has_classes, FAMILY.can_stratify, FAMILY.can_mix) == (True, False, True)
    assert FAMILY.class_count(TASK) == 3
    assert FAMILY.count(None, ("a", "b", "c")) == 3


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_area_under_the_curve_is_that_of_each_label(from_logits: bool) -> None:
    metric = FAMILY.area_under_the_curve(TASK, from_logits)
    assert type(metric) is keras.metrics.AUC
    config = metric.get_config()
    told = {name: config[name] for name in ("name", "multi_label", "num_labels", "from_logits")}
    assert told == {
        "name": "auc",
        "multi_label": True,
        "num_labels": 3,
        "from_logits": from_logits,
    }
    assert (config["curve"], config["num_thresholds"]) == ("ROC", 200)


# Labels.


@pytest.mark.parametrize(
    ("labels", "output"),
    [
        ([[0, 1, 0], [1, 1, 1], [0, 0, 0]], (None, 3)),
        ([[0.0, 0.5, 1.0]], (None, 3)),
        ([[True, False, True]], (None, 3)),
        (np.ones((4, 2, 2, 3)), (None, 2, 2, 3)),
    ],
)
def test_labels_taken(labels: Any, output: Any) -> None:
    FAMILY.check_labels(np.array(labels), TASK, output)


@pytest.mark.parametrize(
    ("shape", "output", "wanted"),
    [
        ((4,), (None, 3), "(n, 3)"),
        ((4, 1), (None, 3), "(n, 3)"),
        ((4, 2), (None, 3), "(n, 3)"),
        ((4, 2, 2), (None, 2, 2, 3), "(n, 2, 2, 3)"),
    ],
)
def test_there_is_a_column_for_each_label(shape: Any, output: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match="`y` must have one column a label") as caught:
        FAMILY.check_labels(np.zeros(shape), TASK, output)
    assert f"for task 'multilabel': shape {wanted} of 0 and 1." in str(caught.value)
    assert str(caught.value).endswith(f"Received: y of shape {shape}")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([0, 1, 1 + 1e-9], [0, 1, 1 + 1e-9]),
        ([0, 1, -1e-9], [-1e-9, 0, 1]),
        ([3, 2, 2], [2, 3]),
    ],
)
def test_labels_lie_between_0_and_1(row: list[float], told: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must hold 0 \(absent\) and 1 \(present\)") as caught:
        FAMILY.check_labels(np.array([row]), TASK, (None, 3))
    assert str(caught.value).endswith(f"Received: y with values {np.array(told).tolist()}")


def test_eight_values_are_told() -> None:
    with pytest.raises(ValueError, match="present") as caught:
        FAMILY.check_labels(np.arange(12).reshape(4, 3), TASK, (None, 3))
    assert str(caught.value).endswith("values [0, 1, 2, 3, 4, 5, 6, 7]")


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ([[1, 1, 0], [0, 0, 1]], True),
        ([[0, 0], [0, 1]], True),
        ([[[1, 1], [0, 0]]], True),
        ([[[1, 0], [1, 0]]], False),
        ([[1, 0], [0, 1]], False),
        ([[1, 0.5], [0, 1]], False),
        ([[1], [0]], False),
        ([1, 0, 1], False),
    ],
)
def test_rows_that_are_not_one_hot_are_recognised(labels: Any, known: bool) -> None:
    found = FAMILY.recognises_labels(np.array(labels))
    assert found == ("rows of 0 and 1 have several 1s, or none" if known else None)


# Models.


@pytest.mark.parametrize(
    ("loss", "activation", "width", "known"),
    [
        ("BinaryCrossentropy", "sigmoid", 2, True),
        ("BinaryFocalCrossentropy", None, 3, True),
        ("Hinge", "tanh", 2, True),
        ("BinaryCrossentropy", "sigmoid", 1, False),
        ("BinaryCrossentropy", "softmax", 2, False),
        ("CategoricalCrossentropy", "sigmoid", 2, False),
    ],
)
def test_a_loss_of_yes_or_no_on_several_outputs_is_recognised(
    loss: str, activation: str | None, width: int, known: bool
) -> None:
    assert FAMILY.recognises_loss(loss, activation, width) is known


def test_several_sigmoids_are_recognised() -> None:
    found = [
        FAMILY.recognises_output(activation, width)
        for activation, width in (("sigmoid", 2), ("sigmoid", 1), ("softmax", 2), (None, 2))
    ]
    assert found == [True, False, False, False]


# Weights.


@pytest.mark.parametrize("weight", [{0: 1.0}, "even", None, ["balanced"], np.array(["balanced"])])
def test_weights_are_balanced_or_none(weight: Any) -> None:
    FAMILY.check_class_weight("balanced", TASK)
    with pytest.raises(ValueError, match="For task 'multilabel' `class_weight` must be") as caught:
        FAMILY.check_class_weight(weight, TASK)
    assert str(caught.value).endswith(f"Received: class_weight={weight!r}")


def test_a_sample_weighs_as_its_labels_do_on_average() -> None:
    labels = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    found = FAMILY.class_weights(labels, "balanced", TASK, (None, 2))
    # 4 / (2 * 3) and 4 / (2 * 1) in the first column; the second has one value.
    common, rare = (4 / 6 + 1) / 2, (2 + 1) / 2
    assert found == pytest.approx([common, common, common, rare])
    pixels = FAMILY.class_weights(
        np.array([[[0, 1], [0, 1], [1, 1]]]), "balanced", TASK, (None, 3, 2)
    )
    assert pixels == pytest.approx(np.array([[(0.75 + 1) / 2, (0.75 + 1) / 2, (1.5 + 1) / 2]]))


# Decoding.


def test_probabilities() -> None:
    p = np.array([[0.5, 0.25, 1.0]])
    assert FAMILY.probabilities(p, False) is p
    found = FAMILY.probabilities(np.array([[0.0, -2.0, 40.0]]), True)
    np.testing.assert_allclose(found, [[0.5, 1 / (1 + math.exp(2)), 1.0]], rtol=1e-14)


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (None, ("c", "a")),
        (0.5, ("c", "a")),
        (0.51, ("c",)),
        (0.25, ("c", "a", "b")),
        (0, ("c", "a", "b")),
        (1, ()),
    ],
)
def test_labels_hold_from_the_threshold_on(threshold: Any, labels: tuple[str, ...]) -> None:
    (found,) = FAMILY.decode(np.array([[0.5, 0.25, 0.75]]), TASK, False, threshold)
    assert found.labels == labels
    assert list(found.probabilities.items()) == [("c", 0.75), ("a", 0.5), ("b", 0.25)]
    held = FAMILY.held(np.array([[0.5, 0.25]]), 0.5)
    assert held.tolist() == [[True, False]]
