"""A family with classes weighs them by rarity or as given, and decodes outputs into their names."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.class_family import ClassFamily, balanced, sigmoid
from finetunekit.tasks.prediction import Prediction


class Halves(ClassFamily):
    """Labels count in halves; logits are hundredths of probabilities."""

    name = "halves"

    def loss(self, task: Task, from_logits: bool, label_smoothing: float = 0.0) -> Any:
        raise NotImplementedError

    def metrics(self, task: Task, from_logits: bool) -> list[Any]:
        raise NotImplementedError

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Any) -> None:
        raise NotImplementedError

    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Any) -> np.ndarray:
        return (labels * 2).astype("int64")

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        return outputs / 100 if from_logits else outputs


class Several(Halves):
    """All that reach the threshold."""

    def held(self, table: np.ndarray, threshold: float | None) -> np.ndarray:
        return table >= (0.5 if threshold is None else threshold)


TASK = Task(name="halves", num_classes=3)


def test_a_family_with_classes_can_do_all() -> None:
    family = Halves()
    assert (family.has_classes, family.can_stratify, family.can_mix) == (True, True, True)
    assert family.class_count(TASK) == 3


@pytest.mark.parametrize("method", ["class_ids", "probabilities"])
def test_classes_and_probabilities_must_be_said(method: str) -> None:
    part = {name: value for name, value in vars(Halves).items() if name != method}
    with pytest.raises(TypeError, match=method):
        type("Partial", (ClassFamily,), part)()


# Weights.


@pytest.mark.parametrize(
    "weights",
    [
        "balanced",
        {},
        {0: 1, 1: 0.0, 2: 2.5},
        {2: np.float32(0.5)},
        {np.int64(2): 1.0},
        MappingProxyType({1: 3}),
    ],
)
def test_weights_taken(weights: Any) -> None:
    Halves().check_class_weight(weights, TASK)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("even", "`class_weight` must be 'balanced' or a dict of integer label -> weight."),
        ([1.0, 1.0, 1.0], "`class_weight` must be 'balanced' or a dict"),
        (np.array(["balanced"]), "`class_weight` must be 'balanced' or a dict"),
        ({0: 1.0, 3: 1.0, -1: 1.0}, "names classes that are not there: [3, -1]; there are 0 to 2."),
        ({"0": 1.0}, "names classes that are not there: ['0']; there are 0 to 2."),
        ({0: -1e-9}, "`class_weight` must hold finite numbers of at least 0."),
        ({0: 1.0, 1: math.inf}, "`class_weight` must hold finite numbers"),
        ({1: math.nan}, "`class_weight` must hold finite numbers"),
        ({1: True}, "`class_weight` must hold finite numbers"),
        ({1: "2"}, "`class_weight` must hold finite numbers"),
        ({1: None}, "`class_weight` must hold finite numbers"),
    ],
)
def test_weights_refused(weights: Any, words: str) -> None:
    with pytest.raises(ValueError, match="class_weight") as caught:
        Halves().check_class_weight(weights, TASK)
    assert words in str(caught.value)
    assert str(caught.value).endswith(f" Received: class_weight={weights!r}")


def test_each_label_has_the_weight_of_its_class() -> None:
    labels = np.array([[0.0, 1.0], [0.5, 0.0]])
    found = Halves().class_weights(labels, {0: 0.25, 2: 4}, TASK, (None, 2, 3))
    assert found.tolist() == [[0.25, 4.0], [1.0, 0.25]]
    assert Halves().class_weights(labels, {}, TASK, (None, 2, 3)).tolist() == [[1, 1], [1, 1]]


def test_balanced_labels_weigh_the_more_the_rarer_they_are() -> None:
    labels = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
    found = Halves().class_weights(labels, "balanced", TASK, (None, 2, 3))
    # Six labels, two classes that are there: five of one, one of the other.
    assert found == pytest.approx(np.array([[0.6, 0.6], [3.0, 0.6], [0.6, 0.6]]))


def test_balanced() -> None:
    found = balanced(np.array([[0, 3], [3, 3]]), 5)
    assert found == pytest.approx([4 / 2, 4 / 2, 4 / 2, 4 / (2 * 3), 4 / 2])
    assert balanced(np.array([1, 1]), 2)[1] == 1.0
    assert balanced(np.arange(4), 4).tolist() == [1.0] * 4


# Thresholds.


@pytest.mark.parametrize("threshold", [None, 0, 1, 0.0, 1.0, 0.3, np.float32(0.5)])
def test_thresholds_taken(threshold: Any) -> None:
    Halves().check_threshold(threshold)


@pytest.mark.parametrize("threshold", [-1e-9, 1 + 1e-9, math.nan, True, False, "0.5", [0.5]])
def test_thresholds_refused(threshold: Any) -> None:
    with pytest.raises(ValueError, match="`threshold` must lie in") as caught:
        Halves().check_threshold(threshold)
    assert str(caught.value) == (
        f"`threshold` must lie in [0, 1]. Received: threshold={threshold!r}"
    )


# Decoding.


def test_the_most_probable_class_holds() -> None:
    named = Task(name="halves", num_classes=3, class_names=("a", "b", "c"))
    outputs = np.array([[20.0, 30.0, 50.0], [40.0, 20.0, 40.0], [25.0, 50.0, 25.0]])
    found = Halves().decode(outputs, named, True)
    assert found == [
        Prediction(("c",), {"c": 0.5, "b": 0.3, "a": 0.2}),
        Prediction(("a",), {"a": 0.4, "c": 0.4, "b": 0.2}),
        Prediction(("b",), {"b": 0.5, "a": 0.25, "c": 0.25}),
    ]
    assert [list(row.probabilities) for row in found] == [list("cba"), list("acb"), list("bac")]
    assert {type(p) for row in found for p in row.probabilities.values()} == {float}
    assert Halves().decode(outputs / 100, named, False) == found


def test_classes_without_names_have_their_numbers() -> None:
    (found,) = Halves().decode(np.array([[0.1, 0.9]]), TASK, False)
    assert found == Prediction(("1",), {"1": 0.9, "0": 0.1})
    assert Halves().decode(np.zeros((0, 3)), TASK, False) == []


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(None, ("2", "1")), (0.5, ("2", "1")), (0.51, ("2",)), (0, ("2", "1", "0")), (1, ())],
)
def test_what_holds_stands_in_the_order_of_its_probability(threshold: Any, labels: Any) -> None:
    (found,) = Several().decode(np.array([[0.0, 0.5, 0.75]]), TASK, False, threshold)
    assert found.labels == labels


def test_the_most_probable_holds_the_first_of_equal_ones() -> None:
    found = Halves().held(np.array([[0.1, 0.2, 0.2], [0.3, 0.1, 0.0]]), 0.9)
    assert found.tolist() == [[False, True, False], [True, False, False]]


def test_the_score_is_that_of_the_classes_that_hold() -> None:
    outputs = np.array([[10.0, 20, 0], [30, 0, 0], [0, 1, 2]])
    score = Halves().score(outputs, np.array([0.5, 0.5, 1.0]), TASK, True, samples=3)
    assert score.confusion is not None
    assert score.confusion.tolist() == [[0, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_the_logistic_function() -> None:
    logits = np.array([[-2.0, 0.0], [3.0, -50.0]])
    wanted = [[1 / (1 + math.exp(2)), 0.5], [1 / (1 + math.exp(-3)), math.exp(-50)]]
    np.testing.assert_allclose(sigmoid(logits), wanted, rtol=1e-14)
