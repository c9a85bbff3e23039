"""Is the epoch that is saved the best, by the task's metric, of all fits that watched the same?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import finetunekit as ftk
from courses import COURSES, one_model, played, reference, run
from models import images, values


def test_the_best_model_is_saved_with_its_metadata(tmp_path: Path) -> None:
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras")
    script = run("binary", "val_auc", [0.5, 0.9, 0.8], keep)
    loaded = ftk.load(tmp_path / "best.keras")
    assert keep.best_epoch == 1
    found = list(values(loaded).values())
    expected = list(script.weights[1].values())
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert ftk.predict(loaded, images(1))[0].label in ("0", "1")
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
