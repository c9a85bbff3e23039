"""Why Keras could not load a whole-model file, and what helps: in words."""

import contextlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h5py
import keras

from finetunekit.foundation import archives, contents
from finetunekit.foundation.causes import cause_of
from finetunekit.foundation.messages import listed
from finetunekit.models import file_configs


@dataclass(frozen=True)
class Failure:
    """A file that could not be loaded: the error, its text, and how it was asked for."""

    path: str
    error: Exception
    custom_objects: dict[str, Any]
    safe_mode: bool

    @property
    def text(self) -> str:
        """All that Keras said."""
        return str(self.error)


def explain(path: str, name: str, error: Exception, custom_objects: Any, safe_mode: bool) -> str:
    """The message about a file that Keras cannot load.

    Args:
        path: The file.
        name: The argument that the path came by.
        error: What Keras raised.
        custom_objects: What it was given by name.
        safe_mode: Whether it was to refuse code.
    """
    failure = Failure(path, error, dict(custom_objects or {}), safe_mode)
    remedy = next(words for row in _REMEDIES if (words := row(failure)))
    says = f" Keras says: {type(error).__name__}: {cause_of(error, 600)}."
    if remedy == _bytecode(failure):  # It says no more, at length.
        says = ""
    return f"`{name}` cannot be loaded as a Keras model. {remedy}{says} Received: {name}={path!r}"


def _damaged(failure: Failure) -> str:
    """Only where the archive or the HDF5 file itself cannot be read."""
    if fault := contents.mistaken(failure.path):
        return f"It {fault}."
    if is_whole(failure.path):
        return ""
    return "It is damaged or truncated: copy or download it again."


def _incomplete(failure: Failure) -> str:
    """Where an archive is another one than Keras writes."""
    if not zipfile.is_zipfile(failure.path):
        return ""
    with zipfile.ZipFile(failure.path) as archive:
        there = archive.namelist()
    missing = ["config.json"] if "config.json" not in there else []
    if not any(name.startswith("model.weights.") for name in there):
        missing.append("model.weights.h5")
    if not missing:
        return ""
    return (
        f"It is an archive without {listed(missing)}, which every '.keras' file has; there are "
        f"{listed(there, 6) or 'no members'}. Copy it again, or save it anew."
    )


def is_whole(path: str) -> bool:
    """Whether every member of an archive, or every part of an HDF5 file, can be read."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        except (*archives.DAMAGED, OSError, NotImplementedError):
            return False
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, entry: None if _is_readable(entry) else False)
            return True
    except (OSError, RuntimeError, KeyError, ValueError):
        return False


def _is_readable(entry: Any) -> bool:
    """Raises for a data set whose numbers are not there."""
    if isinstance(entry, h5py.Dataset) and entry.size:
        entry[(0,) * entry.ndim], entry[(-1,) * entry.ndim]
    return True


def _bytecode(failure: Failure) -> str:
    if not failure.safe_mode or "lambda" not in failure.text.lower():
        return ""
    if "deserialization of a" not in failure.text:
        return ""
    config = file_configs.read(failure.path)
    names = [
        layer["name"]
        for layer in file_configs.lambda_layers(config)
        if file_configs.is_bytecode(layer["function"])
    ]
    if not names:
        return "It holds Python bytecode; if you trust its maker, load it with safe_mode=False."
    given = ", ".join(f"{name!r}: function" for name in names[:3]) + ", ..." * (len(names) > 3)
    return (
        f"It holds Python bytecode, which could do anything, in the Lambda layers {listed(names)}. "
        f"Give each function by the name of its layer, custom_objects={{{given}}}; or, if you "
        "trust the file's maker and have their version of Python, load it with safe_mode=False."
    )


def _elsewhere(failure: Failure) -> str:
    if not failure.safe_mode or "vocabulary file" not in failure.text:
        return ""
    return (
        "It takes a vocabulary from another file, which is not read, since any file of yours could "
        "stand there; if you trust its maker, load it with safe_mode=False."
    )


def _unsafe(failure: Failure) -> str:
    if not failure.safe_mode or "safe_mode=False" not in failure.text:
        return ""
    return "It asks for what could run code; if you trust its maker, load it with safe_mode=False."


_UNKNOWN = (
    "Could not locate",
    "Unknown ",
    "custom_objects",
    "Cannot deserialize object of type",
    "could not be deserialized",
    "Could not interpret",
)


def _lacking(failure: Failure) -> str:
    if not any(words in failure.text for words in _UNKNOWN):
        return ""
    return lacking(file_configs.read(failure.path), failure.custom_objects)


def lacking(config: Any, custom_objects: dict[str, Any]) -> str:
    """What a config needs besides what Keras and the caller have, in words; empty if nothing."""
    names = file_configs.unknown(config, custom_objects)
    if not names:
        return ""
    wanted = ", ".join(f"{name!r}: {name}" for name in names)
    what = "class or function" if len(names) == 1 else "classes and functions"
    own = dict.fromkeys(key.rpartition(">")[2] for key in custom_objects)
    given = f" (given: {listed(own)})" if own else ""
    return f"Give the {what} that it needs: custom_objects={{{wanted}}}{given}."


def _foreign(failure: Failure) -> str:
    written = _version(failure.path)
    by = f"It was written by Keras {written}, and this is Keras {keras.version()}. "
    return (
        f"{by if written and written != keras.version() else ''}The file itself is whole, but what "
        "it describes does not load here: save it anew from the program that made it, or load it "
        "with the version of Keras that wrote it."
    )


def _version(path: str) -> str:
    """The version of Keras that wrote a file; empty if it does not tell."""
    with contextlib.suppress(*archives.DAMAGED, KeyError, TypeError, OSError):
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as file:
                return str(file.attrs["keras_version"])
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    return ""


_REMEDIES: tuple[Callable[[Failure], str], ...] = (
    _damaged,
    _incomplete,
    _bytecode,
    _elsewhere,
    _unsafe,
    _lacking,
    _foreign,
)
