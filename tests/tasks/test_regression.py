"""Numbers to predict: as many as there are outputs, of any size, and never of classes."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.regression import Regression

FAMILY = Regression()
ONE = Task(name="regression", num_classes=1)
TWO = Task(name="regression", num_classes=2)
LOSSES = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
    "Poisson",
)


def test_what_it_is() -> None:
    assert (FAMILY.name, FAMILY.activation, FAMILY.monitor) == ("regression", None, "rmse")
    assert (FAMILY.fixed_count, FAMILY.default_count) == (None, 1)
    assert (FAMILY.has_classes, FAMILY.can_stratify, FAMILY.can_mix) == (False, False, False)
    assert FAMILY.losses == LOSSES
    assert all(hasattr(keras.losses, name) for name in LOSSES)


@pytest.mark.parametrize(("number", "names", "count"), [(None, None, 1), (None, ("a", "b"), 2)])
def test_there_is_one_output_unless_names_say_more(number: Any, names: Any, count: int) -> None:
    assert FAMILY.count(number, names) == count


def test_loss_and_metrics() -> None:
    y, found = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[4.0, 0.0], [1.0, 2.0]])
    loss = FAMILY.loss(TWO, True)
    assert type(loss) is keras.losses.MeanSquaredError
    assert float(loss(y, found)) == pytest.approx((9 + 1 + 4) / 4)
    mae, rmse = FAMILY.metrics(TWO, True)
    for metric in (mae, rmse):
        metric.update_state(y, found)
    assert (mae.name, rmse.name) == ("mae", "rmse")
    assert float(mae.result()) == pytest.approx((3 + 1 + 2) / 4)
    assert float(rmse.result()) == pytest.approx(math.sqrt(14 / 4))
    FAMILY.loss(TWO, False, label_smoothing=0.0)
    with pytest.raises(ValueError, match="`label_smoothing` is for classes") as caught:
        FAMILY.loss(TWO, False, label_smoothing=0.1)
    assert str(caught.value).endswith("Leave it out. Received: label_smoothing=0.1")


def test_outputs_end_in_anything_but_a_softmax() -> None:
    for activation in (None, "linear", "sigmoid", "softplus", "unknown"):
        FAMILY.check_activation(activation)
        FAMILY.check_output(activation, TWO, "some_model")
    with pytest.raises(ValueError, match="must not be 'softmax' for task 'regression'") as caught:
        FAMILY.check_activation("softmax")
    assert str(caught.value).endswith("Received: activation='softmax'")
    with pytest.raises(ValueError, match="ends in a softmax") as caught:
        FAMILY.check_output("softmax", TWO, "some_model")
    assert str(caught.value) == (
        "'some_model' ends in a softmax, whose outputs are probabilities of classes, not numbers. "
        "Use `replace_head(model, 'regression', 2)`. Received: task='regression'"
    )


@pytest.mark.parametrize(
    ("shape", "task", "output"),
    [
        ((4,), ONE, (None, 1)),
        ((4, 1), ONE, (None, 1)),
        ((4, 5, 5), ONE, (None, 5, 5, 1)),
        ((4, 5, 5, 1), ONE, (None, 5, 5, 1)),
        ((4, 2), TWO, (None, 2)),
        ((4, 5, 5, 2), TWO, (None, 5, 5, 2)),
    ],
)
def test_a_number_for_each_output(shape: Any, task: Task, output: Any) -> None:
    FAMILY.check_labels(np.full(shape, -1e9), task, output)


@pytest.mark.parametrize(
    ("shape", "task", "output", "wanted"),
    [
        ((4, 2), ONE, (None, 1), "(n, 1)"),
        ((4,), TWO, (None, 2), "(n, 2)"),
        ((4, 1), TWO, (None, 2), "(n, 2)"),
        ((4, 3), TWO, (None, 2), "(n, 2)"),
        ((4, 5, 5), TWO, (None, 5, 5, 2), "(n, 5, 5, 2)"),
    ],
)
def test_labels_of_another_shape(shape: Any, task: Task, output: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match="Build the head with `num_classes`") as caught:
        FAMILY.check_labels(np.zeros(shape), task, output)
    assert str(caught.value).startswith(
        f"`y` must have shape {wanted} for task 'regression' with {task.num_classes} output(s)."
    )
    assert str(caught.value).endswith(f"Received: y of shape {shape}")


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_numbers_are_recognised(loss: str) -> None:
    for activation in (None, "linear", "softplus", "tanh"):
        for width in (1, 2):
            assert FAMILY.recognises_loss(loss, activation, width) is True
            assert FAMILY.recognises_loss("BinaryCrossentropy", activation, width) is False
    for activation in ("sigmoid", "softmax"):
        assert FAMILY.recognises_loss(loss, activation, 1) is False


def test_one_linear_output_is_recognised() -> None:
    assert FAMILY.recognises_output(None, 1) is True
    for activation, width in ((None, 2), ("linear", 1), ("sigmoid", 1), ("tanh", 2)):
        assert FAMILY.recognises_output(activation, width) is False


@pytest.mark.parametrize("labels", [[0.5, 1, 2], [[0.5], [1]], [[0.5, 0.5], [0, 1]], [-1e-9]])
def test_fractions_are_recognised(labels: Any) -> None:
    assert FAMILY.recognises_labels(np.array(labels)) == "the labels are not whole numbers"


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ([[1, 2], [0, 1]], True),
        ([[0, 1], [0, -1]], True),
        ([[0, 1], [1, 1]], False),
        ([[3], [7]], False),
        ([3, 7, 12], False),
        ([-1.0, 4.0], False),
    ],
)
def test_whole_numbers_are_recognised_if_there_are_several(labels: Any, known: bool) -> None:
    why = "the labels are 2 numbers a sample" if known else None
    assert FAMILY.recognises_labels(np.array(labels)) == why


def test_the_scale_of_targets_is_read_from_them() -> None:
    y = np.array([[90_000.0, 1.0], [98_000.0, 1.0]])
    found = FAMILY.task_for_targets(TWO, y)
    assert found.target_mean == (94_000.0, 1.0)
    assert found.target_std == (4_000.0, 1.0)  # The second never changes.
    assert FAMILY.task_for_targets(found, 2 * y) is found
    (layer,) = FAMILY.output_layers(found)
    assert type(layer) is keras.layers.Rescaling
    assert np.allclose(layer(np.array([[1.0, -1.0]])), [[98_000.0, 0.0]])
    assert FAMILY.output_layers(ONE) == []


@pytest.mark.parametrize(
    ("mean", "std", "doubted"),
    [(0.0, 1.0, False), (90.0, 90.0, False), (94_000.0, 1.0, True), (0.0, 500.0, True)],
)
def test_targets_far_from_a_heads_start_are_doubted(mean: float, std: float, doubted: bool) -> None:
    y = mean + std * np.array([-1.0, 1.0])
    found = FAMILY.label_doubts(y, ONE)
    assert len(found) == doubted
    assert FAMILY.label_doubts(y, FAMILY.task_for_targets(ONE, y)) == []
    if doubted:
        assert f"mean {mean:,.4g} and standard deviation {std:,.4g}" in found[0]
    assert FAMILY.label_doubts(np.zeros(0), ONE) == []
