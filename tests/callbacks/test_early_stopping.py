"""Do stopping and saving go by the task's metric, and are the best weights the ones kept?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

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


NAN, INF = float("nan"), float("inf")
# What each epoch logs of "val_auc"; None where an epoch has no validation.
COURSES = {
    "plain": [0.5, 0.9, 0.8, 0.7, 0.95, 0.6],
    "NaN first": [NAN, 0.6, 0.7, 0.5, 0.4, 0.3],
    "NaN after the best": [0.6, 0.9, NAN, NAN, 0.95, 0.9],
    "inf first": [INF, 0.6, 0.5, 0.7, 0.6, 0.5],
    "minus inf first": [-INF, 0.6, 0.5, 0.7, 0.6, 0.5],
    "every other epoch": [None, 0.6, None, 0.9, None, 0.5, None, 0.6, None, 0.95],
    "every third, and NaN": [None, None, NAN, None, None, 0.8, None, None, 0.7, None, None, 0.6],
    "small steps": [0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.74],
    "never finite": [NAN, INF, -INF, NAN],
}


def reference(
    course: list[float | None], *, sign: int, patience: int, delta: float
) -> tuple[int | None, int]:
    """The best epoch and the last one, of a loop by hand over what was logged."""
    best: float | None = None
    best_epoch, waited = None, 0
    for epoch, value in enumerate(course):
        if value is None:
            continue
        if math.isfinite(value) and (best is None or sign * (value - best) > delta):
            best, best_epoch, waited = value, epoch, 0
            continue
        waited += 1
        if waited >= patience and epoch > 0:
            return best_epoch, epoch
    return best_epoch, len(course) - 1


def one_model() -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def played(model: keras.Model, callback: Any, course: list[float | None], name: str) -> int:
    """Has a callback hear a run in which each epoch's weight is its number; the last epoch."""
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    for epoch, value in enumerate(course):
        model.set_weights([np.full((1, 1), epoch, "float32")])
        validation = {} if value is None else {"val_loss": 1.0, name: value}
        callback.on_epoch_end(epoch, {"loss": -float(epoch), **validation})
        if model.stop_training:
            break
    callback.on_train_end()
    return epoch


@pytest.mark.parametrize("fits", [1, 2, 3])
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("course", COURSES)
def test_each_epoch_is_judged_as_a_loop_by_hand_does(course: str, mode: str, fits: int) -> None:
    """Also when the same object is used again: Keras turns `min_delta` around each time."""
    model, sign = one_model(), {"max": 1, "min": -1}[mode]
    values = [None if v is None else sign * v for v in COURSES[course]]
    delta = 0.05 if course == "small steps" else 0.0
    stop = ftk.callbacks.EarlyStopping("val_auc", mode=mode, patience=2, min_delta=delta)
    for _ in range(fits):
        last = played(model, stop, values, "val_auc")
    best, expected_last = reference(values, sign=sign, patience=2, delta=delta)
    assert last == expected_last
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


@pytest.mark.parametrize("course", COURSES)
def test_the_saved_epoch_is_that_of_a_loop_by_hand(
    course: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(
        "finetunekit.models.saving.save",
        lambda model, path, verbose: saved.append(int(model.get_weights()[0][0, 0])),
    )
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor="val_auc")
    last = played(one_model(), keep, COURSES[course], "val_auc")
    best, _ = reference(COURSES[course], sign=1, patience=1000, delta=0.0)
    assert last == len(COURSES[course]) - 1
    assert keep.best_epoch == best
    assert (saved[-1] if saved else None) == best
    assert ("never a finite number" in caplog.text) == (best is None)


def test_the_best_of_a_fit_before_must_be_beaten_if_it_is_of_the_same_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    monkeypatch.setattr("finetunekit.models.saving.save", lambda *args, **options: saved.append(""))
    model, keep = one_model(), ftk.callbacks.SaveBest(tmp_path / "best.keras")
    for course, validated, count in (
        ([3.0, 2.0], True, 2),
        ([None, 2.5], True, 2),  # Not better than 2.
        ([None, 1.0], True, 3),
        ([None, None], False, 5),  # The training loss falls in both epochs; nothing to compare.
        ([None], False, 5),  # Not better than the last one.
        ([2.0], True, 6),
    ):
        keep.attach_validation(validated)
        played(model, keep, course, "val_loss")
        assert len(saved) == count, (course, validated)


def test_a_value_of_the_validation_data_that_is_misspelt_is_named() -> None:
    stop = ftk.callbacks.EarlyStopping("val_acuracy", mode="max")
    with pytest.raises(ValueError, match=r"`monitor` must be one of.*val_acuracy"):
        played(one_model(), stop, [None, 0.5], "val_accuracy")


def test_a_validation_that_never_comes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    played(one_model(), ftk.callbacks.EarlyStopping("val_loss"), [None, None], "val_loss")
    assert "no epoch has logged 'val_loss'" in caplog.text


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_auc_1", "max"),
        ("head_accuracy", "max"),
        ("val_sparse_categorical_crossentropy", "min"),
        ("root_mean_squared_error", "min"),
        ("AUC", "max"),
        ("inaccuracy", None),
        ("gloss", None),
        ("val_dice", None),
    ],
)
def test_the_direction_follows_from_the_name(name: str, mode: str | None, tmp_path: Path) -> None:
    if mode is None:
        with pytest.raises(ValueError, match="`mode` must say"):
            ftk.callbacks.EarlyStopping(name)
        with pytest.raises(ValueError, match="`mode` must say"):
            ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor=name)
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor=name, mode=mode or "max")
    stop = ftk.callbacks.EarlyStopping(name, mode=mode or "max")
    if mode is not None:
        stop = ftk.callbacks.EarlyStopping(name)
    played(one_model(), stop, [0.5, 0.6], name)
    assert stop.mode == (mode or "max")
    assert keep.mode == (mode or "max")


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
    model = ftk.add_head(ftk.freeze_layers(small_backbone()), "multiclass", 3)
    ftk.compile_for_task(model, learning_rate=0.05)
    data = (images(9, seed=3), labels(9, classes=3))
    options = {"epochs": 8, "validation_freq": 2, "validation_data": data, "seed": 1, "verbose": 0}
    found = ftk.fit(model, images(9), labels(9, classes=3), callbacks=[stop], **options)
    seen = iter(found.history["val_accuracy"])
    course = [next(seen) if epoch % 2 else None for epoch in found.epoch]
    best, last = reference(course, sign=1, patience=2, delta=0.0)
    assert stop.monitor == "val_accuracy"
    assert (stop.best_epoch, found.epoch[-1]) == (best, last)


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics", "both"])
def test_weighted_metrics_can_be_watched(kind: str) -> None:
    model = one_model()
    kinds = ("metrics", "weighted_metrics") if kind == "both" else (kind,)
    model.compile(keras.optimizers.SGD(0.0), "mse", **{name: ["mae"] for name in kinds})
    x = np.ones((2, 1), "float32")
    names = ["val_mae", "val_weighted_mae"] if kind == "both" else ["val_mae"]
    for name in names:
        stop = ftk.callbacks.EarlyStopping(name, mode="min")
        ftk.fit(model, x, x, validation_data=(x, x), callbacks=[stop], verbose=0)
        assert stop.best is not None
    wrong = ftk.callbacks.EarlyStopping("val_weighted_mse")
    with pytest.raises(ValueError, match=r"`monitor` must be one of.*val_weighted_mse"):
        ftk.fit(model, x, x, validation_data=(x, x), callbacks=[wrong], verbose=0)


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
