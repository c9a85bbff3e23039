"""Does each argument of a Keras 1 layer get the name and value that it has today?"""

from __future__ import annotations

from typing import Any

import keras
import pytest

from finetunekit.backbones.keras2 import keras1_arguments

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("Dense", {"output_dim": 3, "bias": False}, {"units": 3, "use_bias": False}),
    ("Dense", {"init": "uniform"}, {"kernel_initializer": "random_uniform"}),
    ("Dense", {"init": "he_normal"}, {"kernel_initializer": "he_normal"}),
    ("Dropout", {"p": 0.3}, {"rate": 0.3}),
    ("GaussianNoise", {"sigma": 0.1}, {"stddev": 0.1}),
    (
        "Convolution2D",
        {"nb_filter": 4, "nb_row": 3, "nb_col": 5, "subsample": [2, 1], "border_mode": "same"},
        {"filters": 4, "kernel_size": [3, 5], "strides": [2, 1], "padding": "same"},
    ),
    ("Convolution2D", {"dim_ordering": "th"}, {"data_format": "channels_first"}),
    ("Convolution2D", {"dim_ordering": "tf"}, {"data_format": "channels_last"}),
    (
        "Convolution1D",
        {"nb_filter": 4, "filter_length": 3, "subsample_length": 2},
        {"filters": 4, "kernel_size": 3, "strides": 2},
    ),
    (
        "Convolution3D",
        {"kernel_dim1": 1, "kernel_dim2": 2, "kernel_dim3": 3},
        {"kernel_size": [1, 2, 3]},
    ),
    ("AtrousConvolution2D", {"atrous_rate": [2, 2]}, {"dilation_rate": [2, 2]}),
    ("MaxPooling1D", {"pool_length": 2, "stride": 3}, {"pool_size": 2, "strides": 3}),
    ("UpSampling1D", {"length": 2}, {"size": 2}),
    (
        "LSTM",
        {"inner_activation": "sigmoid", "dropout_W": 0.1, "dropout_U": 0.2, "consume_less": "gpu"},
        {"recurrent_activation": "sigmoid", "dropout": 0.1, "recurrent_dropout": 0.2},
    ),
    ("LSTM", {"inner_init": "orthogonal"}, {"recurrent_initializer": "orthogonal"}),
    ("Embedding", {"output_dim": 4, "init": "zero"},
     {"output_dim": 4, "embeddings_initializer": "zeros"}),
    ("PReLU", {"init": "one"}, {"alpha_initializer": "ones"}),
]  # fmt: skip


@pytest.mark.parametrize(("class_name", "stored", "expected"), CASES)
def test_names(class_name: str, stored: dict[str, Any], expected: dict[str, Any]) -> None:
    before = dict(stored)
    assert keras1_arguments.renamed(class_name, stored) == (expected, {})
    assert stored == before


def test_penalties_and_constraints_are_those_of_today() -> None:
    found, dropped = keras1_arguments.renamed(
        "Dense",
        {
            "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.25, "l2": 0.5},
            "b_regularizer": {"name": "WeightRegularizer", "l2": 2.0},
            "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0},
            "b_constraint": None,
        },
    )
    assert dropped == {}
    values = keras.ops.convert_to_tensor([[3.0, -1.0]])
    penalty = keras.regularizers.get(found["kernel_regularizer"])
    assert float(penalty(values)) == 0.25 * 4 + 0.5 * 10
    assert float(keras.regularizers.get(found["bias_regularizer"])(values)) == 20
    constraint = keras.constraints.get(found["kernel_constraint"])
    assert (type(constraint), constraint.max_value) == (keras.constraints.MaxNorm, 2)
    assert found["bias_constraint"] is None


def test_what_matters_in_training_only_may_go() -> None:
    stored = {"init": "my_init", "W_regularizer": {"name": "Mine"}, "W_constraint": {"name": "Own"}}
    found, dropped = keras1_arguments.renamed("Dense", stored)
    assert found == {}
    assert dropped == {
        "kernel_initializer": "my_init",
        "kernel_regularizer": {"name": "Mine"},
        "kernel_constraint": {"name": "Own"},
    }


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        ([1, 2], [1, 2]),
        ([1, 0, 0, 1], [[1, 0], [0, 1]]),
        ({"top_pad": 1, "bottom_pad": 2, "left_pad": 3, "right_pad": 4}, [[1, 2], [3, 4]]),
        ({"left_pad": 3}, [3, 0]),
    ],
)
def test_padding_on_both_sides(padding: Any, pairs: Any) -> None:
    assert keras1_arguments.both_sides(padding) == pairs
