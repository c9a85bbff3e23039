"""A table's file is whole when it appears, counts only what is written, and is read as it was."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from finetunekit.caching import hdf5_table
from finetunekit.caching.hdf5_table import Hdf5Table, StoreBusy, StoreMismatch, open_table

LAYOUT = {
    "a": ((2, 3), "float32"),
    "yes": ((2,), "bool"),
    "none": ((0,), "float32"),
    "number": ((), "int64"),
}
ROW = 2 * 3 * 4 + 2 + 0 + 8  # Bytes.
KEY = {"data": "d" * 64, "versions": "keras 3"}
COLUMNS = {"a": [[2, 3], "float32", None]}
A = np.random.default_rng(0).random((10, 2, 3), dtype="float32")


def created(path: Path, rows: int = 10, layout: Any = LAYOUT) -> Hdf5Table:
    return hdf5_table.create(path, layout, rows, KEY, COLUMNS)


def filled(path: Path, done: int = 10) -> Path:
    """A file of ten rows, some of them valid."""
    table = created(path)
    table.write("a", 0, A)
    table.set_done(done)
    table.close()
    return path


def change(path: Path, name: str, value: int) -> None:
    with h5py.File(path, "r+") as file:
        file[name][0] = value


def is_locked(path: Path, kind: int = fcntl.LOCK_EX) -> bool:
    """Whether somebody holds the lock that HDF5 takes."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that are opened from now on."""
    found: list[int] = []
    system = os.open

    def noted(*given: Any) -> int:
        found.append(system(*given))
        return found[-1]

    monkeypatch.setattr(hdf5_table.os, "open", noted)
    return found


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = type("usage", (), {"free": free})
    monkeypatch.setattr(hdf5_table.shutil, "disk_usage", lambda _: usage)


def raising(error: BaseException) -> Any:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


@pytest.mark.parametrize("name", ["float32", "bool", "uint8", "bfloat16", "float8_e4m3fn"])
def test_dtypes_are_found_by_name(name: str) -> None:
    wanted = np.dtype(getattr(ml_dtypes, name, name))
    assert hdf5_table.dtype_of(name) == wanted


def test_a_new_file_has_room_for_all_rows_and_none_that_counts(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path)
    assert (table.rows, table.done, table.names) == (10, 0, set(LAYOUT))
    table.close()
    assert os.listdir(tmp_path) == ["f.h5"]
    with h5py.File(path) as file:
        head = dict(file.attrs)
        assert (head.pop("kind"), head.pop("format")) == ("finetunekit features", 1)
        assert {name: json.loads(text) for name, text in head.items()} == {
            "key": KEY,
            "columns": COLUMNS,
        }
        assert file["rows"][:].tolist() == [10]
        assert file["done"][:].tolist() == [0]
        assert file["rows"].dtype == file["done"].dtype == "int64"
        assert set(file) == {*LAYOUT, "rows", "done"}
        for name, (shape, kind) in LAYOUT.items():
            found = file[name]
            assert (found.shape, found.dtype) == ((10, *shape), kind)
            settings = found.id.get_create_plist()
            assert settings.get_layout() == h5py.h5d.CONTIGUOUS
            assert settings.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
            assert settings.get_fill_time() == h5py.h5d.FILL_TIME_NEVER
            messages = h5py.h5o.get_info(found.id).hdr.mesg.present
            assert not messages & (1 << 18)  # No time of a change: equal files for equal rows.
            assert (found.id.get_offset() is None) == (name == "none")


def test_numbers_that_hdf5_does_not_know_stand_as_bits_in_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    values = np.array([[1.0, -2.5], [np.inf, 3e38]]).astype(ml_dtypes.bfloat16)
    table = created(path, 2, {"a": ((), "int64"), "h": ((2,), "bfloat16")})
    table.write("h", 0, values)
    table.set_done(2)
    table.close()
    with h5py.File(path) as file:
        assert file.attrs["format"] == 2
        assert file["h"].dtype == "uint16"
        assert np.array_equal(file["h"][:], values.view("uint16"))
    table = open_table(path, write=False)[0]
    assert np.array_equal(table.read("h", np.array([1, 0])), values.view("uint16")[::-1])
    table.close()


