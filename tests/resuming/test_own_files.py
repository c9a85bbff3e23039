"""Is nothing of the user's destroyed by a new run?"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetunekit.resuming import own_files


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(name)


def test_all_that_is_in_the_way_gets_another_name(tmp_path: Path) -> None:
    names = [
        "run.ckpt",
        "run.ckpt.features.h5",
        "run.ckpt.features.validation.h5",
        "run.ckpt.stage0.features.h5",
        "run.ckpt.stage12.features.h5",
        "run.ckpt.stage12.features.validation.h5",
    ]
    others = ["run.ckpt2", "run.ckpt.notes", "run.ckpt.staged.features.h5", "arun.ckpt"]
    write(tmp_path, *names, *others)
    own_files.set_aside(str(tmp_path / "run.ckpt"))
    expected = {f"{name}.previous": name for name in names} | {name: name for name in others}
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == expected


def test_what_was_set_aside_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "run.ckpt"
    for number in ("first", "second", "third"):
        path.write_text(number)
        own_files.set_aside(str(path))
    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {
        "run.ckpt.previous": "first",
        "run.ckpt.previous2": "second",
        "run.ckpt.previous3": "third",
    }
    assert f"{path} of an earlier run is kept as {path}.previous3" in caplog.text


def test_brackets_in_a_name_are_no_pattern(tmp_path: Path) -> None:
    write(tmp_path, "run[1].stage0.features.h5", "run1.stage0.features.h5")
    own_files.set_aside(str(tmp_path / "run[1]"))
    assert {f.name for f in tmp_path.iterdir()} == {
        "run[1].stage0.features.h5.previous",
        "run1.stage0.features.h5",
    }


def test_only_the_features_of_one_stage_are_removed(tmp_path: Path) -> None:
    write(tmp_path, "a.features.h5", "a.stage1.features.h5", "a.stage1.features.validation.h5")
    own_files.remove_features(str(tmp_path / "a"), 1)
    own_files.remove_features(str(tmp_path / "a"), 2)
    assert [f.name for f in tmp_path.iterdir()] == ["a.features.h5"]
