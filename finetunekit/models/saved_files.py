"""The contents of `.keras` and HDF5 files, and the member that `save` adds."""

import json
import zipfile
from typing import Any

import keras

from finetunekit.foundation import archives, causes
from finetunekit.foundation.messages import warn
from finetunekit.models import (
    declared_sizes,
    file_configs,
    keras3_files,
    load_errors,
    metadata,
    model_state,
    record_arrays,
)
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
    with (
        keras3_files.readable(path, name) as target,
        file_configs.with_given(target, name, custom_objects, safe_mode=safe_mode) as given,
    ):
        declared_sizes.check(target, name, custom_objects=given[1], safe_mode=safe_mode)
        return _load(path, name, *given, safe_mode=safe_mode, compile=compile)


def _load(
    path: str, name: str, place: str, objects: dict[str, Any], *, safe_mode: bool, compile: bool
) -> keras.Model:
    """Loads the file at `place`; messages tell of the one at `path`."""
    try:
        return keras.saving.load_model(
            place, custom_objects=objects, safe_mode=safe_mode, compile=compile
        )
    except Exception as error:  # Keras raises almost any type for a damaged or foreign file.
        if isinstance(error, PermissionError):
            raise
        if compile:
            model = _load(path, name, place, objects, safe_mode=safe_mode, compile=False)
            warn(f"{path}: loaded without its compile() settings ({causes.cause_of(error)})")
            return model
        raise ValueError(load_errors.explain(path, name, error, objects, safe_mode)) from error


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
