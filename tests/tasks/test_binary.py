"""Yes or no is one output with two classes, whatever form its labels and names have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.binary import Binary

TASK = Task(name="binary", num_classes=1)
NAMED = Task(name="binary", num_classes=1, class_names=("no", "yes"))
FAMILY = Binary()


def test_what_it_is() -> None:
    assert (FAMILY.name, FAMILY.activation, FAMILY.monitor) == ("binary", "sigmoid", "auc")
    assert (FAMILY.fixed_count, FAMILY.default_count) == (1, 1)
    assert (FAMILY.has_classes, FAMILY.can_stratify, FAMILY.can_mix) == (True, True, True)
    assert FAMILY.class_count(NAMED) == 2
    assert FAMILY.count_in_labels(np.array([[0, 1, 1]])) is None


# Counts and names.


def test_two_names_are_one_output() -> None:
    assert FAMILY.count_of_names(("no", "yes")) == 1
    assert FAMILY.count(None, ("no", "yes")) == FAMILY.count(1, ("no", "yes")) == 1
    for names in (("yes",), ("no", "yes", "maybe"), ()):
        with pytest.raises(ValueError, match="must be two names for task 'binary'") as caught:
            FAMILY.count_of_names(names)
        assert str(caught.value).endswith(f"Received: class_names={names!r}")


@pytest.mark.parametrize("number", [0, 2, 3])
def test_there_is_one_output(number: int) -> None:
    FAMILY.check_count(1)
    with pytest.raises(ValueError, match="Task 'binary' has one output") as caught:
        FAMILY.check_count(number)
    assert str(caught.value).endswith(
        f"use task 'multiclass' for {number} classes. Received: num_classes={number}"
    )


def test_two_names_are_recognised() -> None:
    found = [FAMILY.recognises_names(tuple("abc"[:count])) for count in (1, 2, 3)]
    assert found == [False, True, False]


# Labels.


@pytest.mark.parametrize(
    ("shape", "output"),
    [((4,), (None, 1)), ((4, 1), (None, 1)), ((4, 2, 3), (None, 2, 3, 1)),
     ((4, 2, 3, 1), (None, 2, 3, 1))],
)  # fmt: skip
def test_one_label_for_each_output(shape: Any, output: Any) -> None:
    for value in (0, 0.5, 1):
        FAMILY.check_labels(np.full(shape, value), TASK, output)


@pytest.mark.parametrize(
    ("shape", "output", "wanted"),
    [
        ((4, 2), (None, 1), "(n,) or (n, 1)"),
        ((4, 1, 1), (None, 1), "(n,) or (n, 1)"),
        ((4,), (None, 2, 3, 1), "(n, 2, 3) or (n, 2, 3, 1)"),
        ((4, 3, 2), (None, 2, 3, 1), "(n, 2, 3) or (n, 2, 3, 1)"),
    ],
)
def test_labels_of_another_shape(shape: Any, output: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match="`y` must have shape") as caught:
        FAMILY.check_labels(np.zeros(shape), TASK, output)
    assert str(caught.value).startswith(f"`y` must have shape {wanted} for task 'binary'.")
    assert str(caught.value).endswith(f"Received: y of shape {shape}")


@pytest.mark.parametrize(
    ("labels", "remedy", "told"),
    [
        ([1, 2], "Write `y = y - 1`.", [1, 2]),
        ([2, 2], "Write `y = (y > 0).astype('float32')`.", [2]),
        ([0, 2], "Write `y = (y > 0).astype('float32')`.", [0, 2]),
        ([-1, 1], "Write `y = (y > 0).astype('float32')`.", [-1, 1]),
        ([0, 1, 2], "For more than two classes use task 'multiclass'.", [0, 1, 2]),
        ([-1, 0, 1], "For more than two classes use task 'multiclass'.", [-1, 0, 1]),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], "For more than two classes use", [1, 2, 3, 4, 5, 6, 7, 8]),
        ([0, 1 + 1e-9], "Write `y = (y > 0).astype('float32')`.", [0, 1 + 1e-9]),
    ],
)
def test_other_labels_come_with_the_way_out(
    labels: list[float], remedy: str, told: list[float]
) -> None:
    with pytest.raises(ValueError, match="must lie between 0") as caught:
        FAMILY.check_labels(np.array(labels), TASK, (None, 1))
    assert f"for task 'binary'. {remedy}" in str(caught.value)
    assert str(caught.value).endswith(f"Received: y with values {np.array(told).tolist()}")


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ([0, 1], True),
        ([[1.0], [0.0]], True),
        ([False, True], True),
        ([0, 0], False),
        ([1, 1], False),
        ([0, 1, 2], False),
        ([0, 0.5, 1], False),
        ([1, 2], False),
        ([[0, 1], [1, 0]], False),
    ],
)
def test_labels_0_and_1_are_recognised(labels: Any, known: bool) -> None:
    found = FAMILY.recognises_labels(np.array(labels))
    assert found == ("the labels are 0 and 1" if known else None)


# Models.


@pytest.mark.parametrize(
    ("loss", "activation", "width", "known"),
    [
        ("BinaryCrossentropy", "sigmoid", 1, True),
        ("BinaryFocalCrossentropy", None, 1, True),
        ("Hinge", "tanh", 1, True),
        ("SquaredHinge", None, 1, True),
        ("BinaryCrossentropy", "sigmoid", 2, False),
        ("BinaryCrossentropy", "softmax", 1, False),
        ("MeanSquaredError", "sigmoid", 1, False),
        ("CategoricalCrossentropy", None, 1, False),
    ],
)
def test_a_loss_of_yes_or_no_on_one_output_is_recognised(
    loss: str, activation: str | None, width: int, known: bool
) -> None:
    assert FAMILY.recognises_loss(loss, activation, width) is known


def test_one_sigmoid_is_recognised() -> None:
    assert FAMILY.recognises_output("sigmoid", 1) is True
    for activation, width in (("sigmoid", 2), ("softmax", 1), (None, 1), ("tanh", 1)):
        assert FAMILY.recognises_output(activation, width) is False


# Decoding.


def test_probabilities_of_both_classes() -> None:
    found = FAMILY.probabilities(np.array([[0.25], [1.0]]), False)
    assert found.tolist() == [[0.75, 0.25], [0.0, 1.0]]
    found = FAMILY.probabilities(np.array([2.0, -40.0]), True)
    yes = [1 / (1 + math.exp(-2)), math.exp(-40) / (1 + math.exp(-40))]
    no = [math.exp(-2) / (1 + math.exp(-2)), 1 / (1 + math.exp(-40))]
    np.testing.assert_allclose(found, np.array([no, yes]).T, rtol=1e-13)


@pytest.mark.parametrize(
    ("p", "threshold", "label"),
    [
        (0.5, None, "yes"),
        (0.49, None, "no"),
        (0.25, 0.25, "yes"),
        (0.25, 0.26, "no"),
        (0.9, 0.95, "no"),
        (0.0, 0, "yes"),
        (0.99, 1, "no"),
        (1.0, 1, "yes"),
    ],
)
def test_yes_from_the_threshold_on(p: float, threshold: float | None, label: str) -> None:
    (found,) = FAMILY.decode(np.array([[p]]), NAMED, False, threshold)
    assert found.labels == (label,)
    assert found.probabilities == {"no": 1 - p, "yes": p}


# Weights.


def test_class_weights_are_for_no_and_yes() -> None:
    labels = np.array([[0.0], [0.5], [0.51], [1.0]])
    found = FAMILY.class_weights(labels, {1: 3.0}, TASK, (None, 1))
    assert found.tolist() == [[1], [1], [3], [3]]
    balanced = FAMILY.class_weights(np.array([0, 1, 1, 1]), "balanced", TASK, (None, 1))
    assert balanced == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    FAMILY.check_class_weight({0: 1, 1: 2}, TASK)
    with pytest.raises(ValueError, match="there are 0 to 1"):
        FAMILY.check_class_weight({2: 1}, TASK)
