"""What trains, and which samples are held out of it: by class, and in what number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.tuning import datasets
from finetunekit.tuning.options import Options
from finetunekit.tuning.sources import Source


def samples(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return x, np.arange(count) % 2


def split_of(groups: list[np.ndarray], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each group, the first of a permutation are held out."""
    random = np.random.default_rng(seed)
    drawn = [random.permutation(group)[: round(share * len(group))] for group in groups]
    out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.concatenate(groups), out), out


def divided(
    x: Any, y: Any, task: str = "binary", split: Any = "auto", valid: Any = None, **options: Any
) -> tuple[Any, Any, dict[str, str]]:
    """What trains, what is held out, and what is said of it."""
    pipeline = options.pop("pipeline", False)
    choices: dict[str, str] = {}
    kept, out = datasets._divided(
        Source(x, None, None, pipeline),
        y,
        ftk.Task(name=task, num_classes=1),
        valid,
        Options(validation_split=split, **options),
        choices,
    )
    return kept, out, choices


def test_a_tenth_is_held_out_from_a_thousand_on() -> None:
    x, y = samples(999)
    kept, out, choices = divided(x, y)
    assert out is None
    assert (kept[0] is x, kept[1] is y) == (True, True)
    assert choices["validation"].startswith("none of 999 samples is held out")
    x, y = samples(1000)
    kept, out, choices = divided(x, y, seed=5)
    parts = split_of([np.arange(0, 1000, 2), np.arange(1, 1000, 2)], 0.1, 5)
    assert len(out[1]) == 100
    for (some, labels), rows in zip((kept, out), parts, strict=True):
        assert np.array_equal(some, x[rows])
        assert np.array_equal(labels, y[rows])
    assert choices["validation"].startswith("100 of 1,000 samples, drawn at random, to measure")


@pytest.mark.parametrize("split", [0, 0.0])
def test_nothing_is_held_out_if_it_is_said(split: float) -> None:
    x, y = samples(1000)
    kept, out, choices = divided(x, y, split=split)
    assert out is None
    assert kept[0] is x
    assert choices["validation"].startswith("none of 1,000 samples is held out")


@pytest.mark.parametrize(
    ("labels", "task", "by_class"),
    [
        (np.arange(9) % 3 // 2, "binary", True),
        ((np.arange(9) % 3 // 2)[:, None], "binary", True),
        (np.eye(3)[np.arange(9) % 3], "multiclass", False),
        (np.arange(9) % 3 // 2, "regression", False),
        ((np.arange(9) % 3 // 2)[:, None], "multilabel", False),
    ],
)
def test_samples_are_drawn_by_class_where_each_has_one(
    labels: np.ndarray, task: str, by_class: bool
) -> None:
    x, _ = samples(9)
    kept, out, choices = divided(x, labels, task, 1 / 3)
    ids = np.arange(9)
    groups = [ids[ids % 3 < 2], ids[ids % 3 == 2]] if by_class else [ids]
    for (some, y), rows in zip((kept, out), split_of(groups, 1 / 3, 0), strict=True):
        assert np.array_equal(some, x[rows])
        assert np.array_equal(y, labels[rows])
    assert choices["validation"].startswith("3 of 9 samples, drawn at random")


def test_pipelines_are_not_cut() -> None:
    data = tf.data.Dataset.range(1)
    kept, out, choices = divided(data, samples(1000)[1], pipeline=True)
    assert out is None
    assert len(kept) == 1
    assert kept[0] is data
    assert choices["validation"].startswith("none of 1,000 samples is held out")
    with pytest.raises(ValueError, match="cannot cut a pipeline") as caught:
        divided(data, samples(1000)[1], split=0.2, pipeline=True)
    assert str(caught.value).endswith("Received: validation_split=0.2")


@pytest.mark.parametrize("split", ["auto", 0])
def test_validation_data_leave_the_samples_whole(split: Any) -> None:
    x, y = samples(1000)
    kept, out, choices = divided(x, y, split=split, valid=samples(4))
    assert (kept[0] is x, kept[1] is y, out) == (True, True, None)
    assert choices["validation"].startswith("the data given, to measure, and to put")
    with pytest.raises(ValueError, match="both say what to validate on; give one") as caught:
        divided(x, y, split=0.1, valid=samples(4))
    assert str(caught.value).endswith("Received: validation_split=0.1")


@pytest.mark.parametrize("split", [-0.1, 1.01, True, "half"])
def test_a_share_to_hold_out_lies_between_0_and_1(split: Any) -> None:
    with pytest.raises(ValueError, match="`validation_split` must be a share above 0") as caught:
        divided(*samples(), split=split)
    assert str(caught.value).endswith(f"Received: validation_split={split!r}")
