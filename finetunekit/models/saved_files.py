"""The contents of `.keras` and HDF5 files, and the member that `save` adds."""

import json
import re
import zipfile
from typing import Any

import keras

from finetunekit.foundation import archives
from finetunekit.foundation.messages import warn
from finetunekit.models import declared_sizes, keras3_files, metadata, model_state, record_arrays
from finetunekit.text import tokenizer as tokenizers

MEMBER = "finetunekit.json"
_TOKENIZER = "finetunekit_tokenizer/"
_LARGEST_MEMBER = 16 * 2**20
_LARGEST_TOKENIZER = 256 * 2**20
_VERSION = 1


def read_model(
    path: str,
    name: str,
    *,
    custom_objects: Any = None,
    safe_mode: bool = True,
    compile: bool = True,
) -> keras.Model:
    """Keras' `load_model` with faults in words; a model whose compile() fails comes uncompiled."""
    with keras3_files.readable(path, name) as target:
        declared_sizes.check(target, name, custom_objects=custom_objects, safe_mode=safe_mode)
        return _read(target, path, name, custom_objects, safe_mode, compile)


def _read(
    path: str, shown: str, name: str, custom_objects: Any, safe_mode: bool, compile: bool
) -> Any:
    try:
        return keras.saving.load_model(
            path, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
        )
    except Exception as error:  # Keras raises almost any type for a damaged or foreign file.
        if isinstance(error, PermissionError):
            raise
        if compile:
            model = _read(path, shown, name, custom_objects, safe_mode, False)
            warn(f"{shown}: loaded without its compile() settings ({_first_line(error)})")
            return model
        raise ValueError(explain(shown, name, error)) from error


def explain(path: str, name: str, error: Exception) -> str:
    """The message about a file that Keras could not load, with the cure."""
    text = _first_line(error)
    if "Lambda" in str(error) or "safe_mode" in str(error):
        remedy = "It holds code; if you trust its maker, load it with safe_mode=False. "
    elif "custom_objects" in str(error) or "Could not locate" in str(error):
        found = re.search(r"locate \w+ '(\w+)'", str(error))
        missing = found[1] if found else "Name"
        remedy = f"Give the class it needs: custom_objects={{{missing!r}: {missing}}}. "
    else:
        remedy = (
            "It is damaged, cut short, or of another format: copy it again, or save it anew from "
            "the program that made it. "
        )
    return (
        f"`{name}` cannot be loaded as a Keras model. {remedy}Keras says: {text} "
        f"Received: {name}={path!r}"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("A total of"):  # Keras counts first, then tells.
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0][:600] if lines else ''}"


def read_member(path: str, name: str) -> dict[str, Any] | None:
    """What `save` put into the archive, or None if the file is not from `save`.

    Raises:
        ValueError: If the archive or the member is damaged.
    """
    archives.check(path, name)
    try:
        with zipfile.ZipFile(path) as file:
            if MEMBER not in file.namelist():
                return None
            if file.getinfo(MEMBER).file_size > _LARGEST_MEMBER:
                raise ValueError("its size is absurd")
            record = json.loads(file.read(MEMBER))
    except archives.DAMAGED as error:
        raise ValueError(
            f"`{name}` is not a complete '.keras' archive: it is corrupt, truncated, or of another "
            f"kind ({_first_line(error)}). Copy or save it again. Received: {name}={path!r}"
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get("version"), int):
        raise ValueError(
            f"`{name}` holds a damaged {MEMBER}. Save the model again, or load it with plain "
            f"Keras. Received: {name}={path!r}"
        )
    if record["version"] > _VERSION:
        raise ValueError(
            f"`{name}` was saved by a newer finetunekit. Upgrade: `pip install -U finetunekit`. "
            f"Received: {name}={path!r}"
        )
    return record


def written_by(path: str) -> str:
    """The version of Keras that wrote an archive; empty if it does not tell."""
    try:
        with zipfile.ZipFile(path) as file:
            return str(json.loads(file.read("metadata.json"))["keras_version"])
    except (*archives.DAMAGED, KeyError, TypeError, OSError):
        return ""  # Keras says what is wrong with it.


def write(model: keras.Model, file: zipfile.ZipFile, *, optimizer: bool = True) -> None:
    """Puts what is known about a model into its open archive, its optimizer's progress or not."""
    record = model_state.to_record(model, optimizer=optimizer)
    record_arrays.write(file, MEMBER, {"version": _VERSION, **record})
    tokenizer = metadata.of(model).tokenizer
    if tokenizer is not None:
        for name, content in tokenizer.files().items():
            file.writestr(_TOKENIZER + name, content, zipfile.ZIP_DEFLATED)


def _read_tokenizer(path: str, name: str) -> Any:
    """The tokenizer inside an archive; None if there is none, or it needs what is missing."""
    try:
        with zipfile.ZipFile(path) as file:
            members = [m for m in file.infolist() if m.filename.startswith(_TOKENIZER)]
            if sum(member.file_size for member in members) > _LARGEST_TOKENIZER:
                raise ValueError("the size of its tokenizer is absurd")
            files = {m.filename.removeprefix(_TOKENIZER): file.read(m) for m in members}
        return tokenizers.from_files(files) if files else None
    except ImportError as error:
        warn(f"{path} holds a tokenizer that cannot be made here: {error}")
        return None
    except archives.DAMAGED as error:
        raise ValueError(
            f"`{name}` holds a tokenizer that cannot be read ({_first_line(error)}). Save the "
            f"model again, or load it with plain Keras. Received: {name}={path!r}"
        ) from error


def apply(model: keras.Model, record: dict[str, Any], path: str, name: str) -> None:
    """Puts what `write` wrote back onto a loaded model."""
    tokenizer = _read_tokenizer(path, name) if record.get("tokenizer") else None
    try:
        filled = record_arrays.read(path, record) | {"tokenizer": tokenizer}
        model_state.from_record(model, filled)
    except (KeyError, TypeError, AttributeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`{name}` holds a {MEMBER} that does not fit its model ({_first_line(error)}). Save "
            f"the model again, or load it with plain Keras. Received: {name}={path!r}"
        ) from error
