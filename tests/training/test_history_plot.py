"""Does the history of any fit plot, and does a notebook show the plot?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import matplotlib.figure
import numpy as np
import pytest

import finetunekit as ftk


def fitted(**options: Any) -> keras.callbacks.History:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    return model.fit(x, y, epochs=4, verbose=0, validation_data=(x, y), **options)


def test_the_history_of_a_plain_fit_plots(tmp_path: Path) -> None:
    history = fitted()
    figure = ftk.plot_history(history, tmp_path / "curves.png")
    train, validation = figure.axes[0].lines
    np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_array_equal(train.get_ydata(), history.history["loss"])
    np.testing.assert_array_equal(validation.get_ydata(), history.history["val_loss"])
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("form", ["history", "dict"])
def test_the_epochs_are_those_that_were_run(form: str) -> None:
    history = fitted(initial_epoch=2)
    given = history if form == "history" else history.history
    lines = ftk.plot_history(given).axes[0].lines
    assert list(lines[0].get_xdata()) == ([3, 4] if form == "history" else [1, 2])


def test_validation_that_is_not_made_in_each_epoch() -> None:
    train, validation = ftk.plot_history(fitted(validation_freq=2)).axes[0].lines
    assert list(train.get_xdata()) == [1, 2, 3, 4]
    assert list(validation.get_xdata()) == [2, 4]


def test_a_notebook_shows_the_plot_by_itself() -> None:
    figure = ftk.plot_history({"loss": [2.0, 1.0]})
    assert isinstance(figure, matplotlib.figure.Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("given", [3, [1.0, 2.0], {"loss": 1.0}], ids=str)
def test_what_is_no_history(given: Any) -> None:
    with pytest.raises(TypeError, match="`history` must be what `fit` returns"):
        ftk.plot_history(given)


def test_a_value_that_was_not_logged() -> None:
    with pytest.raises(ValueError, match=r"\['loss'\]. Received: value='auc'"):
        ftk.plot_history({"loss": [1.0]}, value="auc")
