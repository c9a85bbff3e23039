"""Do stopping and saving go by the task's metric, and are the best weights the ones kept?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, same, small_backbone, values


class Script(keras.callbacks.Callback):
    """Writes a given course of a value into the logs, and keeps each epoch's weights."""

    def __init__(self, name: str, course: list[float]) -> None:
        super().__init__()
        self.name, self.course = name, course
        self.weights: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs[self.name] = self.course[epoch]
        self.weights.append(values(self.model))


def run(task: str, name: str, course: list[float], callback: object, **options: object) -> Script:
    model = ftk.compile_for_task(ftk.add_head(small_backbone(), task), learning_rate=1e-2)
    script = Script(name, course)
    y = labels().astype("float32")
    ftk.fit(
        model,
        images(),
        y,
        epochs=len(course),
        verbose=0,
        validation_data=(images(8), y[:8]),
        callbacks=[script, callback],
        **options,
    )
    script.model_after = values(model)
    return script


@pytest.mark.parametrize(
    ("task", "name", "course", "best"),
    [
        pytest.param("binary", "val_auc", [0.5, 0.9, 0.8, 0.7, 0.6], 1, id="AUC up"),
        pytest.param(
            "regression",
            "val_rmse",
            [3.0, 2.0, 1.0, 2.0, 2.0],
            2,
            id="RMSE down",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_stops_by_the_tasks_metric_with_the_best_weights(
    task: str, name: str, course: list[float], best: int
) -> None:
    stop = ftk.callbacks.EarlyStopping(patience=2)
    script = run(task, name, course, stop)
    assert stop.monitor == name
    assert stop.best_epoch == best
    assert len(script.weights) == best + 3
    assert same(script.model_after, script.weights[best])


def test_the_best_weights_come_back_without_a_stop_too() -> None:
    stop = ftk.callbacks.EarlyStopping(patience=10)
    script = run("binary", "val_auc", [0.5, 0.9, 0.8], stop)
    assert len(script.weights) == 3
    assert same(script.model_after, script.weights[1])


def test_without_validation_data_it_warns(caplog: pytest.LogCaptureFixture) -> None:
    model = ftk.compile_for_task(ftk.add_head(small_backbone(), "binary"))
    stop = ftk.callbacks.EarlyStopping()
    ftk.fit(model, images(), labels(), verbose=0, callbacks=[stop])
    assert stop.monitor == "auc"
    assert "no validation data" in caplog.text


def test_says_the_best_epoch(caplog: pytest.LogCaptureFixture) -> None:
    run("binary", "val_auc", [0.5, 0.9, 0.8], ftk.callbacks.EarlyStopping())
    assert "best epoch 2: val_auc 0.9000; its weights are back" in caplog.text


def test_a_later_fit_that_makes_it_worse_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = ftk.compile_for_task(ftk.add_head(small_backbone(), "binary"))
    stop = ftk.callbacks.EarlyStopping()
    for course in ([0.8, 0.9], [0.85, 0.7]):
        options = {"epochs": 2, "verbose": 0, "validation_split": 0.25}
        callbacks = [Script("val_auc", course), stop]
        assert "made the model worse" not in caplog.text
        ftk.fit(model, images(), labels(), callbacks=callbacks, **options)
    assert "reached 0.9000 in the fit before and 0.8500 now" in caplog.text


def test_the_best_model_is_saved_with_its_metadata(tmp_path: Path) -> None:
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras")
    script = run("binary", "val_auc", [0.5, 0.9, 0.8], keep)
    loaded = ftk.load(tmp_path / "best.keras")
    assert keep.best_epoch == 1
    found = list(values(loaded).values())
    expected = list(script.weights[1].values())
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert ftk.predict_labels(loaded, images(1))[0].label in ("0", "1")
    assert [file.name for file in tmp_path.iterdir()] == ["best.keras"]


@pytest.mark.slow
def test_a_second_fit_does_not_overwrite_a_better_file(tmp_path: Path) -> None:
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras")
    run("binary", "val_auc", [0.5, 0.9], keep)
    before = (tmp_path / "best.keras").read_bytes()
    run("binary", "val_auc", [0.6, 0.8], keep)
    assert (tmp_path / "best.keras").read_bytes() == before


def test_a_value_that_is_never_finite_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor="val_auc")
    run("binary", "val_auc", [float("nan")] * 2, keep)
    assert not (tmp_path / "best.keras").exists()
    assert "nothing was saved" in caplog.text
