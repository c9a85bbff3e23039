"""What is in this file? Whole models of Keras 3, `.keras` and HDF5, and our own tuned ones."""

import os
from typing import Any

import h5py
import keras

from finetunekit import archive, hashing, metadata
from finetunekit.messages import say


def read(path: str, *, custom_objects: Any, safe_mode: bool) -> keras.Model:
    """Reads a whole model, not compiled; of a file that `finetunekit.save` wrote, the backbone.

    It calls Keras' `load_model` once and nothing else that draws random numbers.

    Raises:
        ValueError: If the file is damaged, holds weights only, or needs unknown objects.
        OSError: If it is not there or cannot be read.
    """
    target = archive.check_source(path, "source")
    record = None
    if target.lower().endswith((".h5", ".hdf5")):
        _check_hdf5(target)
    elif target.lower().endswith(".keras"):
        record = archive.read_member(target, "source")
    else:
        raise ValueError(
            "`source` is a file of a kind that is not read here: expected '.keras', '.h5' or "
            f"'.hdf5'. Received: source={target!r}"
        )
    model = archive.read_model(
        target, "source", custom_objects=custom_objects, safe_mode=safe_mode, compile=False
    )
    if record is not None:
        archive.apply(model, record, target, "source")
        backbone = metadata.of(model).backbone
        if isinstance(backbone, keras.Model):
            say(f"{target} is a tuned model: its backbone {backbone.name!r} is taken")
            model = backbone
    origin = {"source": os.path.basename(target), "sha256": hashing.file_digest(target)}
    metadata.remember(model, origin=origin)
    return model


def _check_hdf5(path: str) -> None:
    """Raises for HDF5 files that hold no whole model of Keras 3."""
    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
            version = file.attrs.get("keras_version", "")
    except OSError as error:
        raise OSError(
            "`source` cannot be read as HDF5: it is damaged, cut short, or no HDF5 file "
            f"({error}). Copy it again. Received: source={path!r}"
        ) from error
    if not whole:
        raise ValueError(
            "`source` holds weights only, no model. Build the model first, then "
            f"`model.load_weights({path!r})`. Received: source={path!r}"
        )
    version = version.decode() if isinstance(version, bytes) else str(version)
    if version.startswith(("1.", "2.")):
        say(
            f"{path} was written by Keras {version}; Keras 3 reads only a part of such files. If "
            "this fails, load it with tf_keras and save its weights for a Keras 3 model"
        )
