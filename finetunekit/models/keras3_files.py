"""Files of Keras 3 as Keras reads them: under its endings, and in the spelling of today.

Keras tells formats apart by the ending of the name. Keras 3.0 to 3.10 wrote the only input or
output of a model as a list of one, and always read it without the list; today's Keras would
keep the list. HDF5 files do not say which of their nodes are operations.
"""

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

from finetunekit.foundation import archives, file_kinds
from finetunekit.models import file_configs, keras3_operations

_ENDINGS = {file_kinds.KERAS: (".keras",), file_kinds.HDF5: (".h5", ".hdf5")}
_CONFIG = "config.json"
# Until then, `RandomCrop` cut also at inference.
_CROPS_BEFORE = (3, 8)
_LISTS_BEFORE = (3, 11)


@contextlib.contextmanager
def readable(path: str, name: str) -> Iterator[str]:
    """Yields a path that Keras reads: the file's own, or that of a copy that is removed after.

    Args:
        path: An archive or HDF5 file of Keras 3; of other files, the path is yielded as it is.
        name: The argument that it came by, for the errors.

    Raises:
        ValueError: If one of its layers computes otherwise today.
    """
    kind = file_kinds.kind_of(path)
    endings = _ENDINGS.get(kind or "")
    if endings is None:
        yield path
        return
    config, version = _described(path, kind)
    changed = modern(config, version, path, name)
    if kind == file_kinds.HDF5:
        changed = _with_operations(config if changed is None else changed, changed)
    if changed is None and path.endswith(endings):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="finetunekit-") as folder:
        target = os.path.join(folder, f"model{endings[0]}")
        _copy(path, target, changed)
        try:
            yield target
        except (OSError, ValueError) as error:
            if target not in str(error):
                raise
            # The caller knows the file, not its copy.
            raise type(error)(str(error).replace(target, path)) from error


def _with_operations(config: Any, otherwise: Any) -> Any:
    told = keras3_operations.with_modules(config)
    return told if told != config else otherwise


def modern(config: Any, version: str, path: str, name: str) -> Any:
    """A config as today's Keras writes it; None if it is so already.

    Args:
        config: The config of a model.
        version: The version of Keras that wrote it; empty if it is not known.
        path: The file, for the errors.
        name: The argument that it came by.

    Raises:
        ValueError: If one of its layers computes otherwise today.
    """
    number = _number(version)
    if number is None or not _is_old(version):
        return None
    for layer in file_configs.dicts(config):
        if layer.get("class_name") == "RandomCrop" and number < _CROPS_BEFORE:
            raise ValueError(
                f"`{name}` cannot be loaded: its layer {_name_of(layer)!r} is a RandomCrop of "
                f"Keras {version}, which cut and resized at inference too and does not today. Put "
                "`Resizing(height, width, crop_to_aspect_ratio=True)` in its place there and save "
                f"the model again. Received: {name}={path!r}"
            )
    changed = unlisted(config)
    return changed if changed != config else None


def unlisted(config: Any) -> Any:
    """A copy of a config, in which a model's only input or output is not in a list."""
    changed = json.loads(json.dumps(config))
    for part in file_configs.dicts(changed):
        _modernize(part)
    return changed


def _modernize(part: dict[str, Any]) -> None:
    for key in ("input_layers", "output_layers"):
        ends = part.get(key)
        if isinstance(ends, list) and len(ends) == 1 and isinstance(ends[0], list):
            part[key] = ends[0]
    inner = part.get("config")
    if part.get("class_name") == "RandomRotation" and isinstance(inner, dict):
        inner.pop("value_range", None)  # It never had an effect.


def _number(version: str) -> tuple[int, int] | None:
    parts = version.split(".")[:2]
    if len(parts) < 2 or not all(part.isdecimal() for part in parts) or parts[0] != "3":
        return None
    return int(parts[0]), int(parts[1])


def _name_of(layer: dict[str, Any]) -> str:
    inner = layer.get("config")
    return str(inner.get("name")) if isinstance(inner, dict) else "RandomCrop"


def _described(path: str, kind: str | None) -> tuple[Any, str]:
    """The config of an old or HDF5 file, and the version; nothing of damaged ones."""
    try:
        if kind == file_kinds.HDF5:
            with h5py.File(path, "r") as file:
                version = _text(file.attrs["keras_version"])
                return json.loads(file.attrs["model_config"]), version
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
            return (json.loads(archive.read(_CONFIG)) if _is_old(version) else None), version
    except (*archives.DAMAGED, OSError, KeyError, TypeError, RuntimeError):
        return None, ""


def _is_old(version: str) -> bool:
    number = _number(version)
    return number is not None and number < _LISTS_BEFORE


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _copy(path: str, target: str, config: Any) -> None:
    """A copy of a file, with another config if one is given."""
    if config is None:
        try:
            os.symlink(os.path.abspath(path), target)
        except (OSError, NotImplementedError):  # Windows needs a privilege for it.
            shutil.copyfile(path, target)
    else:
        file_configs.copy(path, target, config)
