"""Is the head what was asked for, of stock layers, ending in the task's activation?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L


def described(head: keras.Sequential) -> list[str]:
    return [
        f"{type(layer).__name__}"
        + (f" {layer.units} {layer.activation.__name__}" if isinstance(layer, L.Dense) else "")
        + (f" {layer.rate}" if isinstance(layer, L.Dropout) else "")
        for layer in head.layers
    ]


@pytest.mark.parametrize(
    ("shape", "arguments", "options", "expected"),
    [
        pytest.param((8,), ("binary",), {}, ["Dense 1 sigmoid"], id="binary"),
        pytest.param((8,), ("multiclass", 3), {}, ["Dense 3 softmax"], id="multiclass"),
        pytest.param((8,), ("multilabel", 3), {}, ["Dense 3 sigmoid"], id="multilabel"),
        pytest.param((8,), ("regression",), {}, ["Dense 1 linear"], id="regression"),
        pytest.param((8,), ("regression", 2), {}, ["Dense 2 linear"], id="two values"),
        pytest.param((8,), ("binary",), {"activation": None}, ["Dense 1 linear"], id="logits"),
        pytest.param(
            (8,),
            ("regression",),
            {"activation": "softplus"},
            ["Dense 1 softplus"],
            id="positive values",
        ),
        pytest.param(
            (8,),
            ("binary",),
            {"hidden_units": [128]},
            ["Dense 128 relu", "Dense 1 sigmoid"],
            id="the document's head",
        ),
        pytest.param(
            (4, 4, 8),
            ("multiclass", 3),
            {"hidden_units": [16, 8], "dropout": 0.5},
            [
                "GlobalAveragePooling2D",
                "Dropout 0.5",
                "Dense 16 relu",
                "Dropout 0.5",
                "Dense 8 relu",
                "Dropout 0.5",
                "Dense 3 softmax",
            ],
            id="everything",
        ),
        pytest.param(
            (6, 8), ("binary",), {}, ["GlobalAveragePooling1D", "Dense 1 sigmoid"], id="tokens"
        ),
        pytest.param(
            (4, 4, 8),
            ("binary",),
            {"pooling": "max"},
            ["GlobalMaxPooling2D", "Dense 1 sigmoid"],
            id="max",
        ),
        pytest.param(
            (4, 4, 8),
            ("binary",),
            {"pooling": "flatten"},
            ["Flatten", "Dense 1 sigmoid"],
            id="flat",
        ),
        pytest.param(
            (2, 4, 4, 8), ("binary",), {}, ["GlobalAveragePooling3D", "Dense 1 sigmoid"], id="video"
        ),
    ],
)
def test_layers(shape: object, arguments: object, options: dict, expected: list[str]) -> None:
    head = ftk.build_head(shape, *arguments, **options)
    assert described(head) == expected
    assert head.input_shape == (None, *shape)
    assert head.name == "head"


def test_l2_is_on_every_kernel() -> None:
    head = ftk.build_head((8,), "binary", hidden_units=[4], l2=0.5)
    kernels = [layer.kernel for layer in head.layers]
    expected = sum(0.5 * float(keras.ops.sum(kernel**2)) for kernel in kernels)
    assert float(sum(head.losses)) == pytest.approx(expected, rel=1e-6)


def test_output_is_float32_under_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    head = ftk.build_head((8,), "multiclass", 3, hidden_units=[4])
    assert head.layers[0].compute_dtype == "float16"
    assert head(np.ones((2, 8), "float16")).dtype == "float32"


def test_class_names_give_the_number_of_classes() -> None:
    assert ftk.build_head((8,), "multiclass", class_names=["a", "b", "c"]).output_shape == (None, 3)
    assert ftk.build_head((8,), "binary", class_names=["no", "yes"]).output_shape == (None, 1)
    task = ftk.Task(name="multilabel", num_classes=4)
    assert ftk.build_head((8,), task).output_shape == (None, 4)
