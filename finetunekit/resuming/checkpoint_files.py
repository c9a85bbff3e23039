"""Checkpoint files: a zip of JSON and arrays, written whole or not at all."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from finetunekit.foundation import archives
from finetunekit.foundation.partial_files import partial_file
from finetunekit.resuming import encoding

VERSION = 2
_STATE = "state.json"


def write(path: str, state: dict[str, Any]) -> None:
    """Writes a state beside an older one, which it replaces once it is whole and on the disk."""
    text, arrays = encoding.to_json(state)
    with partial_file(path) as partial, open(partial, "wb") as raw:
        with zipfile.ZipFile(raw, "w") as file:
            for number, array in enumerate(arrays):
                file.writestr(f"array{number}", array)
            file.writestr(_STATE, json.dumps({"version": VERSION, "state": text}))
        raw.flush()
        os.fsync(raw.fileno())


def read(path: str, name: str) -> dict[str, Any]:
    """The state in a file.

    Raises:
        ValueError: If it is not a checkpoint, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            record = json.loads(file.read(_STATE))
            if record["version"] != VERSION:
                age = "a newer" if record["version"] > VERSION else "an older"
                raise ValueError(f"it was written by {age} finetunekit")
            state: dict[str, Any] = encoding.from_json(
                record["state"], lambda number: file.read(f"array{number}")
            )
            return state
    except (*archives.DAMAGED, KeyError, TypeError) as error:
        raise ValueError(
            f"`{name}` is not a complete checkpoint of `callbacks.Checkpoint` "
            f"({type(error).__name__}: {str(error)[:200]}). Begin "
            f"anew without it, or with {Path(path).name}.previous if there is one. "
            f"Received: {name}={path!r}"
        ) from error
