"""Does a plan say in words what it is for and on what?"""

from __future__ import annotations

from typing import Any

import keras
import pytest

import finetunekit as ftk
from models import images, labels, small_backbone

OPTIONS: dict[str, Any] = {"batch_size": 8, "verbose": 0}


def rows(model: keras.Model, x: Any, y: Any = None, **options: Any) -> list[str]:
    return str(ftk.plan_fit(model, x, y, **OPTIONS, **options)).splitlines()


@pytest.mark.parametrize(
    ("names", "words"), [(["cat", "dog"], "binary ('cat', 'dog')"), (None, "binary")]
)
def test_the_task_with_the_names_of_its_classes(names: Any, words: str) -> None:
    model = ftk.compile_for_task(ftk.add_head(small_backbone(), "binary", class_names=names))
    assert f"  task: {words}" in rows(model, images(8), labels(8))


def test_many_names_are_cut() -> None:
    names = [f"class {number}" for number in range(40)]
    model = ftk.add_head(small_backbone(), "multiclass", class_names=names)
    (task,) = (
        row for row in rows(ftk.compile_for_task(model), images(8), labels(8)) if "task" in row
    )
    assert task.startswith("  task: multiclass ('class 0', 'class 1', ")
    assert task.endswith("'class 11', ... (28 more))")


def test_a_loss_of_its_own_and_the_data() -> None:
    backbone = small_backbone()
    two = keras.Model(
        backbone.input, [keras.layers.Dense(1, name=n)(backbone.output) for n in "ab"]
    )
    two.compile("sgd", {"a": "mse", "b": "mse"})
    y = {"a": labels(10), "b": labels(10)}
    found = rows(two, images(10), y, validation_data=(images(3), {"a": labels(3), "b": labels(3)}))
    assert found[1].startswith("  trains: ")
    assert found[2:5] == [
        "  task: a loss of its own",
        "  data: 10 samples in 2 batches an epoch",
        "  validation: 3 samples",
    ]