def test_rows_stand_in_the_file_where_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path)
    table.write("a", 0, A[:4])
    table.write("a", 4, A[4:7])
    table.write("number", 3, np.array([5, 6]))
    assert table.done == 0
    table.set_done(7)
    assert table.done == 7
    table.close()
    with h5py.File(path) as file:
        assert file["done"][0] == 7
        assert np.array_equal(file["a"][:7], A[:7])
        assert file["number"][3:5].tolist() == [5, 6]


def test_rows_are_in_the_file_before_their_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "f.h5", []
    table = created(path)
    offsets = {name: table._file[name].id.get_offset() for name in ("a", "done")}
    flush = h5py.File.flush

    def flushed(file: Any) -> None:
        flush(file)
        content = path.read_bytes()
        rows = np.frombuffer(content, "float32", 60, offsets["a"]).reshape(10, 2, 3)
        done = np.frombuffer(content, "int64", 1, offsets["done"])
        seen.append((np.array_equal(rows[:5], A[:5]), int(done[0])))

    monkeypatch.setattr(h5py.File, "flush", flushed)
    table.write("a", 0, A[:5])
    table.set_done(5)
    assert seen == [(True, 0), (True, 5)]
    table.close()


ORDERS = {
    "all": list(range(10)),
    "backwards": list(range(9, -1, -1)),
    "runs": [4, 5, 6, 0, 1, 9, 9, 8],
    "one": [9],
    "none": [],
}


@pytest.mark.parametrize("order", ORDERS)
def test_rows_are_read_in_any_order(order: str, tmp_path: Path) -> None:
    table = open_table(filled(tmp_path / "f.h5"), write=False)[0]
    rows = np.array(ORDERS[order], "int64")
    found = table.read("a", rows)
    assert found.dtype == "float32"
    assert found.shape == (len(rows), 2, 3)
    assert np.array_equal(found, A[rows])
    assert table.read("none", rows).shape == (len(rows), 0)
    table.close()


