"""How is a checkpoint written? A zip of JSON and raw arrays, whole or not at all."""

import contextlib
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

VERSION = 1
_STATE = "state.json"


class Unstorable(Exception):
    """A value that is neither numbers, nor text, nor made of them."""


def encode(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON; its arrays go into the list.

    Raises:
        Unstorable: If it holds anything else.
    """
    if value is None or isinstance(value, (bool, str)) or type(value) in (int, float):
        return value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    elif keras.ops.is_tensor(value) and not isinstance(value, keras.Variable):
        value = np.array(keras.ops.convert_to_numpy(value))
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        arrays.append(value)
        return {"array": len(arrays) - 1, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(part, arrays) for part in value]}
    if type(value) is dict:
        rows = value.items()
        return {"dict": [[encode(k, arrays), encode(part, arrays)] for k, part in rows]}
    raise Unstorable(type(value).__name__)


def _decode(value: Any, file: zipfile.ZipFile) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        data = file.read(f"array{value['array']}")
        found = np.frombuffer(data, np.dtype(value["dtype"])).reshape(value["shape"]).copy()
        return found
    if "dict" in value:
        return {_decode(k, file): _decode(part, file) for k, part in value["dict"]}
    if "list" in value:
        return [_decode(part, file) for part in value["list"]]
    return tuple(_decode(part, file) for part in value["tuple"])


def write(path: str, state: dict[str, Any]) -> None:
    """Writes a state beside an older one, which it replaces once it is whole and on the disk."""
    arrays: list[np.ndarray] = []
    text = json.dumps({"version": VERSION, "state": encode(state, arrays)})
    handle, partial = tempfile.mkstemp(prefix=".saving-", dir=os.path.dirname(path) or ".")
    try:
        with os.fdopen(handle, "wb") as raw:
            with zipfile.ZipFile(raw, "w") as file:
                for number, array in enumerate(arrays):
                    file.writestr(f"array{number}", np.ascontiguousarray(array).tobytes())
                file.writestr(_STATE, text)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def read(path: str, name: str) -> dict[str, Any]:
    """The state in a file.

    Raises:
        ValueError: If it is no checkpoint, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            record = json.loads(file.read(_STATE))
            if record["version"] > VERSION:
                raise ValueError("it was written by a newer finetunekit")
            state: dict[str, Any] = _decode(record["state"], file)
            return state
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"`{name}` is no whole checkpoint of `callbacks.Checkpoint` "
            f"({type(error).__name__}: {str(error)[:200]}). Begin "
            f"anew without it, or with {Path(path).name}.previous if there is one. "
            f"Received: {name}={path!r}"
        ) from error
