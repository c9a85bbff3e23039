"""A prepared LiteRT engine in a file beside features, found again by the hash of its prefix."""

import contextlib
import importlib.metadata
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finetunekit.caching.litert import ConvertedPrefix
from finetunekit.foundation import hashing
from finetunekit.foundation.messages import warn
from finetunekit.foundation.partial_files import partial_file

# What a file that is absent, damaged or of use to nobody here raises.
_NONE = (
    *(OSError, ValueError, KeyError, EOFError, ImportError, RecursionError),
    *(zipfile.BadZipFile, zlib.error),
)


def path_of(folder: str, key: Mapping[str, str]) -> str:
    """Where the engine of a prefix is kept.

    Args:
        folder: The folder of the features.
        key: That of the prefix, `identity.prefix_key`.
    """
    name = hashing.text_digest(json.dumps(dict(key), sort_keys=True))[:16]
    return os.path.join(folder, f"finetunekit-engine-{name}.npz")


def write(folder: str, key: Mapping[str, str], made: Mapping[Any, Any]) -> None:
    """Keeps an engine, in the place of an older one of this prefix.

    Args:
        folder: The folder of the features.
        key: That of the prefix.
        made: Shapes, dtypes and size of a batch -> the prefix converted for it.
    """
    arrays: dict[str, Any] = {"facts": _facts(key)}
    for number, (batch, converted) in enumerate(made.items()):
        arrays[f"batch_{number}"] = json.dumps(batch)
        arrays[f"model_{number}"] = np.frombuffer(converted.content, np.uint8)
    try:
        with partial_file(path_of(folder, key), ".npz") as name:
            np.savez(name, **arrays)
    except OSError as error:  # Features can do without it.
        warn(f"the prepared engine is not kept: {error}")


def read(folder: str, key: Mapping[str, str]) -> dict[Any, ConvertedPrefix] | None:
    """The engine of this very prefix; None if there is none, or it cannot be used."""
    try:
        # Opened here, for a damaged file is not closed by `np.load`.
        with (
            open(path_of(folder, key), "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            if str(arrays["facts"]) != _facts(key):
                return None
            count = sum(name.startswith("model_") for name in arrays.files)
            return {
                _tuples(json.loads(str(arrays[f"batch_{n}"]))): ConvertedPrefix(
                    arrays[f"model_{n}"].tobytes()
                )
                for n in range(count)
            }
    except _NONE:
        return None


def remove(folder: str, key: Mapping[str, str]) -> None:
    """Deletes the engine of a prefix, if one is kept."""
    with contextlib.suppress(FileNotFoundError):
        Path(path_of(folder, key)).unlink()


def _facts(key: Mapping[str, str]) -> str:
    version = importlib.metadata.version("ai-edge-litert")
    return json.dumps({**key, "ai-edge-litert": version}, sort_keys=True)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
