"""Is a file whole or not there, and is nothing left behind, however its writer ended?"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetunekit.foundation.partial_files import clear_stale, partial_file


def test_it_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with partial_file(str(target), ".keras") as partial:
        assert os.path.dirname(partial) == str(tmp_path)
        assert partial.endswith(".keras")
        Path(partial).write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyError), partial_file(str(target)):
        raise KeyError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_it_may_lie_in_the_folder_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with partial_file("a.txt") as partial:
        Path(partial).write_text("new")
    assert Path("a.txt").read_text() == "new"


def test_only_what_dead_processes_left_for_this_target_is_removed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    dead, here = int(done.stdout), socket.gethostname()[:64]
    names = {
        f".saving-a.txt-{here}-{dead}-abc_12": False,
        f".saving-a.txt-{here}-{dead}-abc_12.keras": False,
        f".saving-a.txt-{here}-{os.getpid()}-abc_12": True,  # Of a thread of this process.
        f".saving-a.txt-{here}-1-abc_12": True,  # Of another user's.
        f".saving-b.txt-{here}-{dead}-abc_12": True,
        f".saving-a.txt.gz-{here}-{dead}-abc_12": True,
        f".saving-a.txt-elsewhere-{dead}-abc_12": True,
        f".saving-a.txt-long-ago-{dead}-abc_12": False,
        ".saving-a.txt": True,
        f"x.saving-a.txt-{here}-{dead}-abc_12": True,
    }
    for name in names:
        (tmp_path / name).touch()
        if "long-ago" in name:
            os.utime(tmp_path / name, (0, time.time() - 90_000))
    clear_stale(str(tmp_path / "a.txt"))
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {name for name, stays in names.items() if stays}
