"""The reader of safetensors files: a JSON header, followed by the data."""

import json
import os
from typing import Any

import numpy as np

from finetunekit.backbones.checkpoints.pickles import Refused

_LARGEST_HEADER = 100 * 2**20  # The format's own bound.
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read(path: str) -> dict[str, np.ndarray]:
    """Name -> array, in the order of the file.

    Raises:
        Refused: If it is damaged.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_LARGEST_HEADER, size - 8):
            raise Refused("its header is longer than the file")
        header = _header(file.read(length))
        found, end, room = {}, 0, size - 8 - length
        for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
            start, stop = _offsets(entry)
            if start != end or stop > room:
                raise Refused(f"the data of {name!r} are out of bounds")
            end = stop
            found[name] = _array(file.read(stop - start), entry, name)
        if end != room:
            raise Refused("it holds data that belong to no tensor, or is truncated")
    return found


def _header(content: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Refused("its header names something twice")
        return found

    try:
        header = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise Refused(f"its header is not JSON ({type(error).__name__})") from error
    if not isinstance(header, dict):
        raise Refused("its header is not a JSON object")
    header.pop("__metadata__", None)
    return header


def _offsets(entry: Any) -> tuple[int, int]:
    found = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(found, list) or len(found) != 2 or not all(type(n) is int for n in found):
        raise Refused("its header has no data offsets")
    if not 0 <= found[0] <= found[1]:
        raise Refused("its header has data offsets in the wrong order")
    return found[0], found[1]


def _array(content: bytes, entry: dict[str, Any], name: str) -> np.ndarray:
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise Refused(f"{name!r} has the shape {shape}")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise Refused(f"{name!r} has the dtype {dtype!r}, which numpy does not have")
    count = 1
    for n in shape:
        count *= n
    if count * np.dtype(_DTYPES[dtype]).itemsize != len(content):
        raise Refused(f"{name!r} does not have the number of bytes that its shape {shape} needs")
    numbers = np.frombuffer(content, _DTYPES[dtype])
    if dtype == "BF16":
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    return numbers.reshape(shape)
