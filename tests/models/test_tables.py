"""Tables and objects: numbers stay numbers, and a hole is named by row and column."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas
import pytest

import finetunekit as ftk
from finetunekit.models import inputs, tables

L = keras.layers


class Table:
    """What is used of a pandas DataFrame."""

    def __init__(self, **columns: Any) -> None:
        self._columns = columns
        self.dtypes = {name: np.asarray(part).dtype for name, part in columns.items()}

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), len(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, name: str) -> Any:
        return np.asarray(self._columns[name])

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        rows = list(zip(*self._columns.values(), strict=True))
        kind = object if any(found.kind == "O" for found in self.dtypes.values()) else dtype
        return np.array(rows, dtype=kind)


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        (None, True), (float("nan"), True), (np.float32("nan"), True), (pandas.NA, True),
        (0, False), ("", False), ("nan", False), (np.inf, False), (False, False),
    ],
)  # fmt: skip
def test_what_stands_for_no_value(value: Any, missing: bool) -> None:
    assert tables.is_missing(value) is missing
    assert tables.missing_in(np.array([value, 1], object)).tolist() == [missing, False]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [([3, 1], "i"), ([3, 0.5], "f"), ([True, False], "b"), ([np.int8(3), 2], "i")],
)
def test_objects_that_are_numbers(given: Any, dtype: str) -> None:
    found = tables.as_numbers(np.array(given, object), "y")
    assert found.dtype.kind == dtype
    assert found.tolist() == given
    assert inputs.to_numpy(np.array(given, object), "y").tolist() == given


def test_other_arrays_stay() -> None:
    for given in (np.array(["a", 1], object), np.arange(3), np.zeros((0,), object)):
        assert tables.as_numbers(given, "y") is given


@pytest.mark.parametrize(
    ("rows", "text"),
    [([3], "row 3"), ([3, 8], "rows 3 and 8"), ([1, 2, 3], "rows 1, 2 and 3"),
     (list(range(9)), "rows 0, 1, 2, 3, 4 and 4 more")],
)  # fmt: skip
def test_rows_in_words(rows: list[int], text: str) -> None:
    assert tables.rows_text(rows) == text


def model_of(*names: str) -> keras.Model:
    columns = {name: keras.Input((1,), name=name) for name in names}
    return keras.Model(columns, L.Dense(1)(L.Concatenate()(list(columns.values()))))


def test_the_place_of_a_hole() -> None:
    alone = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    holes = [
        (Table(age=[1, 2, None], size=[1.0, 2.0, 3.0]), r"first in sample 2, column 'age'"),
        (Table(age=[1.0, np.nan], size=[1.0, 2.0]), r"first in sample 1, column 'age'"),
        (np.array([[1, 2], [3, pandas.NA]], object), r"first in sample 1, column 1\..*in row 1"),
        (np.array([[1, 2], [3, np.inf]]), r"first in sample 1, column 1; one such"),
    ]
    for given, words in holes:
        with pytest.raises(ValueError, match=words):
            inputs.read(given, alone)
    with pytest.raises(ValueError, match=r"`x\['size'\]` holds missing values, first in sample 1"):
        inputs.read(
            Table(age=[1, 2], size=np.array([1, pandas.NA], object)), model_of("age", "size")
        )


def test_columns_go_to_inputs_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """In whatever order they are, and whatever other columns there are."""
    model = model_of("age", "size")
    table = Table(size=[5.0, 6.0], aim=[0.0, 1.0], age=np.array([1, 2], object))
    found = inputs.read(table, model)
    assert {name: part.tolist() for name, part in found.items()} == {"size": [5, 6], "age": [1, 2]}
    assert "no inputs of the model and are left out: 'aim'" in caplog.text
    with pytest.raises(ValueError, match="lacks inputs of the model: 'size'"):
        inputs.read(Table(age=[1.0, 2.0]), model)
    model.compile("sgd", "mse")
    ftk.fit(model, table, np.zeros(2), verbose=0)


def test_real_tables() -> None:
    frame = pandas.DataFrame({"size": [5.0, 6.0], "age": pandas.array([1, None], "Int64")})
    assert tables.is_table(frame)
    assert not tables.is_table(frame["age"])
    with pytest.raises(ValueError, match=r"`x\['age'\]` holds .* first in sample 1"):
        inputs.read(frame, model_of("age", "size"))
    found = inputs.read(frame.fillna({"age": 3}), model_of("age", "size"))
    assert {name: part.tolist() for name, part in found.items()} == {"size": [5, 6], "age": [1, 3]}
