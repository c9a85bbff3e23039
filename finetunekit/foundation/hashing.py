"""Digests of arrays and files."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

_PART = 1 << 24  # Bytes that a thread digests at a time.


def array_digest(array: Any) -> str:
    """The sha256 of an array's or variable's shape, dtype and bytes."""
    values = np.ascontiguousarray(keras.ops.convert_to_numpy(array))
    digest = hashlib.sha256(f"{values.dtype} {values.shape} ".encode())
    digest.update(values.tobytes())
    return digest.hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    """The sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_digest(arrays: Iterable[Any]) -> str:
    """The sha256 of several arrays' shapes, dtypes and bytes, computed on two threads."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(2) as pool:
        for array in arrays:
            values = np.ascontiguousarray(array)
            digest.update(f"{values.dtype} {values.shape} ".encode())
            if values.dtype.hasobject:
                digest.update(repr(values.tolist()).encode())
                continue
            data = values.reshape(-1).view(np.uint8).data
            starts = range(0, len(data), _PART)
            for part in pool.map(
                lambda s, d=data: hashlib.sha256(d[s : s + _PART]).digest(), starts
            ):
                digest.update(part)
    return digest.hexdigest()


def row_digest(parts: list[np.ndarray]) -> bytes:
    """16 bytes that stand for the content of one sample."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        values = np.ascontiguousarray(part)
        digest.update(f"{values.dtype} {values.shape} ".encode())
        digest.update(repr(values.tolist()).encode() if values.dtype.hasobject else values.data)
    return digest.digest()


def text_digest(text: str) -> str:
    """The sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
