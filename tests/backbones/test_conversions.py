"""What is done to the arrays of one layer, by the program that wrote them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from finetunekit.backbones.keras2 import cudnn, theano
from finetunekit.backbones.keras2.conversions import LayerArrays, Written

L = keras.layers
THEANO = Written("2.2.4", "theano")


def built(layer: Any, *shape: int) -> Any:
    layer.build((None, *shape))
    return layer


def arrays_of(layer: Any, names: Sequence[str], written: Written, *shapes: Any) -> LayerArrays:
    found = shapes or [tuple(variable.shape) for variable in layer.weights]
    return LayerArrays(layer, names, found, written)


@pytest.mark.parametrize(
    ("outer", "inner", "otherwise", "expected"),
    [
        ({"keras_version": "2.2.4", "backend": "theano"}, {}, ("", None), ("2.2.4", "theano")),
        ({}, {"keras_version": "2.9.0"}, ("1.2.2", "tensorflow"), ("2.9.0", "tensorflow")),
        ({"keras_version": "1.0.8"}, {"keras_version": "2.9.0"}, ("", None), ("2.9.0", None)),
        ({}, {}, ("", None), ("", None)),
    ],
)
def test_the_first_group_that_says_so_counts(
    outer: dict[str, str], inner: dict[str, str], otherwise: Any, expected: Any, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("model_weights")
        file.attrs.update(outer)
        group.attrs.update(inner)
        assert Written.read([group, file], "source", otherwise) == Written(*expected)


@pytest.mark.parametrize(
    ("written", "mirrored"), [(THEANO, True), (Written("2.2.4", "tensorflow"), False)]
)
def test_kernels_of_theano_are_turned(written: Written, mirrored: bool, tmp_path: Path) -> None:
    layer = built(L.Conv2D(2, (2, 3), name="c"), 5, 5, 1)
    arrays = arrays_of(layer, ["c/kernel:0", "c/bias:0"], written)
    kernel = np.arange(12.0).reshape(2, 3, 1, 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["c/kernel:0"], file["c/bias:0"] = kernel, np.ones(2)
        found = [arrays.read(v, n, file, "source") for n, v in enumerate(layer.weights)]
    assert np.array_equal(found[0], kernel[::-1, ::-1] if mirrored else kernel)
    assert np.array_equal(found[1], np.ones(2))
    notes = [arrays.notes(variable, number) for number, variable in enumerate(layer.weights)]
    assert notes == [[theano.NOTE] * mirrored, []]
    assert arrays.names == ["c/kernel:0", "c/bias:0"]
    assert arrays.fits(layer.kernel, 0)
    assert not arrays.fits(layer.bias, 0)


def test_what_theano_pads_elsewhere_is_a_fault() -> None:
    names = ["c/kernel:0", "c/bias:0"]
    pairs = {
        padding: arrays_of(built(L.Conv2D(2, 2, padding=padding), 5, 5, 1), names, THEANO)
        for padding in ("valid", "same")
    }
    assert pairs["valid"].fault([]) is None
    assert "zeros elsewhere" in str(pairs["same"].fault([]))


def test_a_layer_that_does_not_compute_as_cudnn_is_a_fault() -> None:
    names, shapes = ["r/kernel:0", "r/recurrent_kernel:0", "r/bias:0"], [(3, 8), (2, 8), (16,)]
    for activation, faulty in (("tanh", False), ("relu", True)):
        layer = built(L.LSTM(2, activation=activation, name="r"), 4, 3)
        arrays = arrays_of(layer, names, Written("2.2.4", "tensorflow"), *shapes)
        assert arrays.shapes == [(3, 8), (2, 8), (8,)]
        pairs = [(variable, number) for number, variable in enumerate(layer.weights)]
        assert all(arrays.fits(*pair) for pair in pairs)
        assert arrays.notes(*pairs[2]) == [cudnn.NOTE]
        assert (arrays.fault(pairs) is not None) is faulty


@pytest.mark.parametrize("order", ["channels_last", "channels_first"])
def test_names_of_keras_1_and_kernels_with_the_channels_first(order: str) -> None:
    layer = L.Conv2D(4, 3, data_format=order, name="c")
    layer.build((None, 2, 5, 5) if order == "channels_first" else (None, 5, 5, 2))
    arrays = arrays_of(layer, ["c_W", "c_b"], Written(), (4, 2, 3, 3), (4,))
    assert (arrays.names, arrays.by_theano) == (["c/kernel", "c/bias"], True)
    pairs = [(variable, number) for number, variable in enumerate(layer.weights)]
    assert all(arrays.fits(*pair) for pair in pairs)
    assert arrays.is_turned(pairs) is (order == "channels_last")
