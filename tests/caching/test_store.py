"""Does a store give back what was put in, survive a kill, and refuse what it must not take?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from finetunekit.caching import hdf5_table
from finetunekit.caching import store as store_module
from finetunekit.caching.hdf5_table import StoreBusy, StoreMismatch
from finetunekit.caching.store import Column, FeatureStore

CHILD = str(Path(__file__).with_name("store_child.py"))
KEY = {"data": "d" * 64, "versions": "keras 3"}
COLUMNS = {
    "a": Column((2, 3), "float32"),
    "half": Column((4,), "float32", "float16"),
    "mask": Column((5,), "bool"),
    "number": Column((), "int64"),
    "none": Column((0,), "float32"),
}


def content(rows: int) -> dict[str, np.ndarray]:
    """Random rows for all columns."""
    numbers = np.random.default_rng(0)
    return {
        "a": numbers.random((rows, 2, 3), dtype="float32"),
        "half": numbers.random((rows, 4), dtype="float32"),
        "mask": numbers.random((rows, 5)) > 0.5,
        "number": numbers.integers(0, 1 << 40, rows),
        "none": np.empty((rows, 0), "float32"),
    }


def part(values: dict[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    return {name: array[first:last] for name, array in values.items()}


def check(store: FeatureStore, values: dict[str, np.ndarray], rows: object) -> None:
    for name, array in values.items():
        found = store.read(name, rows)  # type: ignore[arg-type]
        assert found.dtype == array.dtype
        wanted = array[rows] if name != "half" else array[rows].astype("float16").astype("float32")
        assert np.array_equal(found, wanted), name


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_gives_back_what_was_put_in(kind: str, tmp_path: Path) -> None:
    values = content(50)
    digests = np.random.default_rng(1).integers(0, 256, (50, 16), dtype="uint8")
    if kind == "memory":
        store = FeatureStore.in_memory(COLUMNS, 50, KEY, digests=True)
    else:
        store = FeatureStore.create(tmp_path / "f.h5", COLUMNS, 50, KEY, digests=True)
    for first in range(0, 50, 7):
        store.append(part(values, first, first + 7), digests[first : first + 7])
        check(store, values, np.arange(store.done)[::-1])
    assert store.complete
    assert len(store) == 50
    check(store, values, np.random.default_rng(2).integers(0, 50, 90))
    check(store, values, slice(10, 20))
    assert store.digest_rows()[digests[33].tobytes()] == 33
    with pytest.raises(IndexError, match="filled"):
        store.read("a", np.array([50]))
    whole = store.array("a")
    assert (whole is None) == (kind == "file")
    if whole is not None:
        assert whole.ctypes.data % 64 == 0
    store.close()


def test_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    values, path = content(40), tmp_path / "f.h5"
    with FeatureStore.create(path, COLUMNS, 40, KEY) as store:
        store.append(part(values, 0, 13))
    with FeatureStore.open(path, KEY, write=True) as store:
        assert store.done == 13
        check(store, values, slice(0, 13))
        store.append(part(values, 13, 40))
    with FeatureStore.open(path, KEY) as one, FeatureStore.open(path, KEY, write=True) as other:
        check(one, values, slice(None))
        check(other, values, slice(None))
        with pytest.raises(ValueError, match="at most 0"):
            other.append(part(values, 0, 1))


def test_fewer_rows_than_there_was_room_for(tmp_path: Path) -> None:
    values, path = content(10), tmp_path / "f.h5"
    with FeatureStore.create(path, COLUMNS, 16, KEY) as store:
        store.append(values)
        store.finish()
    with FeatureStore.open(path) as store:
        assert store.complete
        assert store.rows == 10


def test_other_weights_are_named_and_the_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    FeatureStore.create(path, COLUMNS, 4, KEY).close()
    before = path.read_bytes()
    with pytest.raises(StoreMismatch, match=r"features of other data;.*clear_cache"):
        FeatureStore.open(path, KEY | {"data": "e" * 64}, write=True)
    with pytest.raises(StoreMismatch, match=r"other versions \(keras 3, now keras 4\)"):
        FeatureStore.open(path, KEY | {"versions": "keras 4"})
    with pytest.raises(FileExistsError, match="not overwritten"):
        FeatureStore.create(path, COLUMNS, 4, KEY)
    assert path.read_bytes() == before
    assert hdf5_table.read_key(path) == KEY


def test_files_of_others_are_refused_and_left_alone(tmp_path: Path) -> None:
    theirs, text, cut = tmp_path / "theirs.h5", tmp_path / "text.h5", tmp_path / "cut.h5"
    with h5py.File(theirs, "w") as file:
        file["x"] = np.zeros(3)
    text.write_text("no HDF5")
    FeatureStore.create(cut, COLUMNS, 400, KEY).close()
    cut.write_bytes(cut.read_bytes()[:-3000])
    for path, words in ((theirs, "not one of features"), (text, "not an HDF5"), (cut, "truncated")):
        before = path.read_bytes()
        with pytest.raises(ValueError, match=words):
            FeatureStore.open(path, KEY, write=True)
        assert path.read_bytes() == before
    with h5py.File(theirs, "w") as file:
        file.attrs["kind"], file.attrs["format"] = "finetunekit features", 99
    with pytest.raises(ValueError, match="newer finetunekit"):
        FeatureStore.open(theirs)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        FeatureStore.open(tmp_path / "nowhere.h5")


def test_what_does_not_fit_is_refused_before_anything_is_written() -> None:
    values = content(4)
    store = FeatureStore.in_memory(COLUMNS, 4, KEY)
    with pytest.raises(ValueError, match="must have the columns"):
        store.append({"a": values["a"]})
    with pytest.raises(ValueError, match=r"float32 with rows of shape \(2, 3\)"):
        store.append(values | {"a": values["a"].astype("float64")})
    with pytest.raises(ValueError, match="beyond what float16 can hold"):
        store.append(values | {"half": np.full((4, 4), 1e6, "float32")})
    with pytest.raises(ValueError, match="same number of rows"):
        store.append(values | {"a": values["a"][:2]})
    assert store.done == 0


def test_arrays_may_be_used_again_before_their_block_is_written(tmp_path: Path) -> None:
    path, array = tmp_path / "f.h5", np.ones((4, 3), "float32")
    with FeatureStore.create(path, {"a": Column((3,), "float32")}, 8, KEY) as store:
        store.append({"a": array})
        array[:] = 9
    with FeatureStore.open(path) as store:
        assert np.array_equal(store.read("a", slice(None)), np.ones((4, 3)))


def test_digests_come_with_every_row_or_with_none() -> None:
    column, rows = {"a": Column((), "float32")}, {"a": np.zeros(2, "float32")}
    store = FeatureStore.in_memory(column, 4, KEY, digests=True)
    for digests in (None, np.zeros((2, 8), "uint8"), np.zeros((1, 16), "uint8")):
        with pytest.raises(ValueError, match="16 bytes for each row"):
            store.append(rows, digests)
    half = FeatureStore.in_memory({"a": Column((), "float32", "float16")}, 4, KEY)
    with pytest.raises(ValueError, match="1e\\+06"):
        half.append({"a": np.array([np.inf, 1e6], "float32")})


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(hdf5_table.os, "link", link)
    FeatureStore.create(tmp_path / "f.h5", COLUMNS, 4, KEY).close()
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]
    # Not even then over a file that has come meanwhile.
    draft, target = tmp_path / "draft", tmp_path / "came.h5"
    for path in (draft, target):
        path.write_text(path.name)
    with pytest.raises(PermissionError):
        hdf5_table._publish(draft, target)
    assert target.read_text() == "came.h5"


def test_drafts_of_names_with_brackets_go_too(tmp_path: Path) -> None:
    draft = tmp_path / ".f[1].h5.999999999.tmp"
    draft.touch()
    FeatureStore.create(tmp_path / "f[1].h5", COLUMNS, 4, KEY).close()
    assert not draft.exists()


def test_a_full_disk_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = store_module.size_of(COLUMNS, 10)
    monkeypatch.setattr(
        hdf5_table.shutil, "disk_usage", lambda _: type("usage", (), {"free": free})()
    )
    with pytest.raises(OSError, match="MB free, and"):
        FeatureStore.create(tmp_path / "f.h5", COLUMNS, 1000, KEY)
    assert not list(tmp_path.iterdir())


_LIMITED = """
import resource, signal, sys
sys.argv[0] = {child!r}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
sys.path.insert(0, {folder!r})
import store_child
try:
    store_child.fill({path!r})
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_disk_that_fills_up_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    code = _LIMITED.format(child=CHILD, folder=str(Path(CHILD).parent), path=str(tmp_path / "f.h5"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MB free, and" in done.stdout, done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_take_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="folder that does not exist"):
        FeatureStore.create(tmp_path / "no" / "f.h5", COLUMNS, 4, KEY)
    monkeypatch.setattr(hdf5_table.os, "access", lambda *_: False)  # The superuser may always.
    with pytest.raises(PermissionError, match="cannot be written"):
        FeatureStore.create(tmp_path / "f.h5", COLUMNS, 4, KEY)


def started(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, CHILD, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_one_writer_at_a_time_and_drafts_of_the_dead_go(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    draft = tmp_path / ".f.h5.999999999.tmp"
    draft.touch()
    child = started(path)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("open")
    os.kill(child.pid, signal.SIGSTOP)
    try:
        assert not draft.exists()
        with pytest.raises(StoreBusy, match="another process"):
            FeatureStore.open(path, write=True)
        with pytest.raises(StoreBusy, match="another process"):
            FeatureStore.open(path)
    finally:
        child.kill()
        child.communicate()
    FeatureStore.open(path, write=True).close()


def kills(path: Path, count: int, seconds: float) -> None:
    """Starts a child and kills it, again and again; after each kill the store must be right."""
    sys.path.insert(0, str(Path(CHILD).parent))
    chance = random.Random(0)
    for _ in range(count):
        if path.exists():
            with FeatureStore.open(path) as store:
                if store.complete:
                    path.unlink()
        child = started(path)
        time.sleep(chance.uniform(0, seconds))
        child.kill()
        output, errors = child.communicate()
        assert not errors, errors
        said = [int(line.split()[-1]) for line in output.splitlines() if line.split()[-1].isdigit()]
        if not path.exists():
            assert not said
            continue
        with FeatureStore.open(path, write=True) as store:
            assert said[-1] - 100 - 20 <= store.done if said else store.done == 0 or not said
            numbers = np.arange(store.done)
            wanted = (numbers[:, None] * 7 + np.arange(96)).astype("float32")
            assert np.array_equal(store.read("a", slice(None)), wanted)
            mask = (numbers[:, None] + np.arange(3)) % 2 == 0
            assert np.array_equal(store.read("m", slice(None)), mask)
    child = started(path)
    output, errors = child.communicate()
    assert not errors
    assert output.splitlines()[-1].split()[-1] == "4000"


def test_kills_cost_a_block_at_most(tmp_path: Path) -> None:
    kills(tmp_path / "f.h5", 3, 0.25)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    kills(tmp_path / "f.h5", 50, 0.3)


_READS = """
import resource, sys
sys.path.insert(0, {folder!r})
import store_child
from finetunekit.caching.store import FeatureStore
store = FeatureStore.open({path!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for first in range(0, store.rows, 512):
    store.read("a", slice(first, min(store.rows, first + 512)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_reading_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    with FeatureStore.create(path, {"a": Column((5000,), "float32")}, 10_240, KEY) as store:
        for _ in range(10):
            store.append({"a": np.ones((1024, 5000), "float32")})
    code = _READS.format(folder=str(Path(CHILD).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40  # MB, of 200


def test_digests_are_noted_as_they_were_and_go_on_being_found(tmp_path: Path) -> None:
    path, digests = tmp_path / "f.h5", np.arange(32, dtype="uint8").reshape(2, 16)
    first, second = digests[0].tobytes(), digests[1].tobytes()
    column, row = {"a": Column((), "float32")}, {"a": np.zeros(1, "float32")}
    with FeatureStore.create(path, column, 3, KEY, digests=True) as store:
        given = digests[:1].copy()
        store.append(row, given)
        given[:] = 0  # The caller goes on with the array.
        assert store.digest_rows() == {first: 0}
        store.append(row, digests[1:])
        assert store.digest_rows() == {first: 0, second: 1}
    with FeatureStore.open(path, KEY) as store:
        assert store.digest_rows() == {first: 0, second: 1}


def test_a_whole_column_is_as_long_as_what_is_filled() -> None:
    store = FeatureStore.in_memory({"a": Column((), "float32")}, 3, KEY)
    store.append({"a": np.ones(2, "float32")})
    found = store.array("a")
    assert found is not None
    assert found.tolist() == [1.0, 1.0]
