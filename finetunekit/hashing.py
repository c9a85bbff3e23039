"""Is it the same? Digests of arrays and files."""

import hashlib
import os
from typing import Any

import keras
import numpy as np


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
