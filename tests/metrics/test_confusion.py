"""Is each figure of a confusion matrix what its definition says?"""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.metrics import confusion, intervals

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
TAKEN = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 1])


def by_definition(truth: np.ndarray, taken: np.ndarray, number: int) -> tuple[float, float, float]:
    """Precision, recall and F1 of a class, by counting."""
    pairs = list(zip(truth.tolist(), taken.tolist(), strict=True))
    hits = sum(pair == (number, number) for pair in pairs)
    precision = hits / max(1, sum(found == number for _, found in pairs))
    recall = hits / max(1, sum(true == number for true, _ in pairs))
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return precision, recall, f1


def test_rows_are_true_and_columns_predicted() -> None:
    found = confusion.confusion_matrix(TRUTH, TAKEN, 4)
    assert found.tolist() == [[3, 1, 0, 0], [0, 2, 1, 0], [1, 1, 3, 0], [0, 0, 0, 0]]


def test_figures_of_each_class() -> None:
    found = confusion.by_class(confusion.confusion_matrix(TRUTH, TAKEN, 4))
    for number in range(4):
        wanted = by_definition(TRUTH, TAKEN, number)
        each = [found[name][number] for name in ("precision", "recall", "f1")]
        assert each == pytest.approx(wanted)
    assert found["support"].tolist() == [4, 3, 5, 0]


def test_figures_over_all_leave_out_classes_that_are_not_there() -> None:
    found = confusion.overall(confusion.confusion_matrix(TRUTH, TAKEN, 4))
    rows = [by_definition(TRUTH, TAKEN, number) for number in range(3)]
    assert found["accuracy"] == pytest.approx(np.mean(TRUTH == TAKEN))
    assert found["balanced_accuracy"] == pytest.approx(np.mean([recall for _, recall, _ in rows]))
    assert found["macro_f1"] == pytest.approx(np.mean([f1 for *_, f1 in rows]))


def test_a_class_that_is_only_predicted_lowers_macro_f1() -> None:
    found = confusion.overall(confusion.confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2))
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["balanced_accuracy"] == 0.5


@pytest.mark.parametrize("classes", [2, 3])
def test_matthews_is_a_correlation(classes: int) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, classes, 50)
    taken = np.where(random.random(50) < 0.6, truth, random.integers(0, classes, 50))
    one, other = np.eye(classes)[truth], np.eye(classes)[taken]
    parts = [
        np.sum((a - a.mean(0)) * (b - b.mean(0)))
        for a, b in ((one, other), (one, one), (other, other))
    ]
    found = confusion.overall(confusion.confusion_matrix(truth, taken, classes))["matthews"]
    assert found == pytest.approx(parts[0] / np.sqrt(parts[1] * parts[2]))
    if classes == 2:
        assert found == pytest.approx(np.corrcoef(truth, taken)[0, 1])


def test_a_constant_has_no_correlation() -> None:
    constant, majority = confusion.of_constant(confusion.confusion_matrix(TRUTH, TAKEN, 4))
    assert majority == 2
    assert constant.tolist() == [[0, 0, 4, 0], [0, 0, 3, 0], [0, 0, 5, 0], [0, 0, 0, 0]]
    found = confusion.overall(constant)
    assert found["matthews"] == 0.0
    assert found["accuracy"] == pytest.approx(5 / 12)
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)


def test_shares_have_wilson_intervals() -> None:
    matrix = confusion.confusion_matrix(TRUTH, TAKEN, 4)
    rows = confusion.intervals_by_class(matrix, 1.0)
    assert rows[2]["recall"] == intervals.wilson(3, 5)
    assert rows[2]["precision"] == intervals.wilson(3, 4)
    assert rows[2]["f1"] == intervals.f1(3, 3)
    assert rows[3] == {"precision": (0, 1), "recall": (0, 1), "f1": (0, 1)}
    found = confusion.intervals_overall(matrix, 1.0)
    assert found["accuracy"] == intervals.wilson(8, 12)
    assert found.keys() == confusion.overall(matrix).keys()
    halved = confusion.intervals_overall(matrix, 0.5)
    for name, (low, high) in found.items():
        assert halved[name][0] < low
        assert halved[name][1] > high


def test_the_other_intervals_agree_with_a_bootstrap_over_samples() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, 400)
    taken = np.where(random.random(400) < 0.7, truth, random.integers(0, 3, 400))
    found = confusion.intervals_overall(confusion.confusion_matrix(truth, taken, 3), 1.0)
    drawn = []
    for _ in range(1000):
        rows = random.integers(0, 400, 400)
        drawn.append(confusion.overall(confusion.confusion_matrix(truth[rows], taken[rows], 3)))
    for name in ("macro_f1", "matthews", "balanced_accuracy"):
        wanted = np.quantile([row[name] for row in drawn], [0.025, 0.975])
        assert found[name] == pytest.approx(wanted, abs=0.015)


def test_a_perfect_result_of_few_samples_is_not_certain() -> None:
    matrix = np.diag([4, 5, 3])
    for name, (low, high) in confusion.intervals_overall(matrix, 1.0).items():
        assert high == 1.0
        assert 0.3 < low < 0.95, name


def test_many_classes_take_no_longer_than_their_cells() -> None:
    matrix = np.zeros((1500, 1500), "int64")
    np.fill_diagonal(matrix, 2)
    matrix[0, 1] = 3
    low, high = confusion.intervals_overall(matrix, 1.0)["macro_f1"]
    assert low <= confusion.overall(matrix)["macro_f1"] <= high
