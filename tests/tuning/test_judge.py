"""Is the better of probe and tuned model kept, and does an interrupted `fine_tune` end the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.tuning.judge import Judge, measure
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


class Measured:
    """A model that is worth what it is told to be, by its one weight."""

    def __init__(self, *losses: float) -> None:
        self.weights = 0
        self.losses = iter(losses)

    def get_weights(self) -> list[Any]:
        return [self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        (self.weights,) = weights

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        return {"loss": next(self.losses)}


@pytest.mark.parametrize(
    ("losses", "kept", "weights"),
    [((0.5, 0.4), "tuned", 1), ((0.5, 0.5), "tuned", 1), ((0.5, 0.6), "probe", 0)],
)
def test_the_better_weights_are_kept(
    losses: tuple[float, float], kept: str, weights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetunekit.tuning.judge.monitored", lambda *_: ("val_loss", "min"))
    model: Any = Measured(*losses)
    judge = Judge(model, "a pipeline", stages=2)
    judge.set_model(model)
    for stage in range(2):
        judge.on_train_begin()
        model.weights = stage
        judge.on_train_end()
    assert (judge.probe, judge.tuned) == ({"loss": losses[0]}, {"loss": losses[1]})
    assert (judge.kept, model.weights) == (kept, weights)


def test_without_held_out_samples_the_last_weights_are_kept() -> None:
    model: Any = Measured()
    judge = Judge(model, None, stages=2)
    judge.set_model(model)
    for _ in range(2):
        judge.on_train_begin()
        judge.on_train_end()
    assert (judge.probe, judge.tuned, judge.kept) == (None, None, "tuned")


def test_labels_of_pipelines_are_checked_where_they_are_measured() -> None:
    model = ftk.compile_for_task(ftk.add_head(small_backbone(), "binary"), run_eagerly=True)
    for bad in (False, True):
        y = labels(8).copy()
        y[7] = 9 if bad else 1
        data = tf.data.Dataset.from_tensor_slices((images(8), y)).batch(4)
        if bad:
            with pytest.raises(ValueError, match=r"In batch 1 \(from 0\) of `test_data`: `y` must"):
                measure(model, data)
        else:
            found = measure(model, data)
            assert found is not None
            assert found == pytest.approx(measure(model, (images(8), y)), rel=1e-5)
