"""In a notebook: is each report one line as text, and a plain, escaped table as HTML?"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, tiny_backbone

NAMES = ("<dark>", "bright & wide")
X, Y = images(16), labels(16)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    backbone = ftk.freeze_layers(tiny_backbone())
    return ftk.compile_for_task(ftk.add_head(backbone, "binary", class_names=NAMES))


@pytest.fixture(scope="module")
def tuned() -> ftk.TuneReport:
    y = np.array(NAMES)[Y]
    data: dict[str, Any] = {"validation_data": (X, y), "verbose": 0}
    backbone = tiny_backbone()
    return ftk.fine_tune(backbone, (X, y), probe_epochs=1, epochs=1, **data)[1]


def loaded(folder: Any) -> keras.Model:
    path = folder / "<b>.h5"
    if not path.exists():
        tiny_backbone().save_weights(folder / "<b>.weights.h5")
        tiny_backbone().save(path)
    return ftk.load_backbone(path)


REPORTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "AverageReport": lambda model, *_: ftk.interpolate(
        model, model, 0.5, validation_data=(X, Y), x=X, verbose=0
    )[1],
    "BackboneTable": lambda *_: ftk.list_backbones(),
    "EvaluationReport": lambda model, *_: ftk.evaluate(model, X, Y),
    "FitEstimate": lambda model, *_: ftk.explain(model, X),
    "FitPlan": lambda model, *_: ftk.plan_fit(model, X, Y, epochs=2, callbacks=[guard()]),
    "LoadReport": lambda model, tuned, folder: ftk.load_report(loaded(folder)),
    "Ranking": lambda *_: ftk.Ranking(
        [
            ftk.RankedBackbone(name="<b>", score=0.9, error=0.1, logme=1, seconds=1),
            ftk.RankedBackbone(name="c", problem="no <file>"),
        ]
    ),
    "RateCurve": lambda model, *_: ftk.find_learning_rate(model, X, Y, steps=20, verbose=0),
    "Repeats": lambda *_: ftk.repeat(lambda seed: {"<a>": seed}, seeds=30, verbose=0),
    "StagedHistory": lambda model, tuned, folder: tuned.history,
    "TrainableSummary": lambda model, *_: ftk.trainable_summary(model),
    "TuneReport": lambda model, tuned, folder: tuned,
    "WeightsReport": lambda model, tuned, folder: ftk.load_weights(
        loaded(folder), folder / "<b>.weights.h5"
    ),
}


def guard() -> keras.callbacks.Callback:
    return ftk.callbacks.FrozenGuard()


class Balanced(HTMLParser):
    """Reads HTML, and fails on a tag that is not closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.known: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.known.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_a_line_of_text_and_a_table(
    name: str, model: keras.Model, tuned: ftk.TuneReport, tmp_path: Any
) -> None:
    report = REPORTS[name](model, tuned, tmp_path)
    line = repr(report)
    assert re.fullmatch(rf"<{name}: .+>", line), line
    assert len(line) < 250
    shown = Balanced()
    shown.feed(report._repr_html_())
    assert not shown.open
    assert shown.known <= {"div", "strong", "table", "tr", "th", "td", "details", "summary"}
    assert "color" not in report._repr_html_()
    assert len(shown.text) > 20


def test_the_table_holds_all_reports() -> None:
    classes = {n for n in ftk.__all__ if hasattr(getattr(ftk, n), "_repr_html_")}
    assert classes == set(REPORTS)


def test_reports_use_the_names_of_classes(model: keras.Model, tuned: ftk.TuneReport) -> None:
    for report in (ftk.evaluate(model, X, Y), tuned):
        shown = Balanced()
        shown.feed(report._repr_html_())
        for name in NAMES:
            assert name in shown.text
            assert name in str(report)


def test_where_a_model_is_cut_is_one_line(model: keras.Model) -> None:
    line = repr(ftk.split_frozen(model))
    assert line == (
        "<FrozenSplit of 'tiny_binary': 2 layers with weights before the cut, features of "
        "(None, 8)>"
    )
