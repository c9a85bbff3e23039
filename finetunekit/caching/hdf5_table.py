"""A table in an HDF5 file that survives a kill: of full size, only numbers change."""

import contextlib
import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_KIND = "finetunekit features"
_FORMAT = 2  # 2 with columns that hold the bits of numbers that HDF5 does not know; else 1.
_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}

_HEAD = 1 << 16  # Bytes that HDF5 and the key take, at most.
# In a key, the name of the file that a fit has written this one beside; it says nothing about the
# features.
BESIDE = "beside"
_COUNTS = ("rows", "done")

Layout = Mapping[str, tuple[tuple[int, ...], str]]


class StoreMismatch(ValueError):
    """A file holds features of something else."""


class StoreBusy(OSError):
    """Another process is writing a file."""


def create(
    path: str | os.PathLike[str], layout: Layout, rows: int, key: dict[str, str], columns: Any
) -> "Hdf5Table":
    """A new file with room for all rows; it appears under its name only when it is whole.

    Raises:
        FileExistsError: If there is a file already.
        OSError: If the disk is full, or the folder is missing or read-only.
    """
    target = Path(path)
    if target.exists():
        raise FileExistsError(
            f"`path` exists already and is not overwritten. Give another one, or delete it with "
            f"`clear_cache(path)`. Received: path={str(target)!r}"
        )
    size = rows * sum(
        int(np.prod(shape, dtype=np.int64)) * dtype_of(kind).itemsize
        for shape, kind in layout.values()
    )
    _check_folder(target, size)
    _remove_leftovers(target)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        # Room is taken before HDF5 has the file, since HDF5 does not recover from a full disk, and
        # again after, since HDF5 makes a file with holes.
        with _telling_full(target, size):
            _take_room(draft, size + _HEAD)
        with _telling_full(target, size), h5py.File(draft, "w", locking=True) as file:
            _write_head(file, layout, rows, key, columns)
            file.flush()
        with _telling_full(target, size):
            _take_room(draft, draft.stat().st_size)
        _publish(draft, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return open_table(target, write=True)[0]


def dtype_of(name: str) -> np.dtype[Any]:
    """A dtype by its name, those of machine learning included, such as bfloat16."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes  # Which numpy knows once it is imported.

        return np.dtype(getattr(ml_dtypes, name))


def _in_file(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What stands in a file for a dtype that HDF5 does not know: whole numbers of its bits."""
    return dtype if dtype.isbuiltin != 2 else np.dtype(f"u{dtype.itemsize}")


def _publish(draft: Path, target: Path) -> None:
    try:
        os.link(draft, target)  # Unlike a rename, never over a file that has come meanwhile.
    except FileExistsError:
        raise
    except OSError:  # Some file systems have no links.
        if target.exists():
            raise
        draft.rename(target)


def _take_room(draft: Path, size: int) -> None:
    with open(draft, "ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        os.fsync(file.fileno())


def _write_head(file: Any, layout: Layout, rows: int, key: Any, columns: Any) -> None:
    in_bits = any(_in_file(dtype_of(kind)) != dtype_of(kind) for _, kind in layout.values())
    file.attrs["kind"], file.attrs["format"] = _KIND, 2 if in_bits else 1
    file.attrs["key"], file.attrs["columns"] = json.dumps(key), json.dumps(columns)
    for name, (shape, kind) in layout.items():
        _dataset(file, name, (rows, *shape), kind)
    # As numbers in datasets, these two can change without a change of the file's structure.
    _dataset(file, "rows", (1,), "int64").write_direct(np.array([rows]))
    _dataset(file, "done", (1,), "int64").write_direct(np.zeros(1, "int64"))


def _dataset(file: Any, name: str, shape: tuple[int, ...], kind: str) -> Any:
    """A contiguous dataset whose room is taken at once, so that nothing moves later."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    dtype = h5py.h5t.py_create(_in_file(dtype_of(kind)), logical=True)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), dtype, space, settings))


def open_table(
    path: str | os.PathLike[str], write: bool
) -> tuple["Hdf5Table", dict[str, str], dict[str, Any]]:
    """The table in a file, its key and its columns.

    Raises:
        FileNotFoundError: If there is no file.
        StoreBusy: If another process is writing it.
        ValueError: If it is not a file of ours, is damaged, or is of a newer version.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"`path` does not exist. `cache_features` writes such a file. Received: path={path!r}"
        )
    file = _opened(path, "r")
    try:
        head = _read_head(file, path)
        complete = int(file["done"][0]) == head[0]
        if write and not complete:
            file.close()
            file = _opened(path, "r+")
        table = Hdf5Table(path, file, head[0], writable=write and not complete)
    except (KeyError, json.JSONDecodeError, RecursionError) as error:
        file.close()
        raise ValueError(_damaged(path)) from error
    except (ValueError, OSError):
        file.close()
        raise
    return table, head[1], head[2]


def _opened(path: str | os.PathLike[str], mode: str) -> Any:
    try:
        return h5py.File(path, mode, locking=True)
    except BlockingIOError as error:
        raise StoreBusy(
            "`path` is being written by another process. Wait until it has finished, or give "
            f"another path. Received: path={os.fspath(path)!r}"
        ) from error
    except PermissionError as error:
        raise PermissionError(
            "`path` may not be read, or not be written to. Change its permissions, or give another "
            f"path. Received: path={os.fspath(path)!r}"
        ) from error
    except OSError as error:
        if "unable to lock" in str(error) or error.errno == errno.EAGAIN:
            raise StoreBusy(
                "`path` is being written by another process. Wait until it has finished, or give "
                f"another path. Received: path={os.fspath(path)!r}"
            ) from error
        raise ValueError(_damaged(path)) from error


def _damaged(path: Any) -> str:
    return (
        "`path` is not an HDF5 file of features, or is truncated. It is left as it is; give "
        f"another path, or delete it. Received: path={os.fspath(path)!r}"
    )


def _read_head(file: Any, path: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
    if file.attrs.get("kind") != _KIND:
        raise ValueError(
            "`path` is an HDF5 file, but not one of features. It is left as it is; give another "
            f"path. Received: path={os.fspath(path)!r}"
        )
    if file.attrs["format"] > _FORMAT:
        raise ValueError(
            f"`path` was written by a newer finetunekit, in format {file.attrs['format']}; this "
            f"one reads up to {_FORMAT}. Update it, or give another path. "
            f"Received: path={os.fspath(path)!r}"
        )
    key, columns = json.loads(file.attrs["key"]), json.loads(file.attrs["columns"])
    return int(file["rows"][0]), key, columns


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The entries of a key that do not fit; "any" fits all."""
    return [
        name
        for name in {**wanted, **found}
        if name != BESIDE and wanted.get(name) not in (found.get(name), "any")
    ]


def check_key(path: Any, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raises if the features are of something else.

    Raises:
        StoreMismatch: Naming what differs.
    """
    names = differences(found, wanted)
    if names:
        raise mismatch(
            path,
            [
                f"other {name}"
                if len(found.get(name, "")) == 64
                else f"other {name} ({found.get(name, 'none')}, now {wanted.get(name, 'none')})"
                for name in names
            ],
        )


def mismatch(path: Any, differences: list[str]) -> StoreMismatch:
    """The error for features of something else."""
    return StoreMismatch(
        f"`path` holds features of {' and '.join(differences)}; they are not used, and not "
        "touched. Give another path, or delete it with `clear_cache(path)`. "
        f"Received: path={os.fspath(path)!r}"
    )


def validation_path(path: str | os.PathLike[str]) -> Path:
    """Where the features of the validation samples stand beside those of a fit."""
    target = Path(path)
    return target.with_suffix(f".validation{target.suffix}")


class Hdf5Table:
    """The rows in a file. They are read past HDF5, whose selections are slow."""

    def __init__(self, path: Any, file: Any, rows: int, *, writable: bool) -> None:
        self.rows = rows
        self.done = int(file["done"][0])
        self._path = path
        self._sets = {name: file[name] for name in file if name not in _COUNTS}
        self._places = {
            name: (d.id.get_offset() or 0, d.shape, d.dtype) for name, d in self._sets.items()
        }
        self._file = file if writable else None
        self.names = set(self._places)
        self._descriptor = os.open(path, os.O_RDONLY)
        size = os.fstat(self._descriptor).st_size
        ends = [
            o + int(np.prod(s, dtype=np.int64)) * k.itemsize for o, s, k in self._places.values()
        ]
        if not writable:
            self._sets = {}
            file.close()  # And with it the lock: what is complete has many readers.
        if not 0 <= self.done <= rows or max(ends, default=0) > size:
            self.close()
            raise ValueError(_damaged(path))

    def write(self, name: str, first: int, values: np.ndarray) -> None:
        """Writes rows; they count once `set_done` says so."""
        with _telling_full(self._path, values.nbytes):
            self._sets[name][first : first + len(values)] = values.view(_in_file(values.dtype))

    def set_done(self, done: int) -> None:
        """Brings the rows to the file, then their number."""
        if self._file is None:
            raise ValueError("The store was not opened for writing.")
        with _telling_full(self._path, 0):
            self._file.flush()
            self._file["done"][0] = done
            self._file.flush()
        self.done = done
        if done == self.rows:  # From now on it has many readers.
            self._sets = {}
            self._file.close()
            self._file = None

    def set_rows(self, rows: int) -> None:
        """Makes do with fewer rows than there is room for."""
        if self._file is not None:
            self._file["rows"][0] = rows
            self.rows = rows
            self.set_done(self.done)

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows in any order, those close to each other in one go."""
        offset, shape, kind = self._places[name]
        values = np.empty((len(rows), *shape[1:]), kind)
        each = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
        flat = values.reshape(-1).view(np.uint8)
        start = 0
        while start < len(rows) and each:
            stop = start + 1
            while stop < len(rows) and rows[stop] == rows[stop - 1] + 1:
                stop += 1
            self._fill(flat[start * each : stop * each].data, offset + int(rows[start]) * each)
            start = stop
        return values

    def _fill(self, target: memoryview, place: int) -> None:
        while target:
            count = os.preadv(self._descriptor, [target[: 1 << 30]], place)
            if not count:
                raise ValueError(_damaged(self._path))
            target, place = target[count:], place + count

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._file is not None:
            self._file.close()
            self._file = None


def read_key(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the features in a file are of.

    Raises:
        ValueError: If it is not such a file.
    """
    table, key, _ = open_table(path, write=False)
    table.close()
    return key


@contextlib.contextmanager
def _telling_full(path: Any, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # HDF5 puts the number into its text only.
        numbers = {error.errno} | {n for n in _FULL if f"errno = {n}" in str(error)}
        if numbers & _FULL:
            raise OSError(errno.ENOSPC, _no_room(path, size)) from error
        raise


def _no_room(path: Any, size: int) -> str:
    free = shutil.disk_usage(Path(path).parent).free
    return (
        f"`path` lies on a disk with {free / 1e6:,.0f} MB free, and {size / 1e6:,.0f} MB are "
        "needed. Make room, give a path on another disk, or keep the features in memory. "
        f"Received: path={os.fspath(path)!r}"
    )


def _check_folder(target: Path, size: int) -> None:
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`path` lies in a folder that does not exist. Make it first. "
            f"Received: path={str(target)!r}"
        )
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            f"`path` lies in a folder that cannot be written to. Give another path. "
            f"Received: path={str(target)!r}"
        )
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, _no_room(target, size))


def _remove_leftovers(target: Path) -> None:
    """Removes the drafts of processes that were killed."""
    for draft in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        process = draft.name.split(".")[-2]
        if process.isdigit() and not _is_alive(int(process)):
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
