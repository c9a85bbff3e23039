"""Files of Keras 1 compared with formulas: the whole model, then its weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import finetunekit as ftk
from keras1_writer import layer, write

random = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Random numbers."""
    return random.normal(size=shape).astype("float32")


def difference(model: Any, inputs: Any, wanted: Any) -> float:
    """The largest between what a model gives and what it should."""
    return float(np.abs(np.asarray(model(inputs, training=False)) - wanted).max())


def check(path: Path, config: Any, arrays: Any, inputs: Any, wanted: Any, **how: Any) -> Any:
    """The whole file, then its weights alone in the model that it gave."""
    loaded = ftk.load_backbone(write(path / "model.h5", arrays, config, **how))
    assert difference(loaded, inputs, wanted) <= 1e-5
    assert ftk.load_report(loaded).format == "Keras 1 HDF5"
    loaded.set_weights([value * 0 for value in loaded.get_weights()])
    ftk.load_weights(loaded, write(path / "only.h5", arrays, **how))
    assert difference(loaded, inputs, wanted) <= 1e-5
    return loaded


def dense(name: str, units: int, **config: Any) -> dict[str, Any]:
    """A Dense layer with a penalty and a constraint."""
    return layer(
        "Dense",
        name,
        output_dim=units,
        init="glorot_uniform",
        activation="linear",
        W_regularizer={"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5},
        W_constraint={"name": "MaxNorm", "m": 2, "axis": 0},
        bias=True,
        **config,
    )


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Channels last; kernel as (rows, columns, inputs, outputs), not mirrored."""
    rows, columns = kernel.shape[:2]
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    parts = [
        x[:, r : r + height, c : c + width] @ kernel[r, c]
        for r in range(rows)
        for c in range(columns)
    ]
    return np.sum(parts, axis=0)
