"""Arrays beside a JSON record in an archive, a member each."""

import json
import zipfile
from typing import Any

import numpy as np

_FOLDER = "finetunekit_arrays/"
_KEYS = {"array", "dtype", "shape"}


def write(file: zipfile.ZipFile, member: str, record: dict[str, Any]) -> None:
    """Writes a record of JSON and arrays into an open archive."""
    arrays: list[np.ndarray] = []

    def held(value: Any) -> dict[str, Any]:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{type(value).__name__} is neither JSON nor an array")
        arrays.append(value)
        return {"array": len(arrays), "dtype": value.dtype.name, "shape": list(value.shape)}

    file.writestr(member, json.dumps(record, indent=1, default=held))
    for number, array in enumerate(arrays, start=1):
        file.writestr(f"{_FOLDER}{number}", np.ascontiguousarray(array).tobytes())


def read(path: str, record: Any) -> Any:
    """The record with its arrays in their places.

    Raises:
        KeyError: If an array is missing.
        TypeError: If one has a type that arrays do not have.
        ValueError: If one is of another size than it should be.
    """
    with zipfile.ZipFile(path) as file:

        def filled(part: Any) -> Any:
            if isinstance(part, list):
                return [filled(each) for each in part]
            if not isinstance(part, dict):
                return part
            if part.keys() != _KEYS:
                return {key: filled(value) for key, value in part.items()}
            content = file.read(f"{_FOLDER}{int(part['array'])}")
            return np.frombuffer(content, np.dtype(part["dtype"])).reshape(part["shape"])

        return filled(record)
