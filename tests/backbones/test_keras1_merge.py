"""Do the merging layers of Keras 1 become those of today, or are they refused?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import finetunekit as ftk
from keras1_checks import check, dense, difference, normal
from keras1_writer import chain, layer, write


def test_chain_that_begins_with_a_merge(tmp_path: Path) -> None:
    """Layers of the branches stand beside each other in the file; a chain has no name there."""
    a, b, c, e = normal(4, 3), normal(5, 3), normal(6, 2), normal(2, 2)
    bias = np.zeros(3, "float32")
    left = chain(dense("a", 3, batch_input_shape=[None, 4]))
    right = chain(
        dense("b", 3, batch_input_shape=[None, 5]), layer("Activation", "act", activation="relu")
    )
    merge = layer(
        "Merge", "m", mode="concat", mode_type="raw", concat_axis=-1, layers=[left, right]
    )
    inner = chain(dense("e", 2, batch_input_shape=[None, 2]))
    config = chain(merge, dense("c", 2), inner)
    arrays = {
        "a": {"a_W": a, "a_b": bias},
        "b": {"b_W": b, "b_b": bias},
        "act": {},
        "m": {},
        "c": {"c_W": c, "c_b": bias[:2]},
        "sequential_7": {"e_W": e, "e_b": bias[:2]},
    }
    x, y = normal(2, 4), normal(2, 5)
    wanted = np.concatenate([x @ a, np.maximum(y @ b, 0)], -1) @ c @ e
    check(tmp_path, config, arrays, [x, y], wanted)


@pytest.mark.parametrize(
    ("mode", "function"),
    [
        ("sum", np.add),
        ("mul", np.multiply),
        ("ave", lambda a, b: (a + b) / 2),
        ("max", np.maximum),
        ("dot", lambda a, b: (a * b).sum(-1, keepdims=True)),
    ],
)
def test_merge_layers_of_graphs(mode: str, function: Any, tmp_path: Path) -> None:
    inputs = [
        {**layer("InputLayer", name, batch_input_shape=[None, 3], input_dtype="float32"),
         "name": name, "inbound_nodes": []}
        for name in ("i", "j")
    ]  # fmt: skip
    merged = layer("Merge", "m", mode=mode, mode_type="raw", concat_axis=-1, dot_axes=[1, 1])
    nodes = {"name": "m", "inbound_nodes": [[["i", 0, 0], ["j", 0, 0]]]}
    config = {
        "class_name": "Model",
        "config": {
            "name": "model_1",
            "layers": [*inputs, {**merged, **nodes}],
            "input_layers": [["i", 0, 0], ["j", 0, 0]],
            "output_layers": [["m", 0, 0]],
        },
    }
    x, y = normal(2, 3), normal(2, 3)
    loaded = ftk.load_backbone(write(tmp_path / "model.h5", {"i": {}, "j": {}, "m": {}}, config))
    assert difference(loaded, [x, y], function(x, y)) <= 1e-6
