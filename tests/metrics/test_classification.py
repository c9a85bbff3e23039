"""Do the figures of classes, of yes and no, and of labels fit their definitions and names?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetunekit.metrics import classification, intervals

TRUTH = np.array([0, 0, 0, 1, 1, 1, 1, 2])
TAKEN = np.array([0, 0, 1, 1, 1, 0, 1, 1])


def test_classes_are_named_and_counted() -> None:
    score = classification.score_classes(TRUTH, TAKEN, ["cat", "dog", "cow", "owl"], 8)
    assert score.metrics["accuracy"] == 5 / 8
    assert score.intervals["accuracy"] == intervals.wilson(5, 8)
    assert score.baseline["accuracy"] == 4 / 8
    assert score.baseline["matthews"] == 0
    assert score.baseline.keys() == score.metrics.keys() == score.intervals.keys()
    assert score.baseline_is == "always 'dog', the most frequent class of these labels"
    assert score.per_class["dog"] == {
        "precision": 3 / 5, "recall": 3 / 4, "f1": pytest.approx(2 / 3), "support": 4
    }  # fmt: skip
    assert type(score.per_class["dog"]["support"]) is int
    assert score.per_class_intervals["dog"]["recall"] == intervals.wilson(3, 4)
    assert score.notes == (
        "no samples of 'owl': recall and F1 are 0 for want of any",
        "never predicted: 'cow'",
    )


def test_samples_of_several_rows_count_once() -> None:
    score = classification.score_classes(np.repeat(TRUTH, 10), np.repeat(TAKEN, 10), "abcd", 8)
    assert score.metrics["accuracy"] == 5 / 8
    assert score.intervals["accuracy"] == pytest.approx(intervals.wilson(5, 8))
    assert score.per_class_intervals["b"]["recall"] == pytest.approx(intervals.wilson(3, 4))


def test_yes_or_no() -> None:
    truth, scores = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.6, 0.2, 0.7, 0.4])
    score = classification.score_binary(truth, (scores >= 0.5) * 1, scores, ["no", "yes"], 5)
    assert score.metrics == {
        "accuracy": pytest.approx(3 / 5),
        "auc": pytest.approx(5 / 6),
        "precision": 1 / 2,
        "recall": 1 / 2,
        "f1": 1 / 2,
        "balanced_accuracy": pytest.approx((2 / 3 + 1 / 2) / 2),
        "matthews": pytest.approx(np.corrcoef(truth, scores >= 0.5)[0, 1]),
    }
    assert score.intervals["recall"] == intervals.wilson(1, 2)
    assert score.intervals["auc"] == intervals.auc(score.metrics["auc"], 2, 3)
    assert list(score.baseline) == list(score.metrics) == list(score.intervals)
    assert (score.baseline["auc"], score.baseline["recall"]) == (0.5, 0.0)
    assert score.confusion is not None
    assert score.confusion.tolist() == [[2, 1], [1, 1]]


def test_one_class_says_nothing_of_telling_apart() -> None:
    truth = np.ones(4, int)
    score = classification.score_binary(truth, truth, np.arange(4.0), ["no", "yes"], 4)
    assert math.isnan(score.metrics["auc"])
    assert score.intervals["auc"] == (0.0, 1.0)
    assert "all samples are of one class" in score.notes[0]


def test_labels() -> None:
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.6, 0.1], [0.4, 0.8, 0.1], [0.2, 0.7, 0.6], [0.1, 0.3, 0.2]])
    score = classification.score_labels(truth, (scores >= 0.5) * 1, scores, ["a", "b", "c"], 4)
    assert score.metrics == {
        "accuracy": pytest.approx(9 / 12),
        "exact_match": 1 / 4,
        "micro_f1": pytest.approx(2 * 3 / (2 * 3 + 3)),
        "macro_f1": pytest.approx((2 / 3 + 4 / 5 + 0) / 3),
        "auc": 1.0,
    }
    assert score.confusion is not None
    assert score.confusion.tolist() == [[[2, 0], [1, 1]], [[1, 1], [0, 2]], [[3, 1], [0, 0]]]
    assert score.per_class["b"] == {
        "precision": 2 / 3, "recall": 1.0, "f1": pytest.approx(4 / 5), "auc": 1.0, "support": 2
    }  # fmt: skip
    assert score.per_class_intervals["b"]["precision"] == intervals.wilson(2, 3)
    assert score.intervals["exact_match"] == intervals.wilson(1, 4)
    # The more frequent value of each label is "absent", of ties too.
    assert score.baseline["accuracy"] == pytest.approx(8 / 12)
    assert (score.baseline["exact_match"], score.baseline["micro_f1"]) == (1 / 4, 0.0)
    assert score.baseline["auc"] == 0.5
    assert score.notes == ("always absent or always present, so without an AUC: 'c'",)
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] <= high


def test_labels_of_a_sample_that_go_together_count_once() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat(random.integers(0, 2, (100, 1)), 5, axis=1)
    taken = np.where(random.random((100, 1)) < 0.8, truth, 1 - truth)
    score = classification.score_labels(truth, taken, taken, "abcde", 100)
    low, high = intervals.wilson(100 * score.metrics["accuracy"], 100)
    assert score.intervals["accuracy"] == pytest.approx((low, high), abs=0.005)


def test_micro_f1_has_the_interval_of_its_hits_and_errors() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, (300, 4))
    taken = np.where(random.random((300, 4)) < 0.8, truth, 1 - truth)
    score = classification.score_labels(truth, taken, taken, "abcd", 300)
    hits, wrong = np.sum(truth & taken), np.sum(truth != taken)
    # Errors are independent here, so all relevant decisions count.
    assert score.intervals["micro_f1"] == pytest.approx(intervals.f1(hits, wrong), abs=0.006)
    assert score.metrics["micro_f1"] == pytest.approx(2 * hits / (2 * hits + wrong))


def test_a_class_of_one_sample_is_found_or_not() -> None:
    score = classification.score_classes(TRUTH, np.where(TRUTH == 2, 2, TAKEN), "abc", 8)
    assert (score.per_class["c"]["recall"], score.per_class["c"]["precision"]) == (1.0, 1.0)
