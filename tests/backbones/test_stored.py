"""Does an array of an old file become the weight of today that fits the layer?"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from finetunekit.backbones.keras2.stored import Array, Way

SQUARE = (3, 3)
WAYS = (
    Way(SQUARE, lambda parts: parts[0], "channels_last", False),
    Way(SQUARE, lambda parts: parts[0].T, "channels_first", False, note="turned"),
    Way(SQUARE, lambda parts: parts[0] * 2, None, True),
)
ARRAY = Array("c/kernel", ("c_W",), (SQUARE,), WAYS)


def test_a_plain_one_is_taken_as_it_is(tmp_path: Path) -> None:
    array = Array.plain("d/kernel:0", (2, 3))
    values = np.arange(6.0).reshape(2, 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d/kernel:0"] = values
        (way,) = array.ways_to((2, 3), "channels_last", False)
        assert np.array_equal(array.read(file, way, "source"), values)
    assert way.note == ""
    assert array.ways_to((3, 2), None, False) == []


@pytest.mark.parametrize(
    ("data_format", "transposed", "expected"),
    [
        ("channels_last", False, [WAYS[0]]),
        ("channels_first", False, [WAYS[1]]),
        (None, False, [WAYS[0], WAYS[1]]),
        ("channels_last", True, [WAYS[2]]),
    ],
)
def test_the_layer_decides_where_shapes_do_not(
    data_format: str | None, transposed: bool, expected: list[Way]
) -> None:
    assert ARRAY.ways_to(SQUARE, data_format, transposed) == expected


def test_parts_are_read_and_joined_in_their_order(tmp_path: Path) -> None:
    joined = Way((2, 4), lambda parts: np.concatenate(parts, -1))
    array = Array("r/kernel", ("r_W_i", "r_W_f"), ((2, 2), (2, 2)), (joined,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["r_W_i"], file["r_W_f"] = np.zeros((2, 2)), np.ones((2, 2))
        found = array.read(file, joined, "source")
    assert found.tolist() == [[0, 0, 1, 1]] * 2


def test_another_shape_than_declared_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["c_W"] = np.zeros((3, 4))
        with pytest.raises(ValueError, match="c_W"):
            ARRAY.read(file, WAYS[0], "source")
