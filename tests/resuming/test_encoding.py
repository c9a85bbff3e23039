"""Do values come back as they were: type, dtype, byte order, order in memory?"""

from __future__ import annotations

import collections
import enum
import json
import math
import pathlib
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.resuming import encoding


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    TWO = 2


class Word(enum.StrEnum):
    ONE = "one"


def there_and_back(value: Any) -> Any:
    text, arrays = encoding.to_json(value)
    return encoding.from_json(json.loads(json.dumps(text)), lambda number: arrays[number])


BFLOAT = keras.ops.convert_to_numpy(keras.ops.cast([[1.5, -2.0], [3.0, 4.0]], "bfloat16"))
FIELDS = np.dtype([("a", "<i4"), ("b", "<U3"), ("c", ">f8", (2,))])


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.array(["a", "bcd", "é"]), id="text"),
        pytest.param(np.array([b"x", b"yz"]), id="bytes"),
        pytest.param(np.array([1, 258], ">i4"), id="big-endian"),
        pytest.param(np.array([1.5, 2.5], ">f8"), id="big-endian float"),
        pytest.param(BFLOAT, id="bfloat16"),
        pytest.param(BFLOAT.T, id="bfloat16 turned"),
        pytest.param(BFLOAT[:0], id="bfloat16 empty"),
        pytest.param(np.asfortranarray(np.arange(6.0).reshape(2, 3)), id="Fortran"),
        pytest.param(np.arange(6)[::-2], id="strided"),
        pytest.param(np.zeros((0, 3), "float16"), id="empty"),
        pytest.param(np.array(3), id="0-d"),
        pytest.param(np.array([1 + 2j, math.nan]), id="complex"),
        pytest.param(np.array([math.nan, -math.inf, -0.0]), id="nan"),
        pytest.param(np.ones(2, FIELDS), id="fields"),
        pytest.param(np.array(["2020-01-02"], "M8[D]"), id="dates"),
        pytest.param(np.array([True, False]), id="bool"),
    ],
)
def test_arrays(array: np.ndarray) -> None:
    found = there_and_back({"held": array})["held"]
    assert found.dtype == array.dtype
    assert found.dtype.byteorder == array.dtype.byteorder
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.f_contiguous == array.flags.f_contiguous or not array.flags.f_contiguous
    found[...] = found  # It can be written to.


def test_arrays_of_objects() -> None:
    array = np.array([["a", None], [[1, 2], [3, 4]]], object)
    found = there_and_back(array)
    assert found.dtype == object
    assert found.tolist() == array.tolist()
    rows = np.empty(2, object)
    rows[:] = [[1, 2], [3, 4]]
    assert there_and_back(rows).shape == (2,)
    assert there_and_back(np.array({"a": 1}, object))[()] == {"a": 1}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        10**40,
        0.1,
        -0.0,
        math.inf,
        "text\n\0",
        b"\0\xff",
        1 - 2j,
        [1, (2, [3]), {}],
        (),
        {1: "a", (1, 2): "b", None: "c", False: "d", 1.5: "e", "list": [1], "array": 0},
        # The order in which a set is printed differs between processes.
        pytest.param({1, "a", (2, 3)}, id="set"),
        frozenset({1}),
        collections.OrderedDict(b=1, a=2),
        collections.Counter("aab"),
        collections.deque([1, 2], maxlen=2),
        collections.deque(),
        pathlib.Path("a") / "b",
        Colour.RED,
        Number.TWO,
        Word.ONE,
        np.float32(0.1),
        np.int64(-1),
        np.bool_(True),
        np.str_("a"),
        np.datetime64("2020-01-02"),
        np.complex64(1j),
    ],
    ids=repr,
)
def test_other_values(value: Any) -> None:
    found = there_and_back(value)
    assert type(found) is type(value)
    assert found == value
    assert isinstance(value, (set, frozenset)) or repr(found) == repr(value)
    assert getattr(found, "maxlen", 0) == getattr(value, "maxlen", 0)
    assert getattr(found, "dtype", None) == getattr(value, "dtype", None)


def test_nan_and_tensors() -> None:
    assert math.isnan(there_and_back([math.nan])[0])
    found = there_and_back(keras.ops.cast([1.5], "bfloat16"))
    assert isinstance(found, np.ndarray)
    assert (found.dtype.name, float(found[0])) == ("bfloat16", 1.5)
    scalar = there_and_back(keras.ops.cast(keras.ops.ones(()), "bfloat16"))
    assert (scalar.dtype.name, scalar.shape, float(scalar)) == ("bfloat16", (), 1.0)


class Mine(list):
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        ([{"a": {lambda: 0}}], "function"),
        (Mine(), "Mine"),
        (collections.defaultdict(list), "defaultdict"),
        (np.ma.masked_array([1]), "MaskedArray"),
        (np.zeros(1, [("a", object)]), "array of"),
        (keras.Variable(1.0), "Variable"),
    ],
)
def test_what_cannot_be_held(value: Any, name: str) -> None:
    with pytest.raises(encoding.Unstorable, match=name):
        encoding.to_json(value)


def test_an_enum_that_is_not_loaded_is_not_imported() -> None:
    for row in (["no.such", "A", "B"], ["os", "path", "B"], [__name__, "Colour.Inner", "B"]):
        with pytest.raises(ValueError, match="not loaded"):
            encoding.from_json({"enum": row}, lambda number: b"")
