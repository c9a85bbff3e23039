"""Are the plain arguments of `model.fit` checked, and misspelt ones refused with the right name?"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import keras
import pytest

from finetunekit.execution import loop_options
from finetunekit.execution.loop_options import LoopOptions


def test_names_and_defaults_are_those_of_keras() -> None:
    known = inspect.signature(keras.Model.fit).parameters
    for field in dataclasses.fields(LoopOptions):
        assert known[field.name].default == field.default, field.name
    options = LoopOptions()
    assert options.checked() is options


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "`epochs`"),
        ({"epochs": 1.5}, TypeError, "`epochs`"),
        ({"epochs": True}, TypeError, "`epochs`"),
        ({"initial_epoch": -1}, ValueError, "`initial_epoch`"),
        ({"epochs": 3, "initial_epoch": 3}, ValueError, r"not how many more.*initial_epoch=3"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"batch_size": "8"}, TypeError, "`batch_size`"),
        ({"steps_per_epoch": 0}, ValueError, "`steps_per_epoch`"),
        ({"validation_steps": -2}, ValueError, "`validation_steps`"),
        ({"validation_batch_size": 2.0}, TypeError, "`validation_batch_size`"),
    ],
)
def test_wrong_values(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        LoopOptions(**given).checked()


def test_right_values() -> None:
    given = {"epochs": 4, "initial_epoch": 3, "batch_size": 1, "validation_steps": 1}
    assert LoopOptions(**given, steps_per_epoch=1).checked().epochs == 4


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, None),
        ({"batch_size": 8}, 8),
        ({"validation_batch_size": 5}, 5),
        ({"batch_size": 8, "validation_batch_size": 5}, 5),
        ({"validation_steps": 2}, None),
    ],
)
def test_the_size_of_validation_batches(given: dict[str, Any], size: int | None) -> None:
    assert LoopOptions(**given).evaluation_size == size


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("epoch", r"`epoch` is not an argument of `fit`\. Did you mean 'epochs'"),
        ("validation_step", r"Did you mean 'validation_steps'"),
        ("lr", r"compile_for_task\(model, learning_rate=\.\.\.\).*lr=1$"),
        ("optimizer", r"compile_for_task"),
        ("zzz", r"of `fit`\. Received: zzz=1$"),
    ],
)
def test_unknown_names(name: str, words: str) -> None:
    loop_options.check_names({})
    with pytest.raises(TypeError, match=words):
        loop_options.check_names({name: 1})
