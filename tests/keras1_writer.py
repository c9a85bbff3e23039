"""A writer of files as Keras 1 laid them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = dict[str, dict[str, np.ndarray]]


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer's entry in a config."""
    return {"class_name": class_name, "config": {"name": name, "trainable": True, **config}}


def chain(*layers: dict[str, Any]) -> dict[str, Any]:
    """The config of a Sequential model, which is a list."""
    return {"class_name": "Sequential", "config": list(layers)}


def write(
    path: Path, arrays: Arrays, config: dict[str, Any] | None = None, *, by_theano: bool = True
) -> Path:
    """Writes weights, and the model if its config is given; TensorFlow appends `:0` to names."""
    with h5py.File(path, "w") as file:
        group: Any = file
        if config is not None:
            file.attrs["keras_version"] = b"1.2.2"
            file.attrs["model_config"] = json.dumps(config).encode()
            group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, values in arrays.items():
            inner = group.create_group(name)
            keys = [key if by_theano else f"{key}:0" for key in values]
            inner.attrs["weight_names"] = [key.encode() for key in keys]
            for key, value in zip(keys, values.values(), strict=True):
                inner[key] = value
    return path