def test_neighbours_are_read_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table(filled(tmp_path / "f.h5"), write=False)[0]
    sizes, preadv = [], os.preadv

    def counted(descriptor: int, targets: Any, place: int) -> int:
        sizes.append(len(targets[0]) // 24)
        return preadv(descriptor, targets, place)

    monkeypatch.setattr(hdf5_table.os, "preadv", counted)
    table.read("a", np.array([4, 5, 6, 0, 1, 9, 9, 8]))
    assert sizes == [3, 2, 1, 1, 1]
    table.close()


def test_a_system_that_gives_less_at_a_time_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = open_table(filled(tmp_path / "f.h5"), write=False)[0]
    preadv = os.preadv
    monkeypatch.setattr(
        hdf5_table.os, "preadv", lambda fd, targets, place: preadv(fd, [targets[0][:7]], place)
    )
    assert np.array_equal(table.read("a", np.arange(2, 9)), A[2:9])
    table.close()


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5")
    table = open_table(path, write=False)[0]
    os.truncate(path, 100)
    with pytest.raises(ValueError, match="truncated"):
        table.read("a", np.arange(10))
    table.close()


def test_an_unfinished_file_is_locked_until_its_last_row(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path)
    table.write("a", 0, A)
    table.set_done(9)
    assert is_locked(path, fcntl.LOCK_SH)
    file = table._file
    table.set_done(10)
    assert not file  # Closed, rather than collected some time.
    assert not is_locked(path)
    assert np.array_equal(table.read("a", np.arange(10)), A)
    with pytest.raises(ValueError, match="not opened for writing"):
        table.set_done(10)
    table.close()


@pytest.mark.parametrize(
    ("done", "write", "writable"), [(9, True, True), (9, False, False), (10, True, False)]
)
def test_only_an_unfinished_file_is_opened_for_writing(
    done: int, write: bool, writable: bool, tmp_path: Path
) -> None:
    path = filled(tmp_path / "f.h5", done)
    table, key, columns = open_table(path, write)
    assert (key, columns) == (KEY, COLUMNS)
    assert (table.rows, table.done) == (10, done)
    assert is_locked(path) == writable
    assert np.array_equal(table.read("a", np.arange(done)), A[:done])
    if writable:
        table.write("a", 9, A[:1])
        table.set_done(10)
        assert np.array_equal(table.read("a", np.array([9])), A[:1])
    else:
        with pytest.raises(ValueError, match="not opened for writing"):
            table.set_done(10)
    table.close()


@pytest.mark.parametrize("write", [True, False])
def test_a_file_that_is_being_written_is_busy(write: bool, tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5", 5)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy, match=r"another process.*path='.*f\.h5'"):
            open_table(path, write)
    open_table(path, write)[0].close()


def test_a_reader_keeps_only_writers_away(tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5", 5)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        open_table(path, write=False)[0].close()
        with pytest.raises(StoreBusy, match="another process"):
            open_table(path, write=True)
    change(path, "done", 10)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        open_table(path, write=True)[0].close()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (BlockingIOError(errno.EAGAIN, "busy"), StoreBusy, "another process"),
        (OSError("unable to lock file"), StoreBusy, "another process"),
        (PermissionError(errno.EACCES, "no"), PermissionError, "may not be read"),
        (OSError("no signature"), ValueError, "not an HDF5 file of features, or is truncated"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OSError) else None,
)
def test_what_hdf5_says_is_told_in_words(
    error: OSError, kind: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "f.h5")
    monkeypatch.setattr(hdf5_table.h5py, "File", raising(error))
    with pytest.raises(kind, match=rf"{words}.*Received: path='.*f\.h5'") as caught:
        open_table(str(path), write=False)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("missing", ["rows", "done", "key", "columns", "format"])
def test_a_head_that_lacks_something_is_damaged(missing: str, tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        place = file if missing in file else file.attrs
        del place[missing]
    with pytest.raises(ValueError, match="truncated") as caught:
        open_table(path, write=False)
    # It was closed, rather than collected: the error still holds what it has seen.
    assert caught.tb is not None
    assert not is_locked(path)


@pytest.mark.parametrize(("done", "valid"), [(-1, False), (0, True), (10, True), (11, False)])
def test_a_count_beyond_the_rows_is_damage(done: int, valid: bool, tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5", 3)
    change(path, "done", done)
    if valid:
        table = open_table(path, write=False)[0]
        assert table.done == done
        table.close()
        return
    for write in (False, True):
        with pytest.raises(ValueError, match="truncated") as caught:
            open_table(path, write)
        assert caught.tb is not None
        assert not is_locked(path)


@pytest.mark.parametrize("lacking", [0, 1])
def test_all_rows_lie_in_the_file(
    lacking: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cut = filled(tmp_path / "f.h5"), tmp_path / "cut.h5"
    with h5py.File(path) as file:
        datasets = [file[name] for name in LAYOUT if name != "none"]
        end = max(d.id.get_offset() + d.size * d.dtype.itemsize for d in datasets)
        cut.write_bytes(path.read_bytes()[: end - lacking])
        if lacking:
            descriptors = opened(monkeypatch)
            with pytest.raises(ValueError, match=r"truncated.*cut\.h5"):
                Hdf5Table(cut, file, 10, writable=False)
            assert [is_open(descriptor) for descriptor in descriptors] == [False]
        else:
            table = Hdf5Table(cut, file, 10, writable=False)
            assert np.array_equal(table.read("a", np.arange(10)), A)
            table.close()
        assert not file  # Closed: it is read past HDF5.


@pytest.mark.parametrize(("number", "newer"), [(1, False), (2, False), (3, True)])
def test_formats_up_to_the_newest_are_read(number: int, newer: bool, tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = number
    if newer:
        with pytest.raises(ValueError, match=r"newer finetunekit, in format 3; this.* up to 2\."):
            open_table(path, write=False)
    else:
        assert hdf5_table.read_key(path) == KEY


def test_reading_a_key_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "f.h5", 5)
    descriptors = opened(monkeypatch)
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert hdf5_table.read_key(path) == KEY  # As one of several readers.
    assert [is_open(descriptor) for descriptor in descriptors] == [False]
    assert not is_locked(path)


def test_files_of_others_are_told_apart(tmp_path: Path) -> None:
    path = filled(tmp_path / "f.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["kind"] = "finetunekit weights"
    with pytest.raises(ValueError, match="but not one of features") as caught:
        hdf5_table.read_key(path)
    assert caught.tb is not None
    assert not is_locked(path)
    with pytest.raises(FileNotFoundError, match="`path` does not exist"):
        open_table(tmp_path / "g.h5", write=True)


@pytest.mark.parametrize(
    ("found", "wanted", "names"),
    [
        ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, []),
        ({"a": "1", "b": "2"}, {"b": "3", "a": "4"}, ["b", "a"]),
        ({"a": "1"}, {"a": "any"}, []),
        ({"a": "any"}, {"a": "1"}, ["a"]),
        ({}, {"a": "1"}, ["a"]),
        ({}, {"a": "any"}, []),
        ({"a": "1"}, {}, ["a"]),
        ({"beside": "f.h5"}, {"beside": "g.h5"}, []),
        ({"beside": "f.h5"}, {}, []),
    ],
    ids=str,
)
def test_entries_of_a_key_that_do_not_fit(
    found: dict[str, str], wanted: dict[str, str], names: list[str]
) -> None:
    assert hdf5_table.differences(found, wanted) == names


def test_a_key_that_does_not_fit_is_told_with_values_but_for_digests() -> None:
    found = {"data": "d" * 64, "short": "d" * 63, "engine": "keras", "old": "1"}
    wanted = {"data": "e" * 64, "short": "e", "engine": "any", "new": "2"}
    hdf5_table.check_key("f.h5", found, found)
    with pytest.raises(StoreMismatch) as caught:
        hdf5_table.check_key(Path("f.h5"), found, wanted)
    assert str(caught.value) == (
        f"`path` holds features of other data and other short ({'d' * 63}, now e) and other new "
        "(none, now 2) and other old (1, now none); they are not used, and not touched. Give "
        "another path, or delete it with `clear_cache(path)`. Received: path='f.h5'"
    )


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a/f.h5", "a/f.validation.h5"),
        ("f.b.hdf5", "f.b.validation.hdf5"),
        ("a.b/f", "a.b/f.validation"),
    ],
)
def test_features_of_validation_stand_beside(path: str, wanted: str) -> None:
    assert hdf5_table.validation_path(path) == Path(wanted)


def test_fewer_rows_than_there_is_room_for(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path)
    table.write("a", 0, A)
    table.set_done(3)
    table.set_rows(5)
    assert (table.rows, table.done) == (5, 3)
    assert is_locked(path)
    table.set_rows(3)
    assert not is_locked(path)
    table.set_rows(2)  # Nothing is left to be written.
    assert (table.rows, table.done) == (3, 3)
    table.close()
    with h5py.File(path) as file:
        assert (file["rows"][0], file["done"][0]) == (3, 3)
    again = open_table(path, write=True)[0]
    assert np.array_equal(again.read("a", np.arange(3)), A[:3])
    again.close()


def test_a_file_without_rows_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path, 0)
    assert not is_locked(path)
    assert table.read("a", np.arange(0)).shape == (0, 2, 3)
    table.close()


def test_a_closed_table_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    table = created(path)
    descriptor = table._descriptor
    table.close()
    assert not is_locked(path)
    assert not is_open(descriptor)
    with pytest.raises(ValueError, match="not opened for writing"):
        table.set_done(1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        table.read("a", np.arange(1))
    table.close()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"not overwritten.*clear_cache.*path='.*f\.h5'"):
        created(path)
    assert path.read_text() == "mine"


def test_folders_that_cannot_take_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist\. Make it first"):
        created(tmp_path / "missing" / "f.h5")
    asked = []
    monkeypatch.setattr(hdf5_table.os, "access", lambda *given: asked.append(given))
    with pytest.raises(PermissionError, match="cannot be written to"):
        created(tmp_path / "f.h5")
    assert asked == [(tmp_path, os.W_OK)]


@pytest.mark.parametrize("lacking", [0, 1])
def test_the_disk_has_to_hold_all_rows(
    lacking: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 50_000
    with_free(monkeypatch, rows * ROW - lacking)
    monkeypatch.setattr(hdf5_table, "_take_room", raising(KeyError("room")))
    if lacking:
        with pytest.raises(OSError, match="with 2 MB free, and 2 MB are needed") as caught:
            created(tmp_path / "f.h5", rows)
        assert caught.value.errno == errno.ENOSPC
    else:
        with pytest.raises(KeyError, match="room"):  # So it has come further.
            created(tmp_path / "f.h5", rows)
    assert not os.listdir(tmp_path)


def test_room_is_taken_before_and_after_hdf5_has_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Any] = []
    fallocate, link, fsync = os.posix_fallocate, os.link, os.fsync

    def took(descriptor: int, first: int, size: int) -> None:
        steps.append((os.fstat(descriptor).st_size, first, size))
        fallocate(descriptor, first, size)

    def synced(descriptor: int) -> None:
        steps.append("sync")
        fsync(descriptor)

    def linked(*paths: Path) -> None:
        steps.append("link")
        link(*paths)

    monkeypatch.setattr(hdf5_table.os, "posix_fallocate", took)
    monkeypatch.setattr(hdf5_table.os, "fsync", synced)
    monkeypatch.setattr(hdf5_table.os, "link", linked)
    created(tmp_path / "f.h5").close()
    size = (tmp_path / "f.h5").stat().st_size
    assert steps == [(0, 0, 10 * ROW + 65536), "sync", (size, 0, size), "sync", "link"]


def test_a_system_that_cannot_take_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hdf5_table.os, "posix_fallocate")
    path = filled(tmp_path / "f.h5")
    with h5py.File(path) as file:
        assert np.array_equal(file["a"][:], A)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EFBIG, "too large"), True),
        (OSError(errno.EDQUOT, "quota"), True),
        (OSError(f"cannot write, errno = {errno.ENOSPC}, error message"), True),
        (OSError(errno.EIO, "broken"), False),
        (OSError(f"broken, errno = {errno.EIO}, error message"), False),
    ],
    ids=str,
)
def test_a_disk_that_fills_up_is_told_and_nothing_stays(
    error: OSError, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 3_000_000_000_000)
    for place in ((os, "posix_fallocate"), (os, "fsync"), (h5py.File, "flush")):
        with monkeypatch.context() as patched:
            patched.setattr(*place, raising(error))
            with pytest.raises(OSError, match="MB free" if full else "broken") as caught:
                created(tmp_path / "f.h5", 50_000)
        assert not os.listdir(tmp_path)
        if not full:
            assert caught.value is error
            continue
        assert caught.value.__cause__ is error
        assert caught.value.errno == errno.ENOSPC
        assert str(caught.value.strerror) == (
            "`path` lies on a disk with 3,000,000 MB free, and 2 MB are needed. Make room, give a "
            "path on another disk, or keep the features in memory. "
            f"Received: path={str(tmp_path / 'f.h5')!r}"
        )


