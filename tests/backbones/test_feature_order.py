"""Do weights around a Flatten or Reshape compute what torch computes, channels first?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer
from parameters import often
from torch_formulas import Arrays, conv, flat, last, linear, norm, pool, transposed
from torch_states import state

L = keras.layers


# --- Models and what they are in torch ----------------------------------------------------------


def bn(name: str = "bn") -> keras.layers.Layer:
    return L.BatchNormalization(epsilon=1e-5, name=name)


def chain(shape: tuple[int, ...], *layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def conv2d(**options: Any) -> keras.layers.Layer:
    return L.Conv2D(4, 3, name="conv", **options)


def backbone_of(*layers: Any) -> keras.Model:
    return keras.Sequential([keras.Input((6, 5, 3)), conv2d(), *layers], name="body")


def two_flattened() -> keras.Model:
    image = keras.Input((6, 5, 3))
    other = keras.Input((2,))
    x = L.Concatenate()(
        [L.Flatten()(conv2d()(image)), other, L.Flatten()(L.MaxPooling2D(2)(image))]
    )
    return keras.Model([image, other], L.Dense(3, name="fc")(x))


def with_ops() -> keras.Model:
    image = keras.Input((6, 5, 3))
    x = keras.ops.relu(conv2d()(image))
    x = keras.ops.reshape(x, (-1, 48)) * 2.0
    return keras.Model(image, L.Dense(3, name="fc")(x))


IMAGE, FC = (3, 6, 5), {"fc.weight": (3, 48), "fc.bias": (3,)}
CONV = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,)}
BN = {f"bn.{name}": (48,) for name in ("weight", "bias", "running_mean", "running_var")}


def conv_fc(x: np.ndarray, w: Arrays) -> np.ndarray:
    return linear(flat(conv(x, w, "conv")), w, "fc")


def conv_bn_fc(x: np.ndarray, w: Arrays) -> np.ndarray:
    return linear(np.maximum(norm(flat(conv(x, w, "conv")), w, "bn"), 0), w, "fc")


Case = tuple[Callable[[], keras.Model], dict[str, Any], tuple[int, ...], Any]
CASES: dict[str, Case] = {
    "flatten": (
        lambda: chain((6, 5, 3), conv2d(), L.Flatten(), L.Dense(3, name="fc")),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "reshape": (
        lambda: chain((6, 5, 3), conv2d(), L.Reshape((-1,)), L.Dense(3, name="fc")),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "permuted already": (
        lambda: chain(
            (6, 5, 3), conv2d(), L.Permute((3, 1, 2)), L.Flatten(), L.Dense(3, name="fc")
        ),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "channels first in Flatten": (  # Which then moves the first axis to the end.
        lambda: chain(
            (6, 5, 3),
            conv2d(),
            L.Permute((3, 1, 2)),
            L.Flatten("channels_first"),
            L.Dense(3, name="fc"),
        ),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "backbone nested": (
        lambda: chain((6, 5, 3), backbone_of(), L.Flatten(), L.Dense(3, name="fc")),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "flatten nested": (
        lambda: chain((6, 5, 3), backbone_of(L.Flatten()), L.Dropout(0.5), L.Dense(3, name="fc")),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "head nested": (
        lambda: chain((6, 5, 3), conv2d(), chain((4, 3, 4), L.Flatten(), L.Dense(3, name="fc"))),
        CONV | FC,
        IMAGE,
        conv_fc,
    ),
    "batch norm between": (
        lambda: chain(
            (6, 5, 3), conv2d(), L.Flatten(), bn(), L.ReLU(), L.Dropout(0.5), L.Dense(3, name="fc")
        ),
        CONV | BN | FC,
        IMAGE,
        conv_bn_fc,
    ),
    "operations": (
        with_ops,
        CONV | FC,
        IMAGE,
        lambda x, w: linear(flat(np.maximum(conv(x, w, "conv"), 0)) * 2, w, "fc"),
    ),
    "pooling": (
        lambda: chain((6, 5, 3), conv2d(), L.MaxPooling2D(2), L.Flatten(), L.Dense(3, name="fc")),
        CONV | {"fc.weight": (3, 8), "fc.bias": (3,)},
        IMAGE,
        lambda x, w: linear(flat(pool(conv(x, w, "conv"))), w, "fc"),
    ),
    "image itself": (
        lambda: chain((6, 5, 3), L.Rescaling(2.0), L.Flatten(), L.Dense(3, name="fc")),
        {"fc.weight": (3, 90), "fc.bias": (3,)},
        IMAGE,
        lambda x, w: linear(flat(2 * x), w, "fc"),
    ),
    "sequence": (
        lambda: chain((6, 3), L.Conv1D(4, 3, name="conv"), L.Flatten(), L.Dense(3, name="fc")),
        {"conv.weight": (4, 3, 3), "conv.bias": (4,), "fc.weight": (3, 16), "fc.bias": (3,)},
        (3, 6),
        conv_fc,
    ),
    "volume": (
        lambda: chain(
            (4, 3, 3, 2), L.Conv3D(2, 2, name="conv"), L.Flatten(), L.Dense(3, name="fc")
        ),
        {"conv.weight": (2, 2, 2, 2, 2), "conv.bias": (2,), "fc.weight": (3, 24), "fc.bias": (3,)},
        (2, 4, 3, 3),
        conv_fc,
    ),
}


OFTEN = ("flatten", "permuted already", "flatten nested", "batch norm between", "operations")


@pytest.mark.parametrize("name", often(CASES, (*OFTEN, "image itself", "sequence")))
def test_flattened_features(tmp_path: Path, name: str) -> None:
    build, shapes, size, formula = CASES[name]
    weights = state(shapes)
    x = np.random.default_rng(0).normal(size=(2, *size)).astype("float32")
    model = build()
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    assert np.allclose(model(last(x)), formula(x, weights), atol=1e-5)


def test_joined_features(tmp_path: Path) -> None:
    weights = state(CONV | {"fc.weight": (3, 68), "fc.bias": (3,)})
    random = np.random.default_rng(0)
    x, other = (random.normal(size=size).astype("float32") for size in ((2, 3, 6, 5), (2, 2)))
    model = two_flattened()
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    joined = np.concatenate([flat(conv(x, weights, "conv")), other, flat(pool(x))], 1)
    assert np.allclose(model([last(x), other]), linear(joined, weights, "fc"), atol=1e-5)


def test_frames_of_a_sequence(tmp_path: Path) -> None:
    layers = [conv2d(), L.Flatten(), L.Dense(3, name="fc")]
    model = chain((2, 6, 5, 3), *map(L.TimeDistributed, layers))
    weights = state(CONV | FC)
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 6, 5)).astype("float32")
    wanted = np.stack([conv_fc(frame, weights) for frame in x])
    assert np.allclose(model(np.moveaxis(x, 2, -1)), wanted, atol=1e-5)


def test_features_reshaped_to_images(tmp_path: Path) -> None:
    model = chain(
        (5,),
        L.Dense(24, use_bias=False, name="fc"),
        bn(),
        L.ReLU(),
        L.Reshape((3, 2, 4)),
        L.Conv2DTranspose(2, 3, strides=2, name="up"),
    )
    shapes = {"fc.weight": (24, 5), "up.weight": (4, 2, 3, 3), "up.bias": (2,)}
    weights = state(shapes | {key: (24,) for key in BN})
    report = ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    noted = [row.layer for row in report.rows if "reordered" in row.note]
    assert noted == ["fc", "bn"]
    x = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    features = np.maximum(norm(x @ weights["fc.weight"].T, weights, "bn"), 0)
    wanted = transposed(features.reshape(2, 4, 3, 2), weights, "up", 2)
    assert np.allclose(model(x), last(wanted), atol=1e-5)


def test_channels_first_models_keep_the_order(tmp_path: Path) -> None:
    model = chain(
        (3, 6, 5),
        conv2d(data_format="channels_first"),
        L.Flatten(data_format="channels_last"),
        L.Dense(3, name="fc"),
    )
    weights = state(CONV | FC)
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    assert np.array_equal(model.get_layer("fc").kernel, weights["fc.weight"].T)


@pytest.mark.parametrize("kind", ["embedding", "tokens", "gray"])
def test_what_has_the_same_order_in_torch(tmp_path: Path, kind: str) -> None:
    fronts = {
        "embedding": [keras.Input((4,)), L.Embedding(7, 3, name="first")],
        "tokens": [keras.Input((4, 3)), L.Dense(3, name="first", use_bias=False)],
        "gray": [keras.Input((4, 3)), L.Reshape((4, 3, 1))],
    }
    model = keras.Sequential([*fronts[kind], L.Flatten(), L.Dense(2, name="fc")])
    first = {"embedding": {"first.weight": (7, 3)}, "tokens": {"first.weight": (3, 3)}, "gray": {}}
    weights = state({**first[kind], "fc.weight": (2, 12), "fc.bias": (2,)})  # type: ignore[dict-item]
    ftk.load_weights_from_torch(model, torch_writer.save(tmp_path / "net.pth", weights))
    assert np.array_equal(model.get_layer("fc").kernel, weights["fc.weight"].T)


@keras.saving.register_keras_serializable("test_feature_order")
class Hidden(keras.Model):
    """Flattens where no graph shows it."""

    def __init__(self) -> None:
        super().__init__(name="hidden")
        self.conv, self.fc = L.Conv2D(4, 3, name="conv"), L.Dense(3, name="fc")

    def call(self, x: Any) -> Any:
        """Features of the whole image."""
        x = self.conv(x)
        return self.fc(keras.ops.reshape(x, (keras.ops.shape(x)[0], -1)))


@keras.saving.register_keras_serializable("test_feature_order")
class HiddenPerceptron(keras.Model):
    """Flattens images themselves."""

    def __init__(self) -> None:
        super().__init__(name="perceptron")
        self.flatten, self.fc = L.Flatten(), L.Dense(3, name="fc")

    def call(self, x: Any) -> Any:
        """Logits."""
        return self.fc(self.flatten(x))


def perceptron() -> keras.Model:
    model = HiddenPerceptron()
    model(np.zeros((1, 4, 4, 3), "float32"))
    return model


def twice_used() -> keras.Model:
    fc = L.Dense(3, name="fc")
    image, features = keras.Input((6, 5, 3)), keras.Input((48,))
    return keras.Model([image, features], [fc(L.Flatten()(conv2d()(image))), fc(features)])


def sliced() -> keras.Model:
    image = keras.Input((6, 5, 3))
    return keras.Model(image, L.Dense(3, name="fc")(L.Flatten()(conv2d()(image))[:, :40]))


def grouped() -> keras.Model:
    norm = L.GroupNormalization(4, scale=False, center=False, name="gn")
    return chain((6, 5, 3), conv2d(), L.Flatten(), norm, L.Dense(3, name="fc"))


def hidden(*, nested: bool) -> keras.Model:
    model = Hidden()
    model(np.zeros((1, 6, 5, 3), "float32"))
    return chain((6, 5, 3), model) if nested else model


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: hidden(nested=False), "cannot be followed"),
        (lambda: hidden(nested=True), "cannot be followed"),
        (perceptron, "cannot be followed"),
        (twice_used, "several orders"),
        (sliced, "apart"),
        (grouped, "groups flattened features in 'gn'"),
    ],
    ids=["class", "class nested", "images", "shared", "sliced", "grouped"],
)
def test_what_cannot_be_followed_needs_a_reference(tmp_path: Path, build: Any, match: str) -> None:
    model = build()
    width = model.get_layer("fc").kernel.shape[0] if match == "apart" else 48
    front = {} if model.name == "perceptron" else CONV
    weights = state({**front, "fc.weight": (3, width), "fc.bias": (3,)})
    path = torch_writer.save(tmp_path / "net.pth", weights)
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        ftk.load_weights_from_torch(model, path)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
