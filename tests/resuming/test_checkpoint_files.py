"""Is a checkpoint whole after a `kill -9` while it was written, and is nothing left behind?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from finetunekit.resuming import checkpoint_files

# Writes one checkpoint, and stops for ever within the second array of another.
CHILD = """
import sys, time, types, zipfile
import numpy as np

keras = sys.modules["keras"] = types.ModuleType("keras")  # It would take seconds to import.
keras.ops = types.SimpleNamespace(is_tensor=lambda value: False)
from finetunekit.resuming import checkpoint_files

path = sys.argv[1]
checkpoint_files.write(path, {"epoch": 1, "arrays": [np.arange(1000)]})
own = zipfile.ZipFile.writestr

def writestr(file, name, data):
    own(file, name, data)
    if name == "array1":
        file.fp.flush()
        print("writing", flush=True)
        time.sleep(600)

zipfile.ZipFile.writestr = writestr
checkpoint_files.write(path, {"epoch": 2, "arrays": [np.arange(n) for n in (10, 100, 1000)]})
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    command = [sys.executable, "-c", CHILD, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        partial = [p for p in tmp_path.iterdir() if p.name != "run.ckpt"]
        assert [p.name.startswith(".saving-run.ckpt-") for p in partial] == [True]
        assert partial[0].stat().st_size > 800
        checkpoint_files.write(str(tmp_path / "other.ckpt"), {})
        checkpoint_files.write(path, {"epoch": 3})  # The other process lives: its file stays.
        assert partial[0].exists()
        child.send_signal(signal.SIGKILL)
    assert checkpoint_files.read(path, "resume") == {"epoch": 3}
    assert partial[0].exists()
    checkpoint_files.write(path, {"epoch": 4})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.ckpt", "run.ckpt"]


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    for version, age in ((1, "an older"), (99, "a newer")):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("state.json", json.dumps({"version": version, "state": {}}))
        with pytest.raises(ValueError, match=f"written by {age} finetunekit"):
            checkpoint_files.read(path, "resume")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    checkpoint_files.write(path, {"epoch": 1, "array": np.arange(3)})
    with pytest.raises(Exception, match="object"):
        checkpoint_files.write(path, {"epoch": object()})
    found = checkpoint_files.read(path, "resume")
    np.testing.assert_array_equal(found["array"], np.arange(3))
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]
