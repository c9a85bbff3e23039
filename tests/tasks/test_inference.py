"""Is the task told from the metadata, else from how a model ends, and refused when it cannot be?"""

from __future__ import annotations

import keras
import pytest

import finetunekit as ftk
from finetunekit.tasks import from_logits, output_activation, task_of
from models import L, small_backbone


def plain(*layers: object) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), *layers])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([L.Dense(1, activation="sigmoid")], ("binary", 1)),
        ([L.Dense(3, activation="sigmoid")], ("multilabel", 3)),
        ([L.Dense(3, activation="softmax")], ("multiclass", 3)),
        ([L.Dense(3), L.Softmax()], ("multiclass", 3)),
        ([L.Dense(3), L.Activation("softmax")], ("multiclass", 3)),
        ([L.Dense(1)], ("regression", 1)),
    ],
)
def test_told_from_the_output(layers: list, expected: tuple[str, int]) -> None:
    task = task_of(plain(*layers))
    assert (task.name, task.num_classes) == expected


def test_told_from_the_output_of_a_nested_model() -> None:
    inner = plain(L.Dense(3, activation="softmax"))
    outer = keras.Sequential([keras.Input((4,)), inner])
    assert output_activation(outer) == "softmax"


def test_logits_of_several_classes_are_ambiguous() -> None:
    with pytest.raises(ValueError, match="say which task it is"):
        task_of(plain(L.Dense(3)))


def test_a_task_given_wins_and_must_fit() -> None:
    model = plain(L.Dense(3))
    task = task_of(model, "multiclass")
    assert task.num_classes == 3
    assert from_logits(model, task)
    with pytest.raises(ValueError, match="replace_head"):
        task_of(model, "binary")
    with pytest.raises(ValueError, match="expects 'softmax'"):
        from_logits(plain(L.Dense(3, activation="sigmoid")), task)


def test_the_record_comes_first() -> None:
    model = ftk.add_head(small_backbone(), "multilabel", class_names=["a", "b"], activation=None)
    assert task_of(model) == ftk.Task(name="multilabel", num_classes=2, class_names=("a", "b"))
