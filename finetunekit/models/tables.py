"""Tables and arrays of objects: their columns, their numbers, and where a value is missing."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

_MISSING = ("NAType", "NaTType")  # Of pandas, which need not be installed.


def is_table(data: Any) -> bool:
    """Whether it is a table with named columns, such as a pandas DataFrame."""
    return all(hasattr(data, name) for name in ("columns", "dtypes", "shape", "__getitem__"))


def columns_of(data: Any) -> list[Any]:
    """The names of a table's columns; empty for anything else."""
    return list(data.columns) if is_table(data) else []


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, pandas' NA and NaT."""
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def missing_in(array: np.ndarray) -> np.ndarray:
    """Where values are missing, as an array of bool of the same shape."""
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype.kind != "O":
        return np.zeros(array.shape, bool)
    found = [is_missing(value) for value in array.ravel()]
    return np.array(found, bool).reshape(array.shape)


def rows_text(rows: Sequence[Any] | np.ndarray, limit: int = 5) -> str:
    """`rows 3, 8 and 9`, or the first of them with the number of those left out."""
    words = [str(int(row)) for row in rows[:limit]]
    if len(rows) == 1:
        return f"row {words[0]}"
    if len(rows) > limit:
        return f"rows {', '.join(words)} and {len(rows) - limit} more"
    return f"rows {', '.join(words[:-1])} and {words[-1]}"


def place_text(index: Sequence[Any], columns: Sequence[Any] = ()) -> str:
    """`sample 3`, or `sample 3, column 'age'` of a table of two axes."""
    sample = f"sample {int(index[0])}"
    if len(index) != 2:
        return sample
    column = int(index[1])
    return f"{sample}, column {columns[column]!r}" if columns else f"{sample}, column {column}"


def as_numbers(array: np.ndarray, name: str, columns: Sequence[Any] = ()) -> np.ndarray:
    """An array of objects that are numbers as one of numbers; any other array as it is.

    Args:
        array: The array.
        name: What the user calls it.
        columns: Names of its columns.

    Raises:
        ValueError: If a value is missing, with its row and column.
    """
    if array.dtype != object or not array.size:
        return array
    holes = missing_in(array)
    if holes.any():
        first = np.argwhere(holes)[0]
        raise ValueError(
            f"`{name}` holds missing values, first in {place_text(first, columns)}. Drop these "
            "samples, or fill them. "
            f"Received: {name} with {int(holes.sum())} missing values, "
            f"in {rows_text(np.flatnonzero(holes.reshape(len(holes), -1).any(axis=1)))}"
        )
    if not all(_is_number(value) for value in array.ravel()):
        return array
    made = np.array(array.tolist())
    return array if made.dtype == object else made


def _is_number(value: Any) -> bool:
    return isinstance(value, (numbers.Real, np.bool_))
