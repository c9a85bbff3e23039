"""Do CuDNN layers come back as LSTM and GRU that compute the same?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras2_models import quiet
from recurrent_cells import gru, lstm

INPUTS = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
LSTM, GRU, DENSE = "bidirectional", "g", "d"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model with all of them, nested in another, as tf_keras writes it; it cannot run it."""
    folder = tmp_path_factory.mktemp("cudnn")
    with quiet():
        import tf_keras
        from tf_keras.src.layers.rnn import cudnn_gru, cudnn_lstm

        i, j = tf_keras.Input((6, 3)), tf_keras.Input((6, 8))
        inner = tf_keras.Model(j, cudnn_gru.CuDNNGRU(3, name=GRU)(j), name="inner")
        recurrent = cudnn_lstm.CuDNNLSTM(4, return_sequences=True)
        x = inner(tf_keras.layers.Bidirectional(recurrent, name=LSTM)(i))
        made = tf_keras.Model(i, tf_keras.layers.Dense(2, name=DENSE)(x))
        random = np.random.default_rng(1)
        for weight in made.weights:
            weight.assign(random.normal(size=weight.shape))
        for ending in (".h5", ".keras"):
            tf_keras.models.save_model(made, str(folder / f"whole{ending}"))
        made.save_weights(str(folder / "only.h5"))
        made.save_weights(str(folder / "only.weights.h5"))
        values = [weight.numpy() for weight in made.weights]
    return {"folder": folder, "outputs": expected(values)}


def gates(packed: np.ndarray, number: int) -> list[np.ndarray]:
    """Matrices of the gates: cuDNN's rows are outputs, and Keras keeps them in another shape."""
    units = packed.shape[1] // number
    return [part.reshape(units, -1).T for part in np.split(packed, number, axis=1)]


def expected(values: list[np.ndarray]) -> np.ndarray:
    sides = []
    for side in (0, 3):
        w, u, b = values[side : side + 3]
        bias = b.reshape(2, 4, -1).sum(0)
        sides.append(lstm(INPUTS, gates(w, 4), gates(u, 4), bias, backwards=side == 3))
    w, u, b, kernel, bias = values[6:]
    first, second = b.reshape(2, 3, -1)
    state = gru(np.concatenate(sides, -1), gates(w, 3), gates(u, 3), first, after=second)
    return state @ kernel + bias


def model_of_today(**options: Any) -> keras.Model:
    layers = keras.layers
    i, j = keras.Input((6, 3)), keras.Input((6, 8))
    inner = keras.Model(j, layers.GRU(3, name=GRU)(j), name="inner")
    recurrent = layers.LSTM(4, return_sequences=True, **options)
    x = inner(layers.Bidirectional(recurrent, name=LSTM)(i))
    return keras.Model(i, layers.Dense(2, name=DENSE)(x))


def difference(model: keras.Model, wanted: np.ndarray) -> float:
    return float(np.abs(np.asarray(model(INPUTS)) - wanted).max())


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_whole_files(ending: str, written: dict[str, Any]) -> None:
    loaded = ftk.load_backbone(written["folder"] / f"whole{ending}")
    assert difference(loaded, written["outputs"]) <= 1e-6
    kinds = {type(layer).__name__ for layer in loaded.layers[2].layers}
    assert kinds == {"InputLayer", "GRU"}
    report = str(ftk.load_report(loaded))
    assert "CuDNNGRU became GRU" in report
    assert "CuDNN's layout" in report


@pytest.mark.parametrize("name", ["only.h5", "only.weights.h5"])
def test_weights_alone(name: str, written: dict[str, Any]) -> None:
    model = model_of_today()
    table = ftk.load_weights(model, written["folder"] / name)
    assert difference(model, written["outputs"]) <= 1e-6
    assert "CuDNN's layout" in str(table)


@pytest.mark.parametrize("name", ["only.h5", "only.weights.h5"])
def test_a_layer_that_computes_otherwise_is_refused(name: str, written: dict[str, Any]) -> None:
    model = model_of_today(recurrent_activation="hard_sigmoid")
    with pytest.raises(ValueError, match="recurrent_activation='sigmoid'"):
        ftk.load_weights(model, written["folder"] / name)


@pytest.mark.parametrize("make", [keras.layers.LSTM, keras.layers.GRU])
def test_files_of_ordinary_layers_are_taken_as_they_are(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input((6, 3)), make(4, name="r")])
    wanted = [value.copy() for value in model.get_weights()]
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file.attrs["layer_names"] = [b"r"]
        keys = ["r/kernel:0", "r/recurrent_kernel:0", "r/bias:0"]
        file.create_group("r").attrs["weight_names"] = [key.encode() for key in keys]
        for key, value in zip(keys, wanted, strict=True):
            file["r"][key] = value
    model.set_weights([value * 0 for value in wanted])
    ftk.load_weights(model, tmp_path / "plain.h5")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), wanted, strict=True))


@pytest.mark.real
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_stored_files(kind: str, data_folder: Path) -> None:
    path = data_folder / "data" / "old_files" / f"cudnn_{kind}.h5"
    with h5py.File(path) as file:
        group = file["model_weights"]
        w, u, b = (group["r"][f"r/{key}:0"][()] for key in ("kernel", "recurrent_kernel", "bias"))
        kernel, bias = group["d"]["d/kernel:0"][()], group["d"]["d/bias:0"][()]
    if kind == "lstm":
        state = lstm(INPUTS, gates(w, 4), gates(u, 4), b.reshape(2, 4, -1).sum(0))[:, -1]
    else:
        first, second = b.reshape(2, 3, -1)
        state = gru(INPUTS, gates(w, 3), gates(u, 3), first, after=second)
    assert difference(ftk.load_backbone(path), state @ kernel + bias) <= 1e-6
