"""Writes what `torch.save` writes, without torch: checkpoints for tests, and hostile ones."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Global:
    """Pickled as the name of a module's member."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Called:
    """Pickled as the call of a member."""

    def __init__(self, module: str, name: str, *args: Any) -> None:
        self.function, self.args = Global(module, name), args


class Storage:
    """Pickled as a persistent id."""

    def __init__(self, array: np.ndarray, key: str, old: bool, count: int | None = None) -> None:
        self.array, self.key, self.old = array, key, old
        self.count = array.size if count is None else count


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """The one in Python, since it can be told to write names of modules that are not here."""

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        kind = Global("torch", _KINDS[str(value.array.dtype)])
        return ("storage", kind, value.key, "cpu", value.count, *([None] if value.old else []))

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Called):
            self.save(value.function)
            self.save(tuple(value.args))
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2, as torch writes it."""
    file = io.BytesIO()
    _Pickler(file, 2).dump(value)
    return file.getvalue()


def tensor(
    array: np.ndarray,
    key: str,
    *,
    old: bool = False,
    size: Any = None,
    stride: Any = None,
    offset: int = 0,
    count: int | None = None,
) -> Called:
    """A tensor that is all of its storage, unless said."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return Called(
        "torch._utils",
        "_rebuild_tensor_v2",
        Storage(array, key, old, count),
        offset,
        array.shape if size is None else size,
        strides if stride is None else stride,
        False,
        collections.OrderedDict(),
    )


def storages(value: Any) -> dict[str, np.ndarray]:
    """The arrays of all tensors inside."""
    if isinstance(value, Called):
        return {key: array for part in value.args for key, array in storages(part).items()}
    if isinstance(value, Storage):
        return {value.key: value.array}
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return {}
    return {key: array for part in value for key, array in storages(part).items()}


def write_zip(path: Path, value: Any, **more: bytes) -> Path:
    """The format since torch 1.6."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("archive/data.pkl", pickled(value))
        for key, array in storages(value).items():
            file.writestr(f"archive/data/{key}", array.tobytes())
        file.writestr("archive/version", b"3\n")
        for name, content in more.items():
            file.writestr(f"archive/{name}", content)
    return path


def write_row(path: Path, value: Any) -> Path:
    """The format before."""
    found = storages(value)
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    with open(path, "wb") as file:
        for part in (*head, value, sorted(found)):
            file.write(pickled(part))
        for key in sorted(found):
            file.write(struct.pack("<q", found[key].size) + found[key].tobytes())
    return path


def state(arrays: dict[str, np.ndarray], *, old: bool = False) -> dict[str, Any]:
    """A state dict of whole tensors."""
    return collections.OrderedDict(
        (name, tensor(np.array(array, order="C"), str(number), old=old))
        for number, (name, array) in enumerate(arrays.items())
    )


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Arrays as `torch.save` writes a state dict."""
    return write_zip(path, state(arrays))
