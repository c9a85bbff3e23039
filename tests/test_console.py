"""What a person sees: each fact once, nothing where `verbose=0`, no line of TensorFlow's."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, tiny_backbone

X, Y = images(16), labels(16)


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    return ftk.freeze_layers(tiny_backbone())


@pytest.fixture
def model(backbone: keras.Model) -> keras.Model:
    return ftk.compile_for_task(ftk.add_head(backbone, "binary"))


VERBS: dict[str, Callable[..., Any]] = {
    "cache_features": lambda model, **o: ftk.cache_features(model, X, **o),
    "check_batch": lambda model, **o: ftk.check_batch(model, X, Y, **o),
    "evaluate": lambda model, **o: ftk.evaluate(model, X, Y, **o),
    "find_learning_rate": lambda model, **o: ftk.find_learning_rate(model, X, Y, steps=20, **o),
    "fine_tune": lambda model, **o: ftk.fine_tune(
        tiny_backbone(), (X, Y), probe_epochs=1, epochs=1, **o
    ),
    "fit": lambda model, **o: ftk.fit(model, X, Y, callbacks=[guard()], **o),
    "fit_in_stages": lambda model, **o: ftk.fit_in_stages(
        model, X, Y, stages=[ftk.Stage(trainable="head"), ftk.Stage(trainable="head")], **o
    ),
    "greedy_soup": lambda model, **o: ftk.greedy_soup(
        [model, model], validation_data=(X, Y), x=X, **o
    ),
    "interpolate": lambda model, **o: ftk.interpolate(
        model, model, 0.5, validation_data=(X, Y), x=X, **o
    ),
    "plan_fit": lambda model, **o: ftk.plan_fit(model, X, Y, **o).run(),
    "predict": lambda model, **o: ftk.predict(model, X, **o),
    "rank_backbones": lambda model, **o: ftk.rank_backbones({"small": tiny_backbone()}, X, Y, **o),
    "repeat": lambda model, **o: ftk.repeat(lambda seed: float(seed), seeds=2, **o),
    "save": lambda model, **o: ftk.save(model, "saved.keras", **o),
}


def guard() -> keras.callbacks.Callback:
    """A callback that says something."""
    return ftk.callbacks.FrozenGuard()


def test_the_table_holds_all_verbs_that_take_verbose() -> None:
    functions = [name for name in ftk.__all__ if inspect.isfunction(getattr(ftk, name))]
    taking = {n for n in functions if "verbose" in inspect.signature(getattr(ftk, n)).parameters}
    assert taking | {"fit_in_stages"} == set(VERBS)  # It hands `verbose` on to `fit`.


@pytest.fixture
def in_a_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("in_a_folder")
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_silent_if_it_is_told_to(
    name: str,
    model: keras.Model,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    caplog.clear()
    VERBS[name](model, verbose=0)
    assert not [r.getMessage() for r in caplog.records if r.levelno < logging.WARNING]
    assert not capfd.readouterr().out


LOUD = ("find_learning_rate", "fit", "plan_fit", "repeat", "save")


@pytest.mark.usefixtures("in_a_folder")
@pytest.mark.parametrize("name", LOUD)
def test_what_is_silenced_is_said_otherwise(
    name: str, model: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    caplog.clear()
    VERBS[name](model)
    assert len(caplog.messages) == len(set(caplog.messages)) > 0


@pytest.fixture
def traced(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    found: list[str] = []
    yield found
    found += [m for m in caplog.messages if "retracing" in m]
    assert not found


@pytest.mark.usefixtures("traced")
def test_models_after_each_other_are_traced_without_a_warning(backbone: keras.Model) -> None:
    for _ in range(6):  # TensorFlow warns from five on.
        model = ftk.add_head(backbone, "binary")
        ftk.compile_for_task(model, optimizer="sgd", metrics=None)
        ftk.fit(model, X, Y, verbose=0)
        ftk.evaluate(model, X, Y)


@pytest.mark.usefixtures("in_a_folder")
@pytest.mark.parametrize("name", ["find_learning_rate", "interpolate", "fine_tune"])
def test_a_report_that_is_returned_is_not_logged_too(
    name: str, model: keras.Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    found = VERBS[name](model)
    report = found[1] if isinstance(found, tuple) else found
    assert not set(str(report).splitlines()) & set("\n".join(caplog.messages).splitlines())
    assert np.all([text.count("\n") == 0 for text in caplog.messages])
