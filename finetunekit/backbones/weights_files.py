"""The layout of a weights file: Keras 2, or Keras 3."""

import h5py

from finetunekit.backbones.weights_keras2 import Keras2File
from finetunekit.backbones.weights_keras3 import LAYERS, Keras3File
from finetunekit.foundation.messages import listed


def layout(file: h5py.File, path: str, name: str) -> Keras2File | Keras3File:
    """How the file is laid out.

    Raises:
        ValueError: If it holds no weights of Keras.
    """
    for group in (file, file.get("model_weights")):
        if isinstance(group, h5py.Group) and any(
            key in group.attrs for key in ("layer_names", "layer_names0")
        ):
            return Keras2File(group, name)
    if any(key in file for key in (*LAYERS, "vars")) or any(
        isinstance(entry, h5py.Group) and "vars" in entry for entry in file.values()
    ):
        return Keras3File(file, name)
    raise ValueError(
        f"`{name}` is HDF5, but holds no weights in a layout of Keras; it holds "
        f"{listed(list(file), 6) or 'nothing'}. Expected is a file of `model.save_weights` or "
        f"`model.save`. Received: {name}={path!r}"
    )
