"""Does a layer that Theano pads otherwise compute what it did, its padding made explicit?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones.keras2 import theano_padding
from finetunekit.backbones.keras2.context import Context
from keras2_models import numbers, quiet, save
from theano_files import as_theano_wrote, differences

L = keras.layers


def written_by_theano(layer: Any, shape: tuple[int, ...], folder: Path) -> tuple[Any, list[Any]]:
    """A file with that layer, and the layer's weights as TensorFlow has them."""
    with quiet():
        import tf_keras

        i = tf_keras.Input(shape)
        path = save(tf_keras.Model(i, layer(tf_keras.layers)(i)), folder / "model.h5")
    with h5py.File(path) as file:
        group = file["model_weights"]["conv"]
        values = [group[key][()] for key in group.attrs["weight_names"]]
    as_theano_wrote(path)
    return path, values


@pytest.mark.parametrize("length", [7, 8])
@pytest.mark.parametrize(
    ("size", "stride", "rate"), [(3, 2, 1), (2, 1, 1), (4, 3, 1), (4, 1, 2), (3, 1, 2)]
)
def test_half_of_the_kernel_stands_before_the_first_pixel(
    size: int, stride: int, rate: int, length: int, tmp_path: Path
) -> None:
    options = {"strides": stride, "dilation_rate": rate, "padding": "same", "name": "conv"}
    path, (kernel, _) = written_by_theano(
        lambda layers: layers.Conv1D(2, size, **options), (length, 2), tmp_path
    )
    x = numbers(2, length, 2)
    before = ((size - 1) * rate + 1) // 2
    padded = np.pad(x, ((0, 0), (before, 2 * size), (0, 0)))
    wanted = np.stack(
        [
            sum(padded[:, start + tap * rate] @ kernel[tap] for tap in range(size))
            for start in range(0, length, stride)
        ],
        axis=1,
    )
    loaded = ftk.load_backbone(path)
    assert loaded.layers[1].name == "conv"
    assert differences(loaded, x, [wanted]) <= 1e-5


def test_half_of_the_kernel_is_cut_off_a_transposed_convolution(tmp_path: Path) -> None:
    path, (kernel, _) = written_by_theano(
        lambda layers: layers.Conv2DTranspose(2, 5, strides=2, padding="same", name="conv"),
        (3, 4, 2),
        tmp_path,
    )
    x = numbers(2, 3, 4, 2)
    full = np.zeros((2, 9, 11, 2))
    for row, column, r, c in np.ndindex(3, 4, 5, 5):
        full[:, 2 * row + r, 2 * column + c] += x[:, row, column] @ kernel[r, c].T
    loaded = ftk.load_backbone(path)
    assert differences(loaded, x, [full[:, 2:8, 2:10]]) <= 1e-5
    assert "padding is explicit" in str(ftk.load_report(loaded))


def made_explicit(layer: Any, *, by_theano: bool = True) -> Any:
    context = Context("m.h5", "source", {}, True, by_theano=by_theano)
    found = theano_padding.explicit(layer, context)
    assert (found is layer) == (context.converted == [])
    return found


@pytest.mark.parametrize(
    ("layer", "before", "after"),
    [
        (lambda **more: L.Conv1D(2, 4, **more), None, None),
        (lambda **more: L.Conv2D(2, (4, 3), **more), ((2, 1), (1, 1)), None),
        (lambda **more: L.Conv2D(2, 3, strides=2, **more), ((1, 1), (1, 1)), None),
        (lambda **more: L.SeparableConv2D(2, 2, **more), ((1, 1), (1, 1)), None),
        (lambda **more: L.Conv2DTranspose(2, 4, strides=2, **more), None, ((2, 0), (2, 0))),
    ],
)
def test_zeros_and_croppings(layer: Any, before: Any, after: Any) -> None:
    chain = made_explicit(layer(padding="same", name="conv"))
    assert (type(chain), chain.name) == (keras.Sequential, "conv")
    inner = [part for part in chain.layers if part.name == "conv"]
    assert [part.padding for part in inner] == ["valid"]
    zeros = [part.padding for part in chain.layers if "Zero" in type(part).__name__]
    cropped = [part.cropping for part in chain.layers if "Crop" in type(part).__name__]
    if before is None and after is None:
        assert zeros == [(2, 1)]
    else:
        assert (zeros, cropped) == ([before] * (before is not None), [after] * (after is not None))


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(2, 3, padding="same"),
        L.Conv2D(2, 4, padding="valid"),
        L.Conv2D(2, 1, strides=2, padding="same"),
        L.Conv2DTranspose(2, 3, padding="same"),
        L.MaxPooling2D(2, padding="same"),
        L.Dense(2),
    ],
    ids=lambda layer: layer.name,
)
def test_what_both_backends_do_alike_stays(layer: Any) -> None:
    assert made_explicit(layer) is layer


def test_files_of_tensorflow_stay() -> None:
    layer = L.Conv2D(2, 4, padding="same")
    assert made_explicit(layer, by_theano=False) is layer
    assert layer.padding == "same"
