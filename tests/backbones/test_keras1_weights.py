"""Do the weights of Keras 1 get the names, gates and order of axes of today?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones.keras2 import keras1_weights
from keras1_checks import check, convolved, dense, difference, normal, random
from keras1_writer import chain, layer, write
from recurrent_cells import gru, hard_sigmoid, lstm


def test_statistic_called_a_deviation_is_a_variance(tmp_path: Path) -> None:
    w, b, gamma, beta, mean = normal(4, 3), normal(3), normal(3), normal(3), normal(3)
    variance = 0.5 + normal(3) ** 2
    arrays = {
        "d": {"d_W": w, "d_b": b},
        "bn": {
            "bn_gamma": gamma,
            "bn_beta": beta,
            "bn_running_mean": mean,
            "bn_running_std": variance,
        },
    }
    config = chain(
        dense("d", 3, batch_input_shape=[None, 4], input_dim=4, input_dtype="float32"),
        layer("BatchNormalization", "bn", epsilon=1e-3, mode=0, axis=-1, momentum=0.99),
        layer("Dropout", "drop", p=0.3),
    )
    x = normal(5, 4)
    wanted = gamma * (x @ w + b - mean) / np.sqrt(variance + 1e-3) + beta
    loaded = check(tmp_path, config, arrays, x, wanted)
    assert [la.name for la in loaded.layers] == ["d", "bn", "drop"]
    assert loaded.layers[2].rate == 0.3
    assert float(loaded.losses[0]) == pytest.approx(0.5 * float(np.square(w).sum()), rel=1e-5)


def test_recurrent_layers_in_both_directions(tmp_path: Path) -> None:
    """Gates of an LSTM stand in another order; those of `consume_less="gpu"` in one array."""
    sides = [[normal(4, 3, 2), normal(4, 2, 2), normal(4, 2)] for _ in range(2)]
    names = ("forward_r", "backward_r")
    two = {
        f"{name}_{kind}_{gate}": values["WUb".index(kind)]["ifco".index(gate)]
        for name, values in zip(names, sides, strict=True)
        for gate in "icfo"
        for kind in "WUb"
    }
    w, u, b = normal(3, 4, 3), normal(3, 3, 3), normal(3, 3)
    one = {"g_W": np.hstack(w), "g_U": np.hstack(u), "g_b": np.hstack(b)}
    options = {"activation": "tanh", "inner_activation": "hard_sigmoid", "dropout_W": 0.1}
    inner = layer("LSTM", "r", output_dim=2, return_sequences=True, **options)
    config = chain(
        layer("Bidirectional", "both", layer=inner, batch_input_shape=[None, 5, 3]),
        layer("GRU", "g", output_dim=3, consume_less="gpu", **options),
    )
    x = normal(2, 5, 3)
    found = [lstm(x, *s, backwards=n == 1, gate=hard_sigmoid) for n, s in enumerate(sides)]
    wanted = gru(np.concatenate(found, -1), w, u, b, gate=hard_sigmoid)
    check(tmp_path, config, {"both": two, "g": one}, x, wanted)


def test_an_embedding_is_called_a_kernel(tmp_path: Path) -> None:
    table, w = normal(9, 4), normal(4, 2)
    config = chain(
        layer("Embedding", "e", input_dim=9, output_dim=4, init="uniform", input_length=5,
              batch_input_shape=[None, 5], input_dtype="int32"),
        layer("TimeDistributed", "t", layer=dense("inside", 2)),
    )  # fmt: skip
    arrays = {"e": {"e_W": table}, "t": {"inside_W": w, "inside_b": np.zeros(2, "float32")}}
    x = random.integers(0, 9, size=(3, 5))
    check(tmp_path, config, arrays, x, table[x] @ w)


def vgg(top: bool) -> keras.Model:
    layers = keras.layers
    model = keras.Sequential([keras.Input((5, 5, 2)), layers.Conv2D(4, 3, name="block1_conv1")])
    if top:
        model.add(layers.Flatten())
        model.add(layers.Dense(2, name="predictions"))
    return model


def test_kernels_of_theano_for_a_model_of_today(tmp_path: Path) -> None:
    """As in the files of VGG that Keras downloads; TensorFlow appended numbers to its names."""
    kernel, b, x = normal(3, 3, 2, 4), normal(4), normal(2, 5, 5, 2)
    stored = kernel[::-1, ::-1].transpose(3, 2, 0, 1)
    arrays = {"block1_conv1": {"block1_conv1_W": stored, "block1_conv1_b": b}}
    model = vgg(top=False)
    table = ftk.load_weights(model, write(tmp_path / "th.h5", arrays))
    assert difference(model, x, convolved(x, kernel) + b) <= 1e-5
    assert "(outputs, inputs, rows, columns)" in str(table)
    arrays = {"block1_conv1": {"block1_conv1_W_1": kernel, "block1_conv1_b_1": b}}
    model = vgg(top=False)
    ftk.load_weights(model, write(tmp_path / "tf.h5", arrays, by_theano=False))
    assert difference(model, x, convolved(x, kernel) + b) <= 1e-5


def test_pixels_in_another_order_are_refused(tmp_path: Path) -> None:
    arrays = {
        "block1_conv1": {"block1_conv1_W": normal(4, 2, 3, 3), "block1_conv1_b": normal(4)},
        "predictions": {"predictions_W": normal(36, 2), "predictions_b": normal(2)},
    }
    with pytest.raises(ValueError, match="channels first, and 'flatten'"):
        ftk.load_weights(vgg(top=True), write(tmp_path / "th.h5", arrays))


@pytest.mark.parametrize(
    ("names", "spelled", "theano"),
    [
        (["dense_1_W", "dense_1_b"], True, True),
        (["dense_1_W:0", "dense_1_b:0"], True, False),
        (["block1_conv1_W_1:0"], True, False),
        (["lstm_1_U_f", "bn_running_std"], True, True),
        (["dense_1/kernel:0"], False, False),
        (["dense_1_W", "dense_1/bias"], False, True),
        ([], False, True),
    ],
)
def test_names_tell_the_version_and_the_backend(
    names: list[str], spelled: bool, theano: bool
) -> None:
    assert keras1_weights.is_spelled(names) is spelled
    assert keras1_weights.by_theano(names) is theano
