"""Are operations in HDF5 files of Keras 3 found, which Keras itself takes for layers?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import finetunekit as ftk
from finetunekit.models import file_configs, keras3_operations
from models import L

SHAPE = (4, 3)
# Some share the name of a layer, which takes other arguments.
GRAPHS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "times a number": (lambda x: x * 2.0, lambda x: x * 2),
    "a number minus": (lambda x: 1.0 - x, lambda x: 1 - x),
    "times a tensor": (lambda x: x * x, lambda x: x * x),
    "concatenate": (
        lambda x: ops.concatenate([x, x + x], axis=1),
        lambda x: np.concatenate([x, x + x], axis=1),
    ),
    "reshape": (lambda x: ops.reshape(x, (-1, 6, 2)), lambda x: x.reshape(-1, 6, 2)),
    "a slice": (lambda x: x[:, 1:], lambda x: x[:, 1:]),
    "relu": (ops.relu, lambda x: np.maximum(x, 0)),
    "mean": (lambda x: ops.mean(x, axis=1), lambda x: x.mean(axis=1)),
    "beside a layer of the name": (
        lambda x: L.Multiply()([ops.multiply(x, 2.0), x]),
        lambda x: 2 * x * x,
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*")


def graph(function: Callable[[Any], Any]) -> keras.Model:
    """A model in a model, and a layer with weights."""
    inputs, outside = keras.Input(SHAPE), keras.Input(SHAPE)
    inner = keras.Model(inputs, function(inputs))
    return keras.Model(outside, L.Rescaling(3.0)(inner(outside)))


@pytest.mark.parametrize("case", GRAPHS)
def test_operations_of_hdf5_files(case: str, tmp_path: Path) -> None:
    function, formula = GRAPHS[case]
    path = tmp_path / "a.h5"
    graph(function).save(path)
    batch = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    found = np.asarray(ftk.load_backbone(path)(batch))
    np.testing.assert_allclose(found, 3 * formula(batch), rtol=1e-5, atol=1e-6)


class Theirs(keras.layers.Layer):
    """A class that nobody knows."""

    def call(self, x: Any) -> Any:
        return x


def test_errors_name_no_class_of_keras(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    graph(lambda x: Theirs()(ops.relu(x))).save(path)
    with pytest.raises(ValueError, match="custom_objects=") as caught:
        ftk.load_backbone(path)
    assert "{'Theirs': Theirs}" in str(caught.value)
    assert file_configs.unknown(file_configs.read(str(path)), None) == ["Theirs"]


def test_layers_are_no_operations() -> None:
    multiply = {"class_name": "Multiply", "inbound_nodes": []}
    assert keras3_operations.is_operation({**multiply, "config": {"name": "a"}})
    assert keras3_operations.is_operation({**multiply, "config": {}})  # As early Keras 3 wrote.
    layer = {**multiply, "config": {"name": "a", "trainable": True}}
    assert not keras3_operations.is_operation(layer)
    assert keras3_operations.with_modules(layer) == layer
