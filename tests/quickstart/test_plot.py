"""Is the plot of the quickstart drawn for names in any script, and does it count what is right?"""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from finetunekit.quickstart import plot
from finetunekit.quickstart.examples import Examples

CURVES = ({"loss": [2.0, 1.0], "accuracy": [0.5, 0.6]}, {"loss": [0.5], "accuracy": [0.8]})


def examples(*names: str) -> Examples:
    """Two test images of each class."""
    y = np.arange(2 * len(names)) % len(names)
    x = np.zeros((len(y), 4, 4, 3), "uint8")
    return Examples(
        x_train=x, y_train=y, x_test=x, y_test=y, class_names=tuple(names), question="which"
    )


def drawn(path: Path, *names: str) -> Path:
    given = examples(*names)
    probabilities = np.eye(len(names))[given.y_test]
    found: Any = SimpleNamespace(curves=CURVES, probabilities=probabilities)
    return plot.draw(given, found, path)


def test_plain_names_are_drawn_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    with Image.open(drawn(tmp_path / "x.png", "cat", "dog")) as image:
        assert image.size == (1200, 800)
    assert not caplog.records


def test_names_that_no_font_has_are_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = font_manager.findfont("DejaVu Sans")
    only = SimpleNamespace(name="DejaVu Sans", fname=usual, style="normal", weight=400)
    monkeypatch.setattr(font_manager, "fontManager", SimpleNamespace(ttflist=[only]))
    drawn(tmp_path / "x.png", "猫", "狗")
    (record,) = caplog.records
    assert "狗猫" in record.message


def test_confusion_counts() -> None:
    truth, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 0])
    wanted = [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    assert plot.confusion(truth, predicted, 3).tolist() == wanted


def test_the_confusion_matrix_is_labelled() -> None:
    axes = matplotlib.figure.Figure().subplots()
    given = examples("cat", "a very long name of a class")
    plot.show_confusion(axes, given, np.zeros(4, int))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "a very long n…"]
    assert axes.get_title() == "Confusion, fine-tuned: 50.0% right"
    assert [text.get_text() for text in axes.texts] == ["2", "2"]
