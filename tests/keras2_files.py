"""Keras 2 HDF5 files written by hand: any config, and the weights for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

# Layers with a vocabulary -> what they take.
LOOKUPS = {"StringLookup": "string", "IntegerLookup": "int64", "TextVectorization": "string"}


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    """An entry of a config, as Keras 2 wrote it."""
    return {"class_name": class_name, "config": {"trainable": True, **config}}


def write_chain(
    path: Path,
    layers: list[dict[str, Any]],
    weights: dict[str, dict[str, np.ndarray]] | None = None,
) -> Path:
    """Writes a Sequential model; weights by layer and name, such as `{"d": {"kernel": array}}`."""
    config = {"class_name": "Sequential", "config": {"name": "chain", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.11.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        names = [entry["config"]["name"] for entry in layers]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            inner = group.create_group(name)
            stored = {
                f"{name}/{key}:0": value for key, value in (weights or {}).get(name, {}).items()
            }
            inner.attrs["weight_names"] = [key.encode() for key in stored]
            for key, value in stored.items():
                inner[key] = value
    return path


def lookup_chain(class_name: str, where: str, vocabulary: Any) -> list[dict[str, Any]]:
    """The layers of a chain with a lookup in it: flat, wrapped or nested."""
    dtype = LOOKUPS[class_name]
    first = layer("InputLayer", name="in", batch_input_shape=[None, 1], dtype=dtype)
    lookup = layer(class_name, name="lookup", vocabulary=vocabulary)
    if where == "wrapped":
        lookup = layer("TimeDistributed", name="wrapper", layer=lookup)
    if where == "nested":
        lookup = layer("Sequential", name="inner", layers=[first, lookup])
    return [first, lookup]
