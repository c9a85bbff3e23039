"""Readers of whole-model files: `.keras` and HDF5 of Keras 2 and 3, and tuned models."""

import os
from typing import Any

import keras

from finetunekit.backbones import hdf5, keras2
from finetunekit.backbones.readers import SourceReader, without_top
from finetunekit.foundation import archives, file_kinds, hashing, paths
from finetunekit.foundation.messages import listed, say
from finetunekit.models import metadata, saved_files

ENDINGS = (".keras", ".h5", ".hdf5")
# What a file is meant to be whose content does not tell, as it is damaged.
_KINDS = {".keras": file_kinds.KERAS, ".h5": file_kinds.HDF5, ".hdf5": file_kinds.HDF5}
_REMEDIES = {
    file_kinds.NUMPY: "Build the model, read the arrays by `np.load`, and give them to "
    "`model.set_weights`. ",
    file_kinds.SAVED_MODEL: "Unpack it and give the folder. ",
}


def read(path: str, *, custom_objects: Any, safe_mode: bool) -> keras.Model:
    """Reads a whole model, not compiled; of a file that `finetunekit.save` wrote, the backbone.

    Files of Keras 3 go through Keras' `load_model`, and nothing else here draws random numbers.

    Raises:
        ValueError: If the file is damaged, holds weights only, or needs unknown objects.
        OSError: If it is not there or cannot be read.
    """
    target = paths.check_source(path, "source")
    kind = file_kinds.kind_of(target) or _KINDS.get(os.path.splitext(target)[1].lower())
    if kind == file_kinds.HDF5:
        model, version, form, changes = _hdf5(target, custom_objects, safe_mode)
    elif kind == file_kinds.KERAS:
        model, version, form, changes = _archive(target, custom_objects, safe_mode)
    else:
        raise _unread(target, kind)
    origin = {
        "source": os.path.basename(target),
        "sha256": hashing.file_digest(target),
        "format": form,
        "written_by": f"Keras {version}" if version else None,
        **changes,
    }
    metadata.remember(model, origin=origin)
    return model


_Read = tuple[keras.Model, str, str, dict[str, Any]]


def _hdf5(path: str, custom_objects: Any, safe_mode: bool) -> _Read:
    with hdf5.open_checked(path, "source") as file:
        whole = "model_config" in file.attrs
        version = hdf5.attribute_text(file, "keras_version", name="source") or ""
    if not whole:
        raise ValueError(
            "`source` holds weights only, no model. Build the model first, then "
            f"`ftk.load_weights(model, {path!r})`. Received: source={path!r}"
        )
    if keras2.is_keras2(version):
        return _of_keras2(path, "HDF5", custom_objects, safe_mode)
    model = saved_files.read_model(
        path, "source", custom_objects=custom_objects, safe_mode=safe_mode, compile=False
    )
    return model, version, "Keras 3 HDF5", {}


def _unread(path: str, kind: str | None) -> ValueError:
    remedy = _REMEDIES.get(kind or "", "")
    shown = f", but {kind}" if kind else " of a kind that is read here"
    return ValueError(
        f"`source` is no file of a Keras model{shown}. {remedy}Expected is what `model.save` "
        f"writes: {listed(ENDINGS)}. Received: source={path!r}"
    )


def _of_keras2(path: str, kind: str, custom_objects: Any, safe_mode: bool) -> _Read:
    model, context = keras2.read(path, "source", custom_objects=custom_objects, safe_mode=safe_mode)
    changes = {"dropped": context.dropped, "converted": context.converted}
    return model, context.keras_version, f"Keras {context.generation} {kind}", changes


def _archive(path: str, custom_objects: Any, safe_mode: bool) -> _Read:
    archives.check(path, "source")
    version = saved_files.written_by(path)
    if version.startswith("2."):
        return _of_keras2(path, "archive", custom_objects, safe_mode)
    record = saved_files.read_member(path, "source")
    model = saved_files.read_model(
        path, "source", custom_objects=custom_objects, safe_mode=safe_mode, compile=False
    )
    if record is None:
        return model, version, "Keras 3 archive", {}
    with keras.saving.custom_object_scope(custom_objects or {}):
        saved_files.apply(model, record, path, "source")
    backbone = metadata.of(model).backbone
    if isinstance(backbone, keras.Model):
        say(f"{path} is a tuned model: its backbone {backbone.name!r} is taken")
        model = backbone
    return model, version, "finetunekit archive", {}


READER = SourceReader(
    kind="a file",
    accepts=lambda source: source.lower().endswith(ENDINGS) or os.path.exists(source),
    options=frozenset({"custom_objects", "safe_mode", "reference", "include_top"}),
    read=lambda source, options: without_top(
        read(source, custom_objects=options.custom_objects, safe_mode=options.safe_mode),
        options.include_top,
    ),
)
