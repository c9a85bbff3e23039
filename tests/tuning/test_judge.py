"""Is the better of probe and tuned model kept, and does an interrupted `fine_tune` end the same?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models.metadata import Task
from finetunekit.tasks.binary import Binary
from finetunekit.tuning.judge import Judge, is_no_better_than_baseline, measure
from finetunekit.tuning.length import Length
from interruptions import Cut, CutAt, ends
from models import images, labels, small_backbone

X, Y = images(32), labels(32)
HELD_OUT = (images(8, seed=1), labels(8))


def tuned(folder: Path, cut: int | None, *, resume: bool = False) -> tuple[Any, Any]:
    keras.utils.set_random_seed(0)
    backbone = small_backbone()
    keep = str(folder / "run.ckpt")
    return ftk.fine_tune(
        backbone,
        (X, Y),
        HELD_OUT,
        probe_epochs=2,
        epochs=2,
        learning_rate=1e-3,
        batch_size=8,
        callbacks=[CutAt(cut), ftk.callbacks.Checkpoint(keep, every=3)],
        resume=keep if resume else None,
        verbose=0,
    )


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(5, id="in the probe", marks=pytest.mark.slow),
        pytest.param(9, id="between the two", marks=pytest.mark.slow),
        pytest.param(14, id="in fine-tuning", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_call_ends_as_a_whole_one(cut: int, tmp_path: Path) -> None:
    """Weights, optimizer, history and what the report says, to the bit."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    model, report = tuned(whole, None)
    with pytest.raises(Cut):
        tuned(broken, cut)
    again, found = tuned(broken, None, resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(ends(model), ends(again), strict=True))
    assert found.history.history == report.history.history
    assert found.history.epoch == report.history.epoch == [0, 1, 2, 3]
    assert (found.probe, found.tuned, found.kept) == (report.probe, report.tuned, report.kept)
    assert found.probe is not None
    assert set(found.seconds) == {"probe", "fine-tune"}


ONES = np.array([0, 1, 1, 1])


class Figures:
    """What `evaluate` says: an accuracy with its interval."""

    def __init__(self, accuracy: float) -> None:
        self.metrics = {"accuracy": accuracy, "rmse": 1 - accuracy}
        self.intervals = {
            "accuracy": (accuracy - 0.1, accuracy + 0.1),
            "rmse": (0.9 - accuracy, 1.1 - accuracy),
        }


def judged(
    monkeypatch: pytest.MonkeyPatch, monitor: str, *accuracies: float, held_out: Any = 1
) -> tuple[Judge, list[float]]:
    """A judge after two stages, and the weight that the model ends with."""
    monkeypatch.setattr(Binary, "monitor", monitor)
    found = iter(Figures(accuracy) for accuracy in accuracies)
    monkeypatch.setattr(
        "finetunekit.tuning.judge.measure",
        lambda model, data: None if data is None else next(found),
    )
    model = ftk.add_head(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]), "binary")
    ftk.compile_for_task(model)
    task = ftk.Task(name="binary", num_classes=1)
    judge = Judge(model, task, ONES, held_out, stages=2)
    judge.set_model(model)
    judge.set_params({"steps": 7})
    weights = []
    for stage in range(2):
        judge.on_train_begin()
        model.set_weights([np.full(w.shape, stage) for w in model.get_weights()])
        judge.on_epoch_end(stage, {"loss": 0.1})
        judge.on_train_end()
        weights.append(float(model.get_weights()[0].ravel()[0]))
    return judge, weights


@pytest.mark.parametrize("monitor", ["accuracy", "rmse"])
@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [(0.5, 0.7, "tuned"), (0.5, 0.5, "tuned"), (0.5, 0.42, "tuned"), (0.5, 0.38, "probe")],
)
def test_the_probe_comes_back_only_if_it_is_better_beyond_chance(
    before: float,
    after: float,
    kept: str,
    monitor: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge, weights = judged(monkeypatch, monitor, before, after)
    assert judge.kept == kept
    assert weights == [0.0, float(kept == "tuned")]
    assert (judge.probe or {})["accuracy"] == before
    assert (judge.tuned or {})["accuracy"] == after
    assert judge.report is not None
    assert judge.report.metrics["accuracy"] == (after if kept == "tuned" else before)


def test_a_figure_that_is_undefined_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, _ = judged(monkeypatch, "accuracy", 0.5, float("nan"))
    assert judge.kept == "tuned"


def test_without_held_out_samples_the_last_weights_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge, weights = judged(monkeypatch, "accuracy", held_out=None)
    assert (judge.probe, judge.tuned, judge.kept, judge.report) == (None, None, "tuned", None)
    assert weights == [0.0, 1.0]


def test_the_length_follows_from_what_the_probe_explains(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    judge, _ = judged(monkeypatch, "accuracy", held_out=None)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert judge.explained == pytest.approx(1 - 0.1 / entropy, rel=1e-5)
    rule = Length(strong=2, fair=3, weak=4, fewest_steps=35, most=9)
    assert judge.epochs(rule) == 5  # 35 steps of 7 an epoch.
    assert "explains 82% of what there is to learn: 5 epochs of fine-tuning" in caplog.text


def test_labels_of_pipelines_are_checked_where_they_are_measured() -> None:
    model = ftk.add_head(small_backbone(), "binary")
    for bad in (False, True):
        y = labels(8).copy()
        y[7] = 9 if bad else 1
        data = tf.data.Dataset.from_tensor_slices((images(8), y)).batch(4)
        if bad:
            with pytest.raises(ValueError, match=r"`y` must lie between 0 .no. and 1"):
                measure(model, data)
        else:
            found, same = measure(model, data), measure(model, (images(8), y))
            assert found is not None
            assert same is not None
            assert found.metrics == same.metrics


@pytest.mark.parametrize(
    ("task", "name", "figure", "baseline", "expected"),
    [
        (Task(name="multiclass", num_classes=3), "accuracy", 0.4, 0.5, True),
        (Task(name="multiclass", num_classes=3), "accuracy", 0.5, 0.5, True),
        (Task(name="multiclass", num_classes=3), "accuracy", 0.6, 0.5, False),
        (Task(name="regression", num_classes=1), "rmse", 0.6, 0.5, True),
        (Task(name="regression", num_classes=1), "rmse", 0.4, 0.5, False),
    ],
)
def test_what_ignores_its_input_may_be_as_good(
    task: Task, name: str, figure: float, baseline: float, expected: bool
) -> None:
    found: Any = SimpleNamespace(metrics={name: figure}, baseline={name: baseline})
    assert is_no_better_than_baseline(task, found) is expected
