"""Is a stage checked as it is made, and does the history of several plot?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.training.stage import Stage, StagedHistory


def history() -> StagedHistory:
    values = {
        "loss": [3.0, 2.0, 1.0],
        "val_loss": [4.0, None, 2.5],
        "accuracy": [0.5, 0.6, 0.7],
    }
    return StagedHistory(values, [0, 1, 2], [("probe", 0), ("fine-tune", 2)])


def test_the_history_plots_with_its_stages(tmp_path: Path) -> None:
    axes = history().plot(tmp_path / "history.png").axes[0]
    assert [text.get_text() for text in axes.texts] == ["probe", "fine-tune"]
    train, validation = axes.lines[:2]
    assert [line.get_label() for line in (train, validation)] == ["loss", "val_loss"]
    np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(train.get_ydata(), [3.0, 2.0, 1.0])
    np.testing.assert_array_equal(validation.get_ydata(), [4.0, math.nan, 2.5])
    assert [line.get_xdata()[0] for line in axes.lines[2:]] == [0.5, 2.5]
    assert (tmp_path / "history.png").stat().st_size > 1000
    (alone,) = history().plot(value="accuracy").axes[0].lines[:-2]
    assert alone.get_label() == "accuracy"
    with pytest.raises(ValueError, match="`value` must be one of the logged values") as caught:
        history().plot(value="auc2")
    assert str(caught.value).endswith("Received: value='auc2'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"epochs": 1.5}, "`epochs` must be an int"),
        ({"learning_rate": -1.0}, "`learning_rate` of a stage"),
        ({"learning_rate": True}, "`learning_rate` of a stage"),
        ({"learning_rate": math.inf}, "`learning_rate` of a stage"),
        ({"learning_rate": "fast"}, "`learning_rate` of a stage"),
        ({"schedule": "cosin"}, "`shape` must be one of"),
        ({"layer_decay": 1.5}, "`layer_decay`"),
    ],
)
def test_wrong_stages_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        Stage(**options)


def test_what_may_be_left_to_the_run_is_taken() -> None:
    assert ftk.Stage is Stage
    for options in ({"learning_rate": None}, {"learning_rate": "auto"}, {"epochs": lambda: 3}):
        stage = Stage(**options)
        assert all(getattr(stage, name) == value for name, value in options.items())
