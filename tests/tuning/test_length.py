"""Is a head that has learned little followed by more epochs, and how little is that?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from finetunekit.tuning.length import Length, constant_loss, explained

RULE = Length(strong=1, fair=2, weak=3, fewest_steps=50, most=10)


@pytest.mark.parametrize(
    ("share", "steps", "epochs"),
    [
        (1.0, 200, 1),
        (0.5, 200, 1),
        (0.49, 200, 2),
        (0.2, 200, 2),
        (0.19, 200, 3),
        (-0.1, 200, 3),
        (0.9, 50, 1),
        (0.9, 49, 2),
        (0.9, 20, 3),
        (0.0, 20, 3),
        (0.9, 6, 9),
        (0.9, 1, 10),
        (0.0, 0, 10),
    ],
)
def test_the_rule(share: float, steps: int, epochs: int) -> None:
    assert RULE.epochs(share, steps) == epochs


def test_the_rule_in_words() -> None:
    until = " (up to 10 until 50 steps are done)"
    assert str(RULE) == f"1 to 3 epochs by what the head explains{until}"
    assert str(Length.fixed(7)) == "7 epochs"
    assert str(Length.fixed(7, fewest_steps=50, most=10)) == f"7 epochs{until}"


def test_what_is_explained() -> None:
    assert explained(0.0, 2.0) == 1.0
    assert explained(2.0, 2.0) == 0.0
    assert explained(0.5, 2.0) == 0.75
    assert explained(3.0, 2.0) == -0.5
    assert explained(0.0, 0.0) == 1.0  # One class alone: nothing is left to learn.


def entropy(*shares: float) -> float:
    rows = np.array([share for share in shares if share])
    return float(-(rows * np.log(rows)).sum())


@pytest.mark.parametrize(
    ("task", "y", "expected"),
    [
        ("binary", [0, 1, 1, 1], entropy(0.25, 0.75)),
        ("binary", [[0], [1], [1], [1]], entropy(0.25, 0.75)),
        ("multiclass", [0, 1, 2, 2], entropy(0.25, 0.25, 0.5)),
        ("multiclass", np.eye(3)[[0, 1, 2, 2]], entropy(0.25, 0.25, 0.5)),
        (
            "multilabel",
            [[1, 0, 1], [1, 1, 1], [1, 0, 0], [0, 0, 1]],
            (3 * entropy(0.25, 0.75)) / 3,
        ),
        ("regression", [1.0, 3.0, 5.0, 7.0], 5.0),
        ("regression", [[1.0, 0.0], [3.0, 2.0], [5.0, 0.0], [7.0, 2.0]], 3.0),
    ],
)
def test_the_loss_of_a_constant_is_what_there_is_to_learn(
    task: str, y: Any, expected: float
) -> None:
    labels = np.asarray(y, "float32")
    width = {"binary": 1, "multiclass": 3, "multilabel": 3}.get(task, labels[0].size)
    chain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model = ftk.compile_for_task(ftk.add_head(chain, task, width))
    ftk.fit(model, np.zeros((4, 2), "float32"), labels, verbose=0)  # The form of the labels.
    found = metadata.of(model).task
    assert found is not None
    assert constant_loss(model, found, labels) == pytest.approx(expected, rel=1e-4)


def test_of_standardized_targets_it_is_their_variance() -> None:
    task = ftk.Task(
        name="regression", num_classes=1, target_mean=(94_000.0,), target_std=(1_000.0,)
    )
    chain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model = ftk.compile_for_task(ftk.add_head(chain, task))
    y = np.array([93_000.0, 95_000.0])
    assert constant_loss(model, task, y) == pytest.approx(1.0, rel=1e-3)
