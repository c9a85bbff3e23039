"""Do files of Keras 1 come back as models that compute the same?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras1_writer import chain, layer, write
from recurrent_cells import gru, hard_sigmoid, lstm

random = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype("float32")


def difference(model: Any, inputs: Any, wanted: Any) -> float:
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


@pytest.mark.parametrize("by_theano", [True, False], ids=["Theano", "TensorFlow"])
@pytest.mark.parametrize("order", ["tf", "th"])
def test_convolutions(order: str, by_theano: bool, tmp_path: Path) -> None:
    """Three channels into three filters of 3 x 3: shapes alone leave open how the axes stand."""
    kernel, b = normal(3, 3, 3, 3), normal(3)
    stored = kernel[::-1, ::-1] if by_theano else kernel
    stored = stored.transpose(3, 2, 0, 1) if order == "th" else stored
    shape = [None, 3, 6, 5] if order == "th" else [None, 6, 5, 3]
    options = {"dim_ordering": order, "border_mode": "valid"}
    config = chain(
        layer("ZeroPadding2D", "zero", padding=[1, 0, 0, 1], batch_input_shape=shape),
        layer("Convolution2D", "c", nb_filter=3, nb_row=3, nb_col=3, subsample=[1, 1], **options),
        layer("GlobalAveragePooling2D", "pool", dim_ordering=order),
    )
    x = normal(2, 6, 5, 3)
    wanted = convolved(np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0))), kernel).mean((1, 2)) + b
    given = x.transpose(0, 3, 1, 2) if order == "th" else x
    arrays = {"zero": {}, "c": {"c_W": stored, "c_b": b}, "pool": {}}
    check(tmp_path, config, arrays, given, wanted, by_theano=by_theano)


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


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (layer("Highway", "h", batch_input_shape=[None, 4]), "is a Highway"),
        (layer("MaxoutDense", "h", batch_input_shape=[None, 4]), "is a MaxoutDense"),
        (layer("BatchNormalization", "h", mode=2, batch_input_shape=[None, 4]), "another mode"),
        (layer("ZeroPadding2D", "h", padding=[1, 1], batch_input_shape=[None, 4, 4, 1]), "dim_ord"),
        (layer("Merge", "h", mode="cos", mode_type="raw", layers=[]), "the mode 'cos'"),
    ],
)
def test_what_has_no_counterpart_is_refused(entry: Any, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", {"h": {}}, chain(entry))
    with pytest.raises(ValueError, match=rf"a Keras 1 file.*'h'.*{words}.*Received: source="):
        ftk.load_backbone(path)


def test_classes_that_are_missing_are_named_and_no_others(tmp_path: Path) -> None:
    entries = chain(
        layer("TimeDistributedDense", "a", output_dim=2, batch_input_shape=[None, 3, 4]),
        layer("Own", "b"),
        layer("Other", "c"),
    )
    path = write(tmp_path / "model.h5", {"a": {}, "b": {}, "c": {}}, entries)
    with pytest.raises(ValueError, match=r"'b'.*Own.*Other") as caught:
        ftk.load_backbone(path)
    assert "TimeDistributedDense" not in str(caught.value)
    assert "'Own': " in str(caught.value)


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


@pytest.mark.real
@pytest.mark.parametrize("name", ["k1_2d", "k1_dense", "k1_lstm", "k1_srnn", "k1_td"])
def test_stored_files(name: str, data_folder: Path) -> None:
    folder = data_folder / "data" / "old_files"
    known = np.load(folder / f"{name}.npz")
    largest = float(np.abs(known["y"]).max())
    loaded = ftk.load_backbone(folder / f"{name}.h5")
    assert difference(loaded, known["x"], known["y"]) <= 1e-5 * largest
    loaded.set_weights([value * 0 for value in loaded.get_weights()])
    ftk.load_weights(loaded, folder / f"{name}_w.h5")
    assert difference(loaded, known["x"], known["y"]) <= 1e-5 * largest
