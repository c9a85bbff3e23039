"""One of several classes: integers and rows are told apart, and what does not fit is named."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.multiclass import Multiclass

FAMILY = Multiclass()
TASK = Task(name="multiclass", num_classes=3)
PIXELS = (None, 2, 2, 3)


def test_what_it_is() -> None:
    assert (FAMILY.name, FAMILY.activation, FAMILY.monitor) == (
        "multiclass", "softmax", "accuracy"
    )  # fmt: skip
    assert (FAMILY.fixed_count, FAMILY.default_count) == (None, None)
    assert FAMILY.losses == (
        "SparseCategoricalCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
        "CategoricalHinge",
    )
    assert FAMILY.class_count(TASK) == 3


# Loss and metrics.


@pytest.mark.parametrize(
    ("one_hot", "from_logits", "smoothing"),
    [(None, True, 0.0), (False, False, 0.3), (True, True, 0.3), (True, False, 0.0)],
)
def test_the_loss_is_the_cross_entropy_of_the_form_of_labels(
    one_hot: bool | None, from_logits: bool, smoothing: float
) -> None:
    task = Task(name="multiclass", num_classes=3, one_hot=one_hot)
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    y = np.array([0, 1])
    smooth = np.eye(3)[y] * (1 - smoothing) + smoothing / 3
    loss = FAMILY.loss(task, from_logits, smoothing)
    outputs = (np.log(p) + 5 if from_logits else p).astype("float32")
    found = float(loss(np.eye(3, dtype="float32")[y] if one_hot else y, outputs))
    assert found == pytest.approx(-(smooth * np.log(p)).sum(axis=1).mean(), rel=1e-5)
    if not smoothing or one_hot:
        assert type(loss) is (
            keras.losses.CategoricalCrossentropy
            if one_hot
            else keras.losses.SparseCategoricalCrossentropy
        )


def test_the_metric_is_the_accuracy_of_the_form_of_labels() -> None:
    for one_hot, kind in (
        (None, keras.metrics.SparseCategoricalAccuracy),
        (False, keras.metrics.SparseCategoricalAccuracy),
        (True, keras.metrics.CategoricalAccuracy),
    ):
        (found,) = FAMILY.metrics(Task(name="multiclass", num_classes=3, one_hot=one_hot), True)
        assert type(found) is kind
        assert found.name == "accuracy"


# Counts and names.


def test_there_are_two_classes_at_least() -> None:
    FAMILY.check_count(2)
    for number in (1, 0):
        with pytest.raises(ValueError, match="must be at least 2 for task 'multi") as caught:
            FAMILY.check_count(number)
        assert str(caught.value).endswith(
            f"For yes or no use task 'binary'. Received: num_classes={number}"
        )


def test_three_names_are_recognised() -> None:
    found = [FAMILY.recognises_names(tuple("abcd"[:count])) for count in (1, 2, 3, 4)]
    assert found == [False, False, True, True]


@pytest.mark.parametrize(
    ("labels", "count"),
    [([0, 4, 2], 5), ([[0.0], [4.0]], 5), ([[0, 1, 0]], 3), ([0], 1), ([[[0, 1], [1, 0]]], 2)],
)
def test_the_number_of_classes_in_labels(labels: Any, count: int) -> None:
    found = FAMILY.count_in_labels(np.array(labels))
    assert found == count
    assert type(found) is int


# The form of labels.


@pytest.mark.parametrize(
    ("shape", "output", "one_hot"),
    [
        ((8,), (None, 3), False),
        ((8, 1), (None, 3), False),
        ((8, 3), (None, 3), True),
        ((8, 2), (None, 3), False),
        ((3,), (None, 3), False),
        ((8, 2, 2), PIXELS, False),
        ((8, 2, 2, 1), PIXELS, False),
        ((8, 2, 2, 3), PIXELS, True),
        ((8, 2, 3), PIXELS, False),
    ],
)
def test_rows_over_the_classes_are_one_hot(shape: Any, output: Any, one_hot: bool) -> None:
    named = Task(name="multiclass", num_classes=3, class_names=("a", "b", "c"))
    found = FAMILY.task_for_labels(named, shape, output)
    assert bool(found.one_hot) is one_hot
    assert (found is named) is not one_hot
    assert (found.num_classes, found.class_names) == (3, ("a", "b", "c"))
    for known in (True, False):
        task = Task(name="multiclass", num_classes=3, one_hot=known)
        again = FAMILY.task_for_labels(task, shape, output)
        assert again.one_hot is one_hot
        assert (again is task) is (known == one_hot)
    assert FAMILY.label_form(found) == ("one-hot labels" if one_hot else "integer labels")


# Which labels fit.


@pytest.mark.parametrize(
    ("labels", "output"),
    [
        ([0, 1, 2], (None, 3)),
        ([[2.0], [0.0]], (None, 3)),
        ([True, False], (None, 3)),
        ([[0, 1, 0], [0.5, 0.25, 0.25]], (None, 3)),
        ([[0.0, 1.0, 0.0009], [0.0, 1.0, 0.0]], (None, 3)),
        ([[0.0, 0.9991, 0.0]], (None, 3)),
        (np.full((4, 2, 2), 2), PIXELS),
        (np.full((4, 2, 2, 1), 2), PIXELS),
        (np.full((4, 2, 2, 3), 1 / 3), PIXELS),
    ],
)
def test_labels_taken(labels: Any, output: Any) -> None:
    FAMILY.check_labels(np.array(labels), TASK, output)


@pytest.mark.parametrize(
    ("labels", "sums"),
    [
        ([[0, 1.0, 0.0011]], "1 to 1"),
        ([[0, 0.9, 0], [0.5, 1, 0.7], [0, 1, 0]], "0.9 to 2.2"),
        ([[1.2, -0.2, 0.0]], "1 to 1"),
        ([[0, 0, 0]], "0 to 0"),
    ],
)
def test_rows_must_be_probabilities(labels: Any, sums: str) -> None:
    with pytest.raises(
        ValueError, match="each row must hold probabilities that sum to 1"
    ) as caught:
        FAMILY.check_labels(np.array(labels), TASK, (None, 3))
    assert str(caught.value).endswith(f"Received: y with row sums from {sums}")


@pytest.mark.parametrize(
    ("shape", "output", "wanted"),
    [
        ((4, 2), (None, 3), "(n,) or rows of shape (n, 3)"),
        ((4, 3, 1), (None, 3), "(n,) or rows of shape (n, 3)"),
        ((4,), PIXELS, "(n, 2, 2) or rows of shape (n, 2, 2, 3)"),
        ((4, 2, 2, 2), PIXELS, "(n, 2, 2) or rows of shape (n, 2, 2, 3)"),
    ],
)
def test_labels_of_another_shape(shape: Any, output: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match="`y` must hold integer labels of shape") as caught:
        FAMILY.check_labels(np.zeros(shape), TASK, output)
    assert f"of shape {wanted} for 3 classes." in str(caught.value)
    assert str(caught.value).endswith(f"Received: y of shape {shape}")


def test_fractions_are_no_integers() -> None:
    labels = np.array([0, 0.5, 1, 2, 1.5, 0.1, 0.2, 0.3, 0.4])
    with pytest.raises(ValueError, match="for numbers to predict use task 'regression'") as caught:
        FAMILY.check_labels(labels, TASK, (None, 3))
    assert str(caught.value).endswith(
        "Received: y with values [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.5]"
    )


MINUS, PLUS = "become right with `y = y - 1`.", "become right with `y = y + 1`."
DROP = "Drop the samples with negative labels, `keep = y >= 0`."


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        ([1, 2, 3], f"Labels that start at 1 {MINUS}"),
        ([3, 3], f"Labels that start at 1 {MINUS}"),
        ([0, 3], "Build the head with num_classes=4, or correct the labels."),
        ([1, 4], "Build the head with num_classes=5, or correct the labels."),
        ([-1, 0, 1], f"Labels that start at -1 {PLUS}"),
        ([-1, 0], f"Labels that start at -1 {PLUS}"),
        ([-1, 2], DROP),
        ([-1, 3], DROP),
        ([-2, 1], DROP),
        ([-255, 0], DROP),
    ],
)
def test_integers_out_of_range_come_with_the_way_out(labels: list[int], remedy: str) -> None:
    with pytest.raises(ValueError, match="`y` has labels from") as caught:
        FAMILY.check_labels(np.array(labels), TASK, (None, 3))
    assert str(caught.value) == (
        f"`y` has labels from {min(labels)} to {max(labels)}, but the head has 3 classes: 0 to 2. "
        f"{remedy} Received: y with values {sorted(set(labels))}"
    )


def test_eight_values_are_told() -> None:
    with pytest.raises(ValueError, match="num_classes=20") as caught:
        FAMILY.check_labels(np.arange(20), TASK, (None, 3))
    assert str(caught.value).endswith("values [0, 1, 2, 3, 4, 5, 6, 7]")


# Recognition.


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([0, 1, 2], "the labels are the numbers 0 to 2"),
        ([[2], [0], [1]], "the labels are the numbers 0 to 2"),
        ([[2.0], [0.0], [1.0]], None),  # Ratings, perhaps.
        (range(20), "the labels are the numbers 0 to 19"),
        (range(21), None),
        ([0, 0], "the labels are the numbers 0 to 0"),
        ([0, 1], None),
        ([0, 2], None),
        ([1, 2, 3], None),
        ([0, 1, 2.5], None),
        ([-1, 0, 1], None),
        ([*range(1000)] * 5, "the labels are the numbers 0 to 999"),
        ([*range(1000)] * 4, None),
        ([*range(1001)] * 5, None),
        ([[0, 1], [1, 0]], "each row of 0 and 1 has one 1"),
        ([[[1, 0], [1, 0]]], "each row of 0 and 1 has one 1"),
        ([[[1, 1], [0, 0]]], None),
        ([[0, 1], [1, 1]], None),
        ([[0, 1], [0, 0]], None),
        ([[0.5, 0.5], [1, 0]], None),
        ([[2, -1], [1, 0]], None),
    ],
)
def test_labels_are_recognised(labels: Any, why: str | None) -> None:
    assert FAMILY.recognises_labels(np.array(labels)) == why


@pytest.mark.parametrize(
    ("loss", "width", "known"),
    [
        ("SparseCategoricalCrossentropy", 2, True),
        ("CategoricalHinge", 5, True),
        ("SparseCategoricalCrossentropy", 1, False),
        ("KLDivergence", 3, False),
        ("BinaryCrossentropy", 3, False),
    ],
)
def test_a_loss_over_classes_is_recognised(loss: str, width: int, known: bool) -> None:
    for activation in ("softmax", None, "sigmoid"):
        assert FAMILY.recognises_loss(loss, activation, width) is known


def test_a_softmax_over_several_is_recognised() -> None:
    found = [
        FAMILY.recognises_output(activation, width)
        for activation, width in (("softmax", 2), ("softmax", 1), ("sigmoid", 2), (None, 2))
    ]
    assert found == [True, False, False, False]


# What labels and outputs say.


def test_classes_of_labels() -> None:
    for labels, output, wanted in (
        ([2.0, 0.0], (None, 3), [2, 0]),
        ([[2.0], [0.0]], (None, 3), [[2], [0]]),
        ([[0.2, 0.3, 0.5], [1, 0, 0]], (None, 3), [2, 0]),
        (np.eye(3)[[[[0, 2], [1, 1]]]], PIXELS, [[[0, 2], [1, 1]]]),
        (np.array([[[0, 2], [1, 1]]]), PIXELS, [[[0, 2], [1, 1]]]),
    ):
        found = FAMILY.class_ids(np.array(labels), TASK, output)
        assert found.tolist() == wanted
        assert found.dtype == "int64"


def test_labels_as_probabilities() -> None:
    for labels in ([2, 0], [[2.0], [0.0]], [[0, 0, 1], [1, 0, 0]]):
        found = FAMILY.as_probabilities(np.array(labels), TASK, (None, 3))
        assert found.dtype == "float32"
        assert found.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_logits_become_probabilities() -> None:
    p = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    assert FAMILY.probabilities(p, False) is p
    logits = np.array([[math.log(2), 0.0, 0.0], [-3000.0, 3000.0, -3000.0]])
    np.testing.assert_allclose(FAMILY.probabilities(logits, True), p, rtol=1e-14)


def test_there_is_no_threshold() -> None:
    FAMILY.check_threshold(None)
    for threshold in (0, 0.5):
        with pytest.raises(ValueError, match="where the most probable class") as caught:
            FAMILY.check_threshold(threshold)
        assert str(caught.value).endswith(f"leave it out. Received: threshold={threshold!r}")
