"""Is a checkpoint whole after a `kill -9` while it was written, and is nothing left behind?"""

from __future__ import annotations

import json
import os
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetunekit.resuming import checkpoint_files


def write_and_hang(path: str, told: int) -> None:
    """Stops for ever within the second array of a checkpoint."""
    own = zipfile.ZipFile.writestr

    def writestr(file: Any, name: str, data: Any) -> None:
        own(file, name, data)
        if name == "array1":
            file.fp.flush()
            os.write(told, b"w")
            time.sleep(600)

    zipfile.ZipFile.writestr = writestr
    arrays = [np.arange(n) for n in (10, 100, 1000)]
    checkpoint_files.write(path, {"epoch": 2, "arrays": arrays})


def test_killed_while_writing(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    checkpoint_files.write(path, {"epoch": 1})
    told, tell = os.pipe()
    child = os.fork()  # It computes nothing, so TensorFlow's threads are not missed.
    if not child:
        try:
            write_and_hang(path, tell)
        finally:
            os._exit(1)
    try:
        assert os.read(told, 1) == b"w"
        (partial,) = (p for p in tmp_path.iterdir() if p.name != "run.ckpt")
        assert partial.name.startswith(".saving-run.ckpt-")
        assert partial.stat().st_size > 800
        checkpoint_files.write(path, {"epoch": 3})
        assert partial.exists()  # Its process lives.
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert checkpoint_files.read(path, "resume") == {"epoch": 3}
    checkpoint_files.write(str(tmp_path / "other.ckpt"), {})
    assert partial.exists()  # It is of another target.
    checkpoint_files.write(path, {"epoch": 4})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.ckpt", "run.ckpt"]


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    for version, age in ((1, "an older"), (99, "a newer")):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("state.json", json.dumps({"version": version, "state": {}}))
        with pytest.raises(ValueError, match=f"written by {age} finetunekit"):
            checkpoint_files.read(path, "resume")


def test_json_that_is_nested_too_deeply_is_damage(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("state.json", "[" * 100_000)
    with pytest.raises(ValueError, match=r"not a complete checkpoint .*\(RecursionError"):
        checkpoint_files.read(path, "resume")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    checkpoint_files.write(path, {"epoch": 1, "array": np.arange(3)})
    with pytest.raises(Exception, match="object"):
        checkpoint_files.write(path, {"epoch": object()})
    found = checkpoint_files.read(path, "resume")
    np.testing.assert_array_equal(found["array"], np.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]
