"""A family that says no more than it must answers as a kind of plain numbers, without classes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models.metadata import Task
from finetunekit.tasks.family import UNKNOWN, TaskFamily


class Plain(TaskFamily):
    """As little as a family can be."""

    name = "plain"

    def loss(self, task: Task, from_logits: bool, label_smoothing: float = 0.0) -> Any:
        return keras.losses.MeanSquaredError()

    def metrics(self, task: Task, from_logits: bool) -> list[Any]:
        return []

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Any) -> None:
        pass


class Positive(Plain):
    """One with an activation and a number of outputs of its own."""

    name = "positive"
    activation = "softplus"
    default_count = 3


class Pairs(Positive):
    """One with an output for two names."""

    def count_of_names(self, names: tuple[str, ...]) -> int:
        return len(names) // 2


TASK = Task(name="plain", num_classes=3)


def test_the_defaults_are_those_of_plain_numbers() -> None:
    family = Plain()
    assert (family.activation, family.monitor, family.pooling) == (None, "loss", "auto")
    assert (family.fixed_count, family.default_count, family.losses) == (None, None, ())
    assert (family.has_classes, family.can_stratify, family.can_mix) == (False, False, False)


@pytest.mark.parametrize("method", ["loss", "metrics", "check_labels"])
def test_loss_metrics_and_labels_must_be_said(method: str) -> None:
    part = {
        name: vars(Plain)[name] for name in ("loss", "metrics", "check_labels") if name != method
    }
    with pytest.raises(TypeError, match=method):
        type("Partial", (TaskFamily,), part)()


# How many outputs.


@pytest.mark.parametrize(
    ("family", "number", "names", "count"),
    [
        (Plain(), 1, None, 1),
        (Plain(), 5, None, 5),
        (Plain(), None, ("a", "b"), 2),
        (Plain(), 2, ("a", "b"), 2),
        (Positive(), None, None, 3),
        (Positive(), 1, None, 1),
        (Positive(), None, ("a",), 1),
        (Pairs(), None, ("a", "b"), 1),
        (Pairs(), 2, ("a", "b", "c", "d"), 2),
    ],
)
def test_the_number_of_outputs(family: Any, number: Any, names: Any, count: int) -> None:
    assert family.count(number, names) == count


@pytest.mark.parametrize(
    ("family", "number", "names", "message"),
    [
        (
            Plain(),
            None,
            None,
            "Task 'plain' needs `num_classes` (how many), or `class_names`. "
            "Received: num_classes=None",
        ),
        (
            Plain(),
            0,
            None,
            "`num_classes` must be at least 1 for task 'plain'. Received: num_classes=0",
        ),
        (
            Positive(),
            None,
            (),
            "`num_classes` must be at least 1 for task 'positive'. Received: num_classes=0",
        ),
        (
            Plain(),
            3,
            ("a", "b"),
            "`num_classes` must equal the number of `class_names`, or be left out. "
            "Received: num_classes=3, class_names=('a', 'b')",
        ),
        (
            Pairs(),
            2,
            ("a", "b"),
            "`num_classes` must equal the number of `class_names`, or be left out. "
            "Received: num_classes=2, class_names=('a', 'b')",
        ),
    ],
)
def test_numbers_that_do_not_fit(family: Any, number: Any, names: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        family.count(number, names)
    assert str(caught.value) == message


# What outputs end in.


def test_a_head_ends_in_the_activation_or_in_none() -> None:
    for family, allowed in (
        (Plain(), (None, "linear")),
        (Positive(), ("softplus", "linear", None)),
    ):
        for activation in allowed:
            family.check_activation(activation)
    with pytest.raises(ValueError, match="must be 'auto', 'softplus' or None") as caught:
        Positive().check_activation("relu")
    assert str(caught.value).endswith("for task 'positive'. Received: activation='relu'")
    with pytest.raises(ValueError, match="must be 'auto', None or None"):
        Plain().check_activation("softplus")


@pytest.mark.parametrize(
    ("activation", "words"),
    [("relu", "is 'relu'"), ("linear", "is 'linear'"), (UNKNOWN, "cannot be read")],
)
def test_a_model_ends_in_the_activation_or_in_none(activation: str, words: str) -> None:
    family = Positive()
    family.check_output("softplus", TASK, "some_model")
    family.check_output(None, TASK, "some_model")
    with pytest.raises(ValueError, match="The output activation") as caught:
        family.check_output(activation, TASK, "some_model")
    assert str(caught.value) == (
        f"The output activation of 'some_model' {words}; task 'positive' expects 'softplus' or "
        "none (logits). Build the head with `add_head`, or give `loss=` and `metrics=`. "
        "Received: task='positive'"
    )


# Labels.


def test_labels_are_taken_as_they_are() -> None:
    family, labels = Plain(), np.array([[-1.0, 1.0]])
    assert family.task_for_labels(TASK, (None, 3), (None, 3)) is TASK
    assert family.task_for_loss(TASK, "CategoricalCrossentropy") is TASK
    assert family.labels_for_check(labels, "Hinge") is labels
    assert family.label_form(TASK) == "as they are"


@pytest.mark.parametrize(
    ("shape", "count"), [((4,), None), ((4, 1), None), ((4, 2), 2), ((4, 2, 5), 5)]
)
def test_the_width_of_labels_is_a_number_of_outputs(shape: Any, count: int | None) -> None:
    found = Plain().count_in_labels(np.zeros(shape))
    assert found == count
    assert found is None or type(found) is int


@pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 3), (2, 2, 3)])
def test_probabilities_are_one_row_a_sample(shape: Any) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape)
    found = Plain().as_probabilities(labels, TASK, (None, 3))
    assert found.dtype == "float32"
    assert found.tolist() == labels.astype(float).reshape(2, -1).tolist()


def test_nothing_is_recognised() -> None:
    family = Plain()
    for width in (1, 2):
        assert family.recognises_loss("MeanSquaredError", None, width) is False
        assert family.recognises_output(None, width) is False
    assert family.recognises_labels(np.array([0.5])) is None
    assert family.recognises_names(("a", "b")) is False


# What needs classes.


def test_what_needs_classes_is_refused() -> None:
    family, y = Plain(), np.zeros(2)
    for act in (
        lambda: family.class_count(TASK),
        lambda: family.class_ids(y, TASK, (None, 3)),
        lambda: family.class_weights(y, "balanced", TASK, (None, 3)),
    ):
        with pytest.raises(ValueError, match="predicts numbers, not classes") as caught:
            act()
        assert str(caught.value) == (
            f"A model for task 'plain' predicts numbers, not classes. Received: task={TASK!r}"
        )


def test_numbers_are_decoded_and_scored_under_their_names() -> None:
    family, outputs = Plain(), np.array([[1.0, 2, 3], [4, 5, 7]])
    assert family.decode(outputs, TASK, False)[1].to_dict() == {
        "source": None, "0": 4.0, "1": 5.0, "2": 7.0
    }  # fmt: skip
    named = Task(name="plain", num_classes=3, class_names=("a", "b", "c"))
    assert str(family.decode(outputs, named, False)[0]) == "a 1, b 2, c 3"
    score = family.score(outputs, outputs.astype("int32"), named, False, samples=2)
    assert score.metrics == {"mae": 0.0, "rmse": 0.0, "r2": 1.0}
    assert list(score.per_class) == ["a", "b", "c"]


def test_class_weights_and_thresholds_are_refused() -> None:
    family = Plain()
    family.check_threshold(None)
    for threshold in (0, 0.5):
        with pytest.raises(ValueError, match="`threshold` has no effect") as caught:
            family.check_threshold(threshold)
        assert str(caught.value) == (
            "`threshold` has no effect for task 'plain'; leave it out. "
            f"Received: threshold={threshold!r}"
        )
    with pytest.raises(ValueError, match="`class_weight` needs classes") as caught:
        family.check_class_weight("balanced", TASK)
    assert str(caught.value) == (
        "`class_weight` needs classes, which task 'plain' has not. Leave it out, or give "
        "`sample_weight`. Received: class_weight='balanced'"
    )
