"""What a run can be resumed from is told apart from what it cannot, with a remedy."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.resuming import checkpoint_files, resume_point
from finetunekit.resuming.resume_point import Resume, StageState

STAGE = StageState(number=1, plan=[], lengths=[], history={}, epoch=[], stages=[])


class Own(os.PathLike[str]):
    """A path of a class of one's own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __fspath__(self) -> str:
        return self.text


def test_the_state_in_a_file_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint_files.write(str(tmp_path / "run.ckpt"), {"epoch": 2, "values": np.arange(3)})
    monkeypatch.chdir(tmp_path)
    for path in ("run.ckpt", str(tmp_path / "run.ckpt"), tmp_path / "run.ckpt", Own("run.ckpt")):
        found = resume_point.read_checkpoint(path)
        assert found is not None
        assert (found["epoch"], found["values"].tolist()) == (2, [0, 1, 2])


def test_a_file_that_is_not_there_yet_is_a_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "finetunekit")
    assert resume_point.read_checkpoint("run.ckpt") is None
    target = os.path.join(os.getcwd(), "run.ckpt")
    assert caplog.messages == [f"{target} does not exist yet: training starts from the beginning"]


def test_a_damaged_file_is_an_error_and_no_beginning(tmp_path: Path) -> None:
    (tmp_path / "run.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^`resume` is not a complete checkpoint"):
        resume_point.read_checkpoint(tmp_path / "run.ckpt")


@pytest.mark.parametrize("path", [True, 3, b"run.ckpt", ["run.ckpt"]])
def test_what_is_no_path_is_an_error(path: Any) -> None:
    with pytest.raises(TypeError, match="must be the path") as error:
        resume_point.read_checkpoint(path)
    assert str(error.value) == (
        f"`resume` must be the path of a `callbacks.Checkpoint`. Received: resume={path!r}"
    )


@pytest.mark.parametrize(("state", "given"), [(None, None), ({"number": 0}, STAGE), ({}, STAGE)])
def test_a_run_goes_on_in_the_function_that_it_is_of(state: Any, given: Any) -> None:
    resume_point.check_kind({"stage": state}, Resume("run.ckpt", given))


@pytest.mark.parametrize(
    ("state", "given", "kind", "other"),
    [
        (None, STAGE, "fit", "fit_in_stages"),
        ({"number": 0}, None, "fit_in_stages", "fit"),
        ({}, None, "fit_in_stages", "fit"),
    ],
)
def test_the_other_function_is_told(state: Any, given: Any, kind: str, other: str) -> None:
    with pytest.raises(ValueError, match="call that to go on") as error:
        resume_point.check_kind({"stage": state}, Resume("run.ckpt", given))
    assert str(error.value) == (
        f"`resume` is of a run of `{kind}`: call that to go on. "
        f"Received: resume='run.ckpt' in `{other}`"
    )


def test_a_run_begins_without_a_stage_unless_one_is_given() -> None:
    given = Resume("run.ckpt")
    assert given == Resume(path="run.ckpt", stage=None)
    for record, name in ((given, "path"), (STAGE, "number")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, name, None)


def test_whole_epochs_of_a_built_model_can_be_kept() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    resume_point.check_can_be_kept(model, None)


@pytest.mark.parametrize("steps", [0, 5])
def test_parts_of_epochs_cannot_be_kept(steps: int) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="needs whole epochs: `steps_per_epoch` leaves") as error:
        resume_point.check_can_be_kept(model, steps)
    assert str(error.value).endswith(f"Leave it out. Received: steps_per_epoch={steps}")


def test_a_model_that_is_not_built_cannot_be_kept() -> None:
    model = keras.Sequential([keras.layers.Dense(1)], name="unbuilt")
    with pytest.raises(ValueError, match="needs a model that is built") as error:
        resume_point.check_can_be_kept(model, None)
    assert str(error.value).endswith(
        "Call it on a batch first. Received: model=<Sequential name=unbuilt, built=False>"
    )