def test_a_disk_that_is_full_while_rows_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = created(tmp_path / "f.h5", 400_000)
    error = OSError(errno.ENOSPC, "full")
    with_free(monkeypatch, 1_000_000)
    with monkeypatch.context() as patched:
        patched.setattr(h5py.Dataset, "__setitem__", raising(error))
        with pytest.raises(OSError, match="1 MB free, and 3 MB are needed"):
            table.write("number", 0, np.zeros(400_000, "int64"))
        with pytest.raises(OSError, match="1 MB free, and 0 MB are needed"):
            table.set_done(5)
    assert table.done == 0
    table.close()


def test_a_file_that_comes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.h5"
    monkeypatch.setattr(hdf5_table.os, "fsync", lambda _: path.write_text("theirs"))
    with pytest.raises(FileExistsError):
        created(path)
    assert os.listdir(tmp_path) == ["f.h5"]
    assert path.read_text() == "theirs"


@pytest.mark.parametrize("error", [PermissionError(errno.EPERM, "no"), OSError(errno.EXDEV, "no")])
def test_a_file_system_without_links(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.h5"
    monkeypatch.setattr(hdf5_table.os, "link", raising(error))
    with monkeypatch.context() as patched:
        patched.setattr(hdf5_table.os, "fsync", lambda _: path.write_text("theirs"))
        with pytest.raises(type(error)):
            created(path)
    assert (os.listdir(tmp_path), path.read_text()) == (["f.h5"], "theirs")
    path.unlink()
    assert hdf5_table.read_key(filled(path)) == KEY
    assert os.listdir(tmp_path) == ["f.h5"]


def test_drafts_of_ended_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fates = {11: ProcessLookupError(), 12: PermissionError(), 13: None}

    def kill(process: int, signal: int) -> None:
        assert signal == 0
        if (error := fates[process]) is not None:
            raise error

    monkeypatch.setattr(hdf5_table.os, "kill", kill)
    names = [f".f.h5.{process}.tmp" for process in fates]
    names += [".g.h5.11.tmp", ".f.h5.x1.tmp", "f.h5.11.tmp", ".f.h5.11"]
    for name in names:
        (tmp_path / name).touch()
    created(tmp_path / "f.h5").close()
    assert sorted(os.listdir(tmp_path)) == sorted([*names[1:], "f.h5"])
