"""A split must leave each class on both sides, unless chance would not have either."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from finetunekit.data.label_checks import check_split
from finetunekit.models.metadata import Task

MULTICLASS = Task(name="multiclass", num_classes=3)


def check(train: Any, held_out: Any, task: Task = MULTICLASS, split: float = 0.5) -> None:
    check_split(np.array(train), np.array(held_out), task, (None, task.num_classes), split)


@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_sorted_labels_are_refused(form: str) -> None:
    def labels(ids: list[int]) -> np.ndarray:
        y = np.array(ids)
        return {"integers": y, "column": y[:, None], "one-hot": np.eye(3)[y]}[form]

    check(labels([0, 1, 2]), labels([0, 1, 2]))
    with pytest.raises(ValueError, match=r"classes \[2\] would be in the validation part only"):
        check(labels([0, 1]), labels([0, 1, 2]))
    # 0.5 ** 7 < 0.01 < 0.5 ** 6: with seven samples, chance would hold one out.
    with pytest.raises(ValueError, match=r"\[1\] in the training part only"):
        check(labels([0] + [1] * 7), labels([0, 0]))


def test_a_rare_class_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "finetunekit"):
        check([0] + [1] * 6, [0, 0])
    assert "classes [1] have so few samples" in caplog.text


def test_binary_and_what_cannot_be_stratified() -> None:
    with pytest.raises(ValueError, match="look sorted"):
        check([0.0] * 9, [1.0], Task(name="binary", num_classes=1))
    check([[0, 0, 0]] * 9, [[1, 1, 1]], Task(name="multilabel", num_classes=3))
    check([0.0] * 9, [1.0], Task(name="regression", num_classes=1))


def test_classes_are_called_by_their_names() -> None:
    named = Task(name="multiclass", num_classes=3, class_names=("cat", "dog", "cow"))
    with pytest.raises(ValueError, match=r"classes \['cow'\] would be .*, \['cat'\] in the"):
        check([0] * 7 + [1], [1, 2], named)
