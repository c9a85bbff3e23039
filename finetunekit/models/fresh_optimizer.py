"""The optimizer in a `.keras` file, put back to before its first step: its slots take no room."""

import os
import tempfile
import zipfile
from typing import Any

import h5py
import keras
import numpy as np

from finetunekit.foundation import keras_optimizers

_WEIGHTS = "model.weights.h5"
_OPTIMIZER = "optimizer"
_VARIABLES = "vars"
_SMALL = 1024  # Numbers that are written as they are.


def forget_progress(path: str, optimizer: keras.optimizers.Optimizer) -> None:
    """Rewrites a file that Keras has just saved, without what its optimizer has gathered.

    The optimizer itself stays, with its rate: the file opens compiled. HDF5 stores nothing of an
    array that was never written, and reads as what it is filled with, such as the zeros that the
    moments of Adam begin with. So the slots are there for Keras, and cost nothing.

    Args:
        path: The file.
        optimizer: The optimizer of its model, built.
    """
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(keras_optimizers.optimizer_variables(optimizer))
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path) or ".") as folder:
        old, new, slim = (os.path.join(folder, name) for name in ("old.h5", "new.h5", "slim.keras"))
        with zipfile.ZipFile(path) as archive:
            with archive.open(_WEIGHTS) as source, open(old, "wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
            with h5py.File(old, "r") as before, h5py.File(new, "w") as after:
                _copy_weights(before, after, fresh)
            os.unlink(old)
            with zipfile.ZipFile(slim, "w") as written:
                for member in archive.infolist():
                    if member.filename == _WEIGHTS:
                        written.write(new, _WEIGHTS, member.compress_type)
                    else:
                        written.writestr(member, archive.read(member))
        os.replace(slim, path)


def _copy_weights(before: h5py.File, after: h5py.File, fresh: Any) -> None:
    for key, value in before.attrs.items():
        after.attrs[key] = value
    for key in before:
        if key == _OPTIMIZER:
            _copy_optimizer(before[key], after.create_group(key), fresh)
        else:
            before.copy(key, after)


def _copy_optimizer(before: h5py.Group, after: h5py.Group, owner: Any) -> None:
    """Copies a group of an optimizer, or of one inside of it, with the values of a fresh one."""
    for key, value in before.attrs.items():
        after.attrs[key] = value
    for key, part in before.items():
        if key == _VARIABLES:
            start: dict[str, np.ndarray] = {}
            if owner is not None:
                owner.save_own_variables(start)
            variables = after.create_group(key)
            for name, slot in part.items():
                _copy_slot(slot, variables, name, start.get(name))
        elif isinstance(part, h5py.Group):
            _copy_optimizer(part, after.create_group(key), getattr(owner, key, None))
        else:
            before.copy(key, after)


def _copy_slot(slot: h5py.Dataset, group: h5py.Group, name: str, start: Any) -> None:
    value = None if start is None else np.asarray(keras.ops.convert_to_numpy(start))
    if value is None or value.shape != slot.shape or value.dtype.itemsize != slot.dtype.itemsize:
        slot.file.copy(slot, group, name)
        return
    # Types that HDF5 does not have are stored as bytes, with their name beside them.
    stored = np.frombuffer(value.tobytes(), slot.dtype).reshape(value.shape)
    if value.size > _SMALL and not stored.view("uint8").any():
        kept = group.create_dataset(name, slot.shape, slot.dtype)
    elif value.size > _SMALL and slot.dtype.kind == "f" and (stored == stored.flat[0]).all():
        kept = group.create_dataset(name, slot.shape, slot.dtype, fillvalue=stored.flat[0])
    else:
        kept = group.create_dataset(name, data=stored)
    for key, attribute in slot.attrs.items():
        kept.attrs[key] = attribute
