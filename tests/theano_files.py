"""Files of tf_keras turned into what Keras wrote with Theano."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from keras2_models import outputs_of

# How the names of layers begin whose kernels Theano keeps mirrored.
MIRRORED = ("conv", "up", "lstm", "inner", "timed")


def as_theano_wrote(path: Path) -> None:
    """Mirrors the kernels in the file, and says so as Keras did."""
    with h5py.File(path, "r+") as file:
        for group in (file, file.get("model_weights", file)):
            group.attrs["backend"] = b"theano"
            group.attrs["keras_version"] = b"2.2.4"
        for name, layer in group.items():
            for key in layer.attrs["weight_names"]:
                value = layer[key][()]
                if name.startswith(MIRRORED) and value.ndim > 2:
                    layer[key][()] = np.flip(value, tuple(range(value.ndim - 2)))


def differences(model: Any, inputs: Any, wanted: list[np.ndarray]) -> float:
    """The largest, relative to the largest output."""
    pairs = zip(outputs_of(model, inputs), wanted, strict=True)
    return max(float(np.abs(found - other).max() / np.abs(other).max()) for found, other in pairs)
