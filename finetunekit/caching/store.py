"""Stores of features: a table with a row for each sample, in memory or in an HDF5 file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetunekit.caching import hdf5_table

BLOCK = 4 << 20  # Bytes that are written at a time: what a kill may cost.
DIGEST = 16
_DIGESTS = "digests"
_ALIGNED = 64


@dataclass(frozen=True)
class Column:
    """What one feature of a sample is.

    Attributes:
        shape: Without the axis of the samples.
        dtype: As it is given back.
        stored: The dtype in the store, if it is another one: float32 may be kept as float16.
    """

    shape: tuple[int, ...]
    dtype: str
    stored: str | None = None

    @property
    def kept(self) -> str:
        """The dtype in the store."""
        return self.stored or self.dtype

    @property
    def row_bytes(self) -> int:
        """The size of a row in the store."""
        itemsize = hdf5_table.dtype_of(self.kept).itemsize
        return int(np.prod(self.shape, dtype=np.int64)) * itemsize


def size_of(columns: Mapping[str, Column], rows: int) -> int:
    """The bytes that a store of so many rows takes."""
    return rows * sum(column.row_bytes for column in columns.values())


class FeatureStore:
    """Rows of features, filled from the first to the last; in memory or in an HDF5 file.

    A file survives a kill at any moment: after it has been made, only numbers are written, and
    the count of valid rows last. It never holds features of two kinds: its key is compared when
    it is opened. Make one with `in_memory`, `create` or `open`.

    Attributes:
        columns: Name -> what it holds.
        rows: How many rows there is room for.
        done: How many rows are filled.
        key: Of what the features are.
        path: The file, or None.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        rows: int,
        key: Mapping[str, str],
        table: Any,
        path: str | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.rows = rows
        self.key = dict(key)
        self.path = path
        self._table = table
        self.done: int = table.done
        self._block = max(1, BLOCK // max(1, size_of(columns, 1)))
        self._waiting: list[dict[str, np.ndarray]] = []
        self._digests: dict[bytes, int] | None = None
        self._has_digests = _DIGESTS in table.names

    @classmethod
    def in_memory(
        cls,
        columns: Mapping[str, Column],
        rows: int,
        key: Mapping[str, str],
        *,
        digests: bool = False,
    ) -> "FeatureStore":
        """An empty store in memory."""
        return cls(columns, rows, key, _Arrays(_layout(columns, digests), rows))

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        columns: Mapping[str, Column],
        rows: int,
        key: Mapping[str, str],
        *,
        digests: bool = False,
    ) -> "FeatureStore":
        """An empty store in a new file of its full size.

        Raises:
            FileExistsError: If there is a file already.
            OSError: If the disk is full, or the folder is missing or read-only.
            StoreBusy: If another process is writing it.
        """
        description = {n: [list(c.shape), c.dtype, c.stored] for n, c in columns.items()}
        table = hdf5_table.create(path, _layout(columns, digests), rows, dict(key), description)
        return cls(columns, rows, key, table, os.fspath(path))

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        key: Mapping[str, str] | None = None,
        *,
        write: bool = False,
    ) -> "FeatureStore":
        """The store in a file; `write=True` to go on with an unfinished one.

        Raises:
            StoreMismatch: If it holds features of something else than `key` says.
            StoreBusy: If another process is writing it.
            ValueError: If it is not such a file.
            FileNotFoundError: If there is none.
        """
        table, found, description = hdf5_table.open_table(path, write)
        try:
            if key is not None:
                hdf5_table.check_key(path, found, key)
        except ValueError:
            table.close()
            raise
        columns = {n: Column(tuple(s), dtype, kept) for n, (s, dtype, kept) in description.items()}
        return cls(columns, table.rows, found, table, os.fspath(path))

    def __len__(self) -> int:
        """How many rows are filled."""
        return self.done

    def __enter__(self) -> "FeatureStore":
        """Gives the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    @property
    def complete(self) -> bool:
        """Whether all rows are filled."""
        return self.done == self.rows

    @property
    def nbytes(self) -> int:
        """The size of all rows."""
        return size_of(self.columns, self.rows)

    def append(self, values: Mapping[str, np.ndarray], digests: np.ndarray | None = None) -> None:
        """Adds rows after the last one.

        Args:
            values: For each column its rows.
            digests: For each row 16 bytes that stand for its sample.

        Raises:
            ValueError: If columns, shapes or the number of rows do not fit, or values overflow.
            OSError: If the disk is full.
        """
        rows = self._checked(values)
        count = len(next(iter(rows.values())))
        if self._has_digests:
            found = np.asarray([] if digests is None else digests, np.uint8)
            if found.shape != (count, DIGEST):
                raise ValueError(
                    f"`digests` must hold {DIGEST} bytes for each row, as the store was made with "
                    f"digests. Received: digests of shape {found.shape} for {count} rows"
                )
            rows[_DIGESTS] = found.copy()
            if self._digests is not None:
                self._digests.update(_numbered(found, self.done))
        self._waiting.append(rows)
        self.done += count
        if self.path is None or self.done - self._table.done >= self._block or self.complete:
            self.flush()

    def flush(self) -> None:
        """Writes what was appended, then the count of rows."""
        if not self._waiting:
            return
        for name in self._waiting[0]:
            parts = np.concatenate([rows[name] for rows in self._waiting])
            self._table.write(name, self._table.done, parts)
        self._table.set_done(self.done)
        self._waiting = []

    def finish(self) -> None:
        """Takes the rows that are filled for all there are."""
        self.flush()
        self.rows = self.done
        self._table.set_rows(self.done)

    def read(self, column: str, rows: np.ndarray | slice) -> np.ndarray:
        """Rows of a column, in any order.

        Raises:
            IndexError: If one of them is not filled.
        """
        numbers = np.arange(self.done)[rows] if isinstance(rows, slice) else np.asarray(rows)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self.done:
            raise IndexError(
                f"`rows` must lie in the {self.done} rows that are filled. Received: rows from "
                f"{numbers.min()} to {numbers.max()}"
            )
        if len(numbers) and numbers.max() >= self._table.done:
            self.flush()
        values: np.ndarray = self._table.read(column, numbers)
        kept = hdf5_table.dtype_of(self.columns[column].kept)
        values = values if values.dtype == kept else values.view(kept)  # The bits in a file.
        kind = self.columns[column].dtype
        return values if str(values.dtype) == kind else values.astype(kind)

    def array(self, column: str) -> np.ndarray | None:
        """A whole column without a copy, if it is in memory as it is given back."""
        if self.path is not None or self.columns[column].stored:
            return None
        values: np.ndarray = self._table.arrays[column][: self.done]
        return values

    def digest_rows(self) -> dict[bytes, int]:
        """Digest -> row, of the samples whose digest was noted."""
        if self._digests is None:
            self.flush()
            found = self._table.read(_DIGESTS, np.arange(self.done))
            self._digests = _numbered(found, 0)
        return self._digests

    def close(self) -> None:
        """Writes what is waiting and lets go of the file."""
        try:
            self.flush()
        finally:
            self._table.close()

    def _checked(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if set(values) != set(self.columns):
            raise ValueError(
                f"`values` must have the columns {list(self.columns)}. "
                f"Received: values with {list(values)}"
            )
        counts = {len(part) for part in values.values()} or {0}
        if len(counts) > 1 or self.done + max(counts) > self.rows:
            raise ValueError(
                f"`values` must have the same number of rows in each column, at most "
                f"{self.rows - self.done}: the store was made for {self.rows}. "
                f"Received: values with {sorted(counts)} rows"
            )
        return {name: _cast(part, name, self.columns[name]) for name, part in values.items()}


def _cast(part: np.ndarray, name: str, column: Column) -> np.ndarray:
    part = np.asarray(part)
    if part.shape[1:] != column.shape or str(part.dtype) != column.dtype:
        raise ValueError(
            f"`values[{name!r}]` must be {column.dtype} with rows of shape {column.shape}. "
            f"Received: {part.dtype} of shape {part.shape}"
        )
    if column.stored is None:
        return part.copy()  # It may wait for its block, and the caller may go on with the array.
    with np.errstate(over="ignore"):
        kept = part.astype(column.stored)
    beyond = np.isinf(kept) & np.isfinite(part)
    if beyond.any():
        raise ValueError(
            f"`values[{name!r}]` holds numbers beyond what {column.stored} can hold; keep the "
            f"features as float32. Received: a value of {part[beyond][0]:.3g}"
        )
    return kept


def _layout(columns: Mapping[str, Column], digests: bool) -> dict[str, tuple[tuple[int, ...], str]]:
    layout = {name: (column.shape, column.kept) for name, column in columns.items()}
    return layout | ({_DIGESTS: ((DIGEST,), "uint8")} if digests else {})


def _numbered(digests: np.ndarray, first: int) -> dict[bytes, int]:
    return {row.tobytes(): first + number for number, row in enumerate(digests)}


class _Arrays:
    """The rows in memory, aligned so that TensorFlow can take them without a copy."""

    def __init__(self, layout: dict[str, tuple[tuple[int, ...], str]], rows: int) -> None:
        self.done = 0
        self.arrays = {name: _empty((rows, *shape), kind) for name, (shape, kind) in layout.items()}
        self.names = set(self.arrays)

    def write(self, name: str, first: int, values: np.ndarray) -> None:
        self.arrays[name][first : first + len(values)] = values

    def set_done(self, done: int) -> None:
        self.done = done

    def set_rows(self, rows: int) -> None:
        """The room stays taken."""

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        values: np.ndarray = self.arrays[name][rows]
        return values

    def close(self) -> None:
        """Nothing is open."""


def _empty(shape: tuple[int, ...], kind: str) -> np.ndarray:
    dtype = hdf5_table.dtype_of(kind)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    first = -memory.ctypes.data % _ALIGNED
    return memory[first : first + size].view(dtype).reshape(shape)
