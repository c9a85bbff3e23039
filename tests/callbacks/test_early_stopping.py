"""Does stopping go by the task's metric, and are the best weights the ones kept?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from courses import COURSES, Script, one_model, played, reference, run
from models import images, labels, same, tiny_backbone


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
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
    stop = ftk.callbacks.EarlyStopping()
    ftk.fit(model, images(), labels(), verbose=0, callbacks=[stop])
    assert stop.monitor == "auc"
    assert "no validation data" in caplog.text


def test_says_the_best_epoch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "finetunekit")  # The fit is quiet.
    run("binary", "val_auc", [0.5, 0.9, 0.8], ftk.callbacks.EarlyStopping())
    assert "best epoch 2: val_auc 0.9000; its weights are back" in caplog.text


def test_a_later_fit_that_makes_it_worse_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
    stop = ftk.callbacks.EarlyStopping()
    for course in ([0.8, 0.9], [0.85, 0.7]):
        options = {"epochs": 2, "verbose": 0, "validation_split": 0.25}
        callbacks = [Script("val_auc", course), stop]
        assert "made the model worse" not in caplog.text
        ftk.fit(model, images(), labels(), callbacks=callbacks, **options)
    assert "reached 0.9000 in the fit before and 0.8500 now" in caplog.text


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("course", COURSES)
def test_each_epoch_is_judged_as_a_loop_by_hand_does(course: str, mode: str) -> None:
    """Also when the same object is used again: Keras turns `min_delta` around each time."""
    model, sign = one_model(), {"max": 1, "min": -1}[mode]
    values = [None if v is None else sign * v for v in COURSES[course]]
    delta = 0.05 if course == "small steps" else 0.0
    stop = ftk.callbacks.EarlyStopping("val_auc", mode=mode, patience=2, min_delta=delta)
    best, expected_last = reference(values, sign=sign, patience=2, delta=delta)
    for _ in range(3):
        assert played(model, stop, values, "val_auc") == expected_last
        assert float(model.get_weights()[0][0, 0]) == (expected_last if best is None else best)
        assert stop.best == (None if best is None else values[best])


@pytest.mark.parametrize("validated", [True, None])
@pytest.mark.parametrize("course", COURSES)
def test_auto_waits_for_a_validation(course: str, validated: bool | None) -> None:
    """The training loss, which falls in each epoch, would never stop the run."""
    model = one_model()
    values = [None if v is None else -v for v in COURSES[course]]
    stop = ftk.callbacks.EarlyStopping(patience=2)
    if validated is not None:
        stop.attach_validation(validated)
    last = played(model, stop, values, "val_loss")
    best, expected_last = reference(values, sign=-1, patience=2, delta=0.0)
    assert last == expected_last
    assert stop.monitor == "val_loss"
    assert float(model.get_weights()[0][0, 0]) == (expected_last if best is None else best)


@pytest.mark.filterwarnings("ignore:Early stopping conditioned on metric")  # Keras' own.
@pytest.mark.parametrize(
    "stop",
    [
        ftk.callbacks.EarlyStopping(patience=2),
        keras.callbacks.EarlyStopping("val_accuracy", patience=2, mode="max"),
    ],
)
def test_every_other_epoch_is_validated(stop: Any) -> None:
    """In a cached fit, against a loop over what the history holds."""
    keras.utils.set_random_seed(0)
    model = ftk.add_head(ftk.freeze_layers(tiny_backbone()), "multiclass", 3)
    ftk.compile_for_task(model, learning_rate=0.05)
    data = (images(9, seed=3), labels(9, classes=3))
    options = {"epochs": 8, "validation_freq": 2, "validation_data": data, "seed": 1, "verbose": 0}
    found = ftk.fit(model, images(9), labels(9, classes=3), callbacks=[stop], **options)
    seen = iter(found.history["val_accuracy"])
    course = [next(seen) if epoch % 2 else None for epoch in found.epoch]
    best, last = reference(course, sign=1, patience=2, delta=0.0)
    assert stop.monitor == "val_accuracy"
    assert (stop.best_epoch, found.epoch[-1]) == (best, last)


def test_without_validation_it_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    stop = ftk.callbacks.EarlyStopping()
    assert played(one_model(), stop, [None] * 4, "val_loss") == 3
    assert caplog.text.count("no validation data") == 1
    assert (stop.monitor, stop.best) == ("loss", -3.0)


class Dies(keras.callbacks.Callback):
    """Ends the process, so to speak, when an epoch begins."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_run_resumed_in_its_second_stage_judges_as_one_that_was_not(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(8, 1)).astype("float32")
    plan = [ftk.Stage(learning_rate=0.1, epochs=2), ftk.Stage(learning_rate=0.01, epochs=4)]
    found = []
    for name, deaths in (("whole", [99]), ("parts", [4, 99])):
        keras.utils.set_random_seed(0)
        model = one_model()
        for dies in deaths:
            stop = ftk.callbacks.EarlyStopping(patience=2, min_delta=1e-4)
            keep = ftk.callbacks.Checkpoint(tmp_path / name)
            options = {"callbacks": [stop, keep, Dies(dies)], "validation_data": (x, 2 * x)}
            options |= {"resume": tmp_path / name, "seed": 1, "verbose": 0, "stages": plan}
            try:
                ftk.fit_in_stages(model, x, 2 * x, **options)
            except KeyboardInterrupt:
                keras.utils.set_random_seed(9)
                model = one_model()
        found.append((stop.best, stop.best_epoch, stop.min_delta, model.get_weights()[0].item()))
    assert found[0] == found[1]
    assert found[0][2] == -1e-4
