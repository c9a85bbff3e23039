"""Do files that Keras wrote with Theano come back with their kernels turned back?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras2_models import numbers, outputs_of, quiet, save
from theano_files import as_theano_wrote, differences


def in_one_dimension(k: Any, L: Any) -> Any:
    i = k.Input((8, 2))
    x = L.Conv1D(3, 3, padding="causal", name="conv1")(i)
    return k.Model(i, L.SeparableConv1D(2, 3, name="separable1")(x)), numbers(2, 8, 2)


def in_two_dimensions(k: Any, L: Any) -> Any:
    i = k.Input((6, 7, 2))
    x = L.Conv2D(3, (2, 3), strides=(1, 2), name="conv2")(i)
    x = L.Conv2DTranspose(2, (3, 2), strides=2, name="up2")(x)
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.SeparableConv2D(2, 3, name="separable2")(x)
    return k.Model(i, L.Dense(2, name="d")(L.Flatten()(x))), numbers(2, 6, 7, 2)


def in_three_dimensions(k: Any, L: Any) -> Any:
    i = k.Input((3, 4, 3, 2))
    x = L.Conv3D(3, (2, 3, 2), name="conv3")(i)
    return k.Model(i, L.Conv3DTranspose(2, 2, name="up3")(x)), numbers(2, 3, 4, 3, 2)


def of_images_in_time(k: Any, L: Any) -> Any:
    """A chain under TimeDistributed, and nested; one of its layers is frozen."""
    chain = k.Sequential(
        [
            L.Conv2D(2, 3, padding="same", input_shape=(5, 5, 2), name="c1", trainable=False),
            L.BatchNormalization(name="bn"),
            L.Conv2D(2, (3, 1), name="c2"),
        ],
        name="inner",
    )
    i, j = k.Input((2, 7, 7, 2)), k.Input((5, 5, 2))
    x = L.TimeDistributed(L.Conv2D(2, 3), name="timed")(i)
    x = L.ConvLSTM2D(2, 3, return_sequences=True, name="lstm")(x)
    return k.Model([i, j], [x, chain(j)]), [numbers(2, 2, 7, 7, 2), numbers(2, 5, 5, 2, seed=1)]


MODELS: list[Callable[[Any, Any], Any]] = [
    in_one_dimension,
    in_two_dimensions,
    in_three_dimensions,
    of_images_in_time,
]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_predicts_as_before(make: Callable[[Any, Any], Any], tmp_path: Path) -> None:
    with quiet():
        import tf_keras

        tf_keras.utils.set_random_seed(0)
        made, inputs = make(tf_keras, tf_keras.layers)
        wanted = outputs_of(made, inputs)
        path = save(made, tmp_path / "model.h5")
        made.save_weights(str(tmp_path / "only.h5"))
    as_theano_wrote(path)
    as_theano_wrote(tmp_path / "only.h5")
    loaded = ftk.load_backbone(path)
    assert differences(loaded, inputs, wanted) <= 1e-5
    assert "as Theano stores them" in str(ftk.load_report(loaded))
    loaded.set_weights([value * 0 for value in loaded.get_weights()])
    table = ftk.load_weights(loaded, tmp_path / "only.h5")
    assert differences(loaded, inputs, wanted) <= 1e-5
    assert "as Theano stores them" in str(table)


@pytest.mark.parametrize("name", ["pooling", "states"])
def test_padding_that_stands_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with quiet():
        import tf_keras

        layers = tf_keras.layers
        i = tf_keras.Input((2, 8, 8, 2) if name == "states" else (8, 8, 2))
        layer = (
            layers.ConvLSTM2D(2, 2) if name == "states" else layers.MaxPooling2D(2, padding="same")
        )
        path = save(tf_keras.Model(i, layers.Dense(2)(layer(i))), tmp_path / "model.h5")
    as_theano_wrote(path)
    with pytest.raises(ValueError, match=r"Theano.*elsewhere.*Received: source="):
        ftk.load_backbone(path)


def test_weights_alone_of_a_layer_that_is_padded_elsewhere(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(2, 2, padding="same")])
    with h5py.File(tmp_path / "only.h5", "w") as file:
        file.attrs["backend"], file.attrs["layer_names"] = b"theano", [b"conv2d"]
        keys = [b"conv2d/kernel", b"conv2d/bias"]
        file.create_group("conv2d").attrs["weight_names"] = keys
        for key, value in zip(keys, model.get_weights(), strict=True):
            file["conv2d"][key] = value
    with pytest.raises(ValueError, match="Theano puts the zeros elsewhere"):
        ftk.load_weights(model, tmp_path / "only.h5")


@pytest.mark.real
@pytest.mark.parametrize("name", ["th_1d", "th_2d_cf", "th_convlstm", "th_sep", "th_td"])
def test_stored_files(name: str, data_folder: Path) -> None:
    folder = data_folder / "data" / "old_files"
    known = np.load(folder / f"{name}.npz")
    loaded = ftk.load_backbone(folder / f"{name}.h5")
    assert differences(loaded, known["x"], [known["y"]]) <= 1e-5
    if name == "th_1d":
        loaded.set_weights([value * 0 for value in loaded.get_weights()])
        ftk.load_weights(loaded, folder / "th_1d_w.h5")
        assert differences(loaded, known["x"], [known["y"]]) <= 1e-5
