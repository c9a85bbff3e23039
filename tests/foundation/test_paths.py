"""Is a path that cannot be a source told apart, and the right one proposed?"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetunekit.foundation import paths


def test_neighbours_are_written_as_the_path_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.h5", "a.h5"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert paths.neighbours("c.h5") == ["a.h5", "b.h5"]
    assert paths.neighbours(f"{tmp_path}/c.h5") == [f"{tmp_path}/a.h5", f"{tmp_path}/b.h5"]
    assert paths.neighbours("nowhere/c.h5") == []


@pytest.mark.parametrize("name", ["run/w", "run/w.index", "run/w.data-00000-of-00001", "run"])
def test_a_tensorflow_checkpoint_is_told_by_any_of_its_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for file in ("checkpoint", "w.index", "w.data-00000-of-00001"):
        (tmp_path / "run" / file).touch()
    assert "tf_keras" in paths.tensorflow_checkpoint(str(tmp_path / name))
    assert not paths.tensorflow_checkpoint(str(tmp_path / "run" / "v"))
    assert not paths.tensorflow_checkpoint(str(tmp_path))
