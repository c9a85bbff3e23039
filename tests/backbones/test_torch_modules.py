"""Does each kind of layer compute what its module computes in torch, by torch's formulas?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer
from torch_formulas import by_channel, conv, flat, last, linear, pool, transposed
from torch_states import state

L = keras.layers
OLD_FILES = Path("data") / "old_files"
KINDS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], Any]] = {
    "Conv1D": (L.Conv1D(4, 3, name="a"), (3, 5), (4, 3, 3), conv),
    "Conv2D": (L.Conv2D(4, (3, 2), name="a"), (3, 5, 4), (4, 3, 3, 2), conv),
    "Conv3D": (L.Conv3D(4, (1, 2, 3), name="a"), (2, 3, 3, 4), (4, 2, 1, 2, 3), conv),
    "grouped": (
        L.Conv2D(4, 2, groups=2, name="a"), (6, 3, 4), (4, 3, 2, 2),
        lambda x, w, key: np.concatenate(
            [conv(x[:, n : n + 3], {k: v[m : m + 2] for k, v in w.items()}, key)
             for n, m in ((0, 0), (3, 2))], axis=1,
        ),
    ),
    "Conv2DTranspose": (
        L.Conv2DTranspose(4, (3, 2), strides=2, name="a"), (3, 3, 2), (3, 4, 3, 2),
        lambda x, w, key: transposed(x, w, key, 2),
    ),
    "DepthwiseConv1D": (
        L.DepthwiseConv1D(3, depth_multiplier=2, name="a"), (3, 5), (6, 1, 3), by_channel,
    ),
    "DepthwiseConv2D": (
        L.DepthwiseConv2D((2, 3), depth_multiplier=2, name="a"), (3, 4, 5), (6, 1, 2, 3),
        by_channel,
    ),
    "Dense on tokens": (
        L.Dense(4, name="a"), (3, 5), (4, 3),
        lambda x, w, key: np.moveaxis(linear(last(x), w, key), -1, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_computes_what_torch_computes(tmp_path: Path, kind: str) -> None:
    layer, size, shape, formula = KINDS[kind]
    out = layer.filters if kind == "Conv2DTranspose" else shape[0]
    weights = state({"a.weight": shape, "a.bias": (out,)})
    model = keras.Sequential([keras.Input((*size[1:], size[0])), layer])
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    x = np.random.default_rng(0).normal(size=(2, *size)).astype("float32")
    assert np.allclose(model(last(x)), last(formula(x, weights, "a")), atol=1e-5)


def test_group_normalization(tmp_path: Path) -> None:
    weights = state({"a.weight": (4,), "a.bias": (4,)})
    layer = L.GroupNormalization(2, epsilon=1e-5, name="a")
    model = keras.Sequential([keras.Input((3, 4)), layer])
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    groups = x.reshape(2, 2, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1) + 1e-5)[..., None]
    wanted = normal.reshape(x.shape) * weights["a.weight"][:, None] + weights["a.bias"][:, None]
    assert np.allclose(model(last(x)), last(wanted), atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        L.LayerNormalization(axis=(1, 2)),
        L.MultiHeadAttention(2, 2),
        L.LSTM(3),
        L.SeparableConv1D(3, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_has_no_counterpart_is_refused(tmp_path: Path, layer: Any) -> None:
    inputs = keras.Input((4, 3))
    takes_two = isinstance(layer, L.MultiHeadAttention)
    model = keras.Model(inputs, layer(inputs, inputs) if takes_two else layer(inputs))
    path = torch_writer.save(tmp_path / "net.pth", state({"a.weight": (4, 3)}))
    with pytest.raises(ValueError, match="has no plain counterpart in torch"):
        ftk.load_weights_from_torch(model, path)


def defaults(**options: Any) -> keras.Model:
    strided = L.Conv2D(2, 3, strides=2, name="strided", **options)
    return keras.Sequential(
        [keras.Input((8, 8, 1)), strided, L.BatchNormalization(name="norm")], name="net"
    )


def test_defaults_of_keras_that_differ_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    norms = ("weight", "bias", "running_mean", "running_var")
    shapes: dict[str, tuple[int, ...]] = {"strided.weight": (2, 1, 3, 3), "strided.bias": (2,)}
    shapes |= {f"norm.{name}": (2,) for name in norms}
    path = torch_writer.save(
        tmp_path / "net.pth", state(shapes | {f"norm.{n}": (2,) for n in norms})
    )
    model = defaults(padding="same")
    ftk.load_weights_from_torch(model, path)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 2
    assert "'norm': epsilon is 0.001" in warned[0]
    assert "'strided': strides with padding='same'" in warned[1]
    caplog.clear()
    x = np.ones((1, 8, 8, 1), "float32")
    ftk.load_weights_from_torch(model, path, reference=(x, np.asarray(model(x))))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


# --- Real files ------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("flatten", [L.Flatten(), L.Reshape((-1,))], ids=["flatten", "reshape"])
@pytest.mark.parametrize("named", [True, False])
def test_network_of_the_cifar_tutorial(data_folder: Path, flatten: Any, named: bool) -> None:
    names = ["conv1", "conv2", "fc1", "fc2", "fc3"] if named else list("vwxyz")
    folder = data_folder / OLD_FILES
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            L.Conv2D(6, 5, activation="relu", name=names[0]),
            L.MaxPooling2D(2),
            L.Conv2D(16, 5, activation="relu", name=names[1]),
            L.MaxPooling2D(2),
            flatten,
            L.Dense(120, activation="relu", name=names[2]),
            L.Dense(84, activation="relu", name=names[3]),
            L.Dense(10, name=names[4]),
        ]
    )
    known = np.load(folder / "cifar.npz")
    reference = (known["x"], known["y"])
    ftk.load_weights_from_torch(model, folder / "cifar_net.pth", reference=reference)
    assert np.abs(model(known["x"]) - known["y"]).max() < 1e-7


def test_pooling_before_flatten_by_hand() -> None:
    # The formulas themselves, on numbers that can be checked by eye.
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    assert flat(pool(x)).tolist() == [[5.0, 7.0, 13.0, 15.0]]
    ones = {"a.weight": np.ones((1, 1, 2, 2)), "a.bias": np.zeros(1)}
    assert conv(x, ones, "a")[0, 0, 0].tolist() == [10.0, 14.0, 18.0]
    assert transposed(x[..., :1, :2], ones, "a", 1)[0, 0].tolist() == [[0, 1, 1], [0, 1, 1]]
