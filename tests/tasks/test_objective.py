"""Loss and metrics that a model needs for labels, found without compiling it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from finetunekit.tasks import known_task, objective_for_labels, objective_of
from models import L


def model(task: str = "multiclass", classes: int | None = 3, **options: object) -> keras.Model:
    inputs = keras.Input((4,))
    made = ftk.add_head(keras.Model(inputs, L.Identity()(inputs)), task, classes, activation=None)
    return ftk.compile_for_task(made, run_eagerly=True, **options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_of_the_other_form_need_another_loss(smoothing: float) -> None:
    made = model(label_smoothing=smoothing)
    before, choices, optimizer = made.loss, metadata.choices(made), made.optimizer
    assert objective_for_labels(made, (None,)) is None
    assert objective_for_labels(made, (12, 1)) is None
    found = objective_for_labels(made, (None, 3))
    assert found is not None
    assert isinstance(found.loss, keras.losses.CategoricalCrossentropy)
    assert found.loss.get_config()["from_logits"] is True
    assert found.loss.get_config()["label_smoothing"] == smoothing
    assert [type(m).__name__ for m in found.metrics] == ["CategoricalAccuracy"]
    assert found.task.one_hot is True
    assert (made.loss, metadata.choices(made), made.optimizer) == (before, choices, optimizer)
    assert known_task(made) == ftk.Task(name="multiclass", num_classes=3)
    made.optimizer = keras.optimizers.SGD()  # As in a range test: the loss is still ours.
    again = objective_for_labels(made, (None, 3))
    assert again is not None
    assert again.task == found.task


def test_after_one_hot_labels_integers_need_another_loss() -> None:
    made, y = model(), np.arange(6) % 3
    ftk.fit(made, np.ones((6, 4)), np.eye(3)[y], verbose=0)
    assert objective_for_labels(made, (None, 3)) is None
    found = objective_for_labels(made, (6,))
    assert found is not None
    assert isinstance(found.loss, keras.losses.SparseCategoricalCrossentropy)


def test_a_loss_of_the_users_stays() -> None:
    assert objective_for_labels(model(loss="categorical_crossentropy"), (None,)) is None
    made = model()
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert objective_for_labels(made, (None, 3)) is None
    assert objective_for_labels(model("binary", None), (None, 1)) is None
    plain = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    assert objective_for_labels(plain, (None, 3)) is None


def test_the_objective_of_a_task() -> None:
    made = model("binary", None)
    found = objective_of(made, ftk.Task(name="binary", num_classes=1), 0.2)
    assert found.loss.get_config()["from_logits"] is True
    assert found.loss.get_config()["label_smoothing"] == 0.2
    assert [m.name for m in found.metrics] == ["accuracy", "auc"]
    with pytest.raises(ValueError, match="ends in a softmax"):
        objective_of(
            keras.Sequential([keras.Input((4,)), L.Dense(3, activation="softmax")]),
            ftk.Task(name="regression", num_classes=3),
        )
