"""Does one verb load every kind of source, say what it did, and refuse what has no effect?"""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from models import images, same, small_backbone, small_sequential, values


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("make", [small_backbone, small_sequential])
def test_files(make: object, ending: str, tmp_path: Path) -> None:
    model = make()
    model.compile("adam", "mse")
    path = tmp_path / f"model{ending}"
    if ending == ".hdf5":
        model.save(tmp_path / "model.h5")
        (tmp_path / "model.h5").rename(path)
    else:
        model.save(path)
    loaded = ftk.load_backbone(path)
    assert np.array_equal(loaded.predict(images(3), verbose=0), model.predict(images(3), verbose=0))
    assert not loaded.compiled
    assert metadata.of(loaded).origin["source"] == path.name
    assert len(metadata.of(loaded).origin["sha256"]) == 64


@pytest.mark.parametrize("ending", [".H5", ".KERAS", ".HDF5"])
def test_endings_in_upper_case_are_told(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    if ending == ".KERAS":
        path = path.with_suffix(".keras")
    small_backbone().save(path)
    path = path.rename(path.with_suffix(ending))
    with pytest.raises(ValueError, match=f"must end in '{ending.lower()}'"):
        ftk.load_backbone(path)


def test_files_of_keras_1_are_told(tmp_path: Path) -> None:
    small_backbone().save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        file.attrs["keras_version"] = "1.2.2"
    with pytest.raises(ValueError, match=r"written by Keras 1\.2\.2.*Keras 2\.2"):
        ftk.load_backbone(tmp_path / "model.h5")


def test_the_report_travels_with_the_model(tmp_path: Path) -> None:
    small_backbone().save(tmp_path / "model.keras")
    backbone = ftk.load_backbone(tmp_path / "model.keras")
    report = ftk.load_report(backbone)
    assert (report.source, report.format) == ("model.keras", "Keras 3 archive")
    assert report.parameters == backbone.count_params()
    assert report.written_by == f"Keras {keras.__version__}"
    model = ftk.add_head(backbone, "binary")
    assert ftk.load_report(model) == report
    ftk.save(model, tmp_path / "tuned.keras")
    again = ftk.load(tmp_path / "tuned.keras")
    assert ftk.load_report(again).sha256 == report.sha256
    with pytest.raises(ValueError, match="not loaded by finetunekit"):
        ftk.load_report(small_sequential())


def test_a_model_is_returned_as_it_is() -> None:
    model = small_backbone()
    before = values(model)
    assert ftk.load_backbone(model) is model
    assert same(before, values(model))


def test_says_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    ftk.load_backbone("builtin:mobilenet_v2", input_shape=(32, 32, 3))
    text = caplog.text
    for part in (
        "2,257,984 parameters",
        "(None, 32, 32, 3)",
        "(None, 1, 1, 1280)",
        "sha256",
        "raw RGB pixels of 0 to 255",
    ):
        assert part in text


def test_options_of_names() -> None:
    options = {"weights": None, "input_shape": (32, 32, 3)}
    model = ftk.load_backbone("builtin:mobilenet_v2", dtype="mixed_float16", **options)
    assert model.get_layer("Conv1").compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    outside = ftk.load_backbone("builtin:mobilenet_v2", preprocessing="outside", **options)
    assert "preprocessing" not in [layer.name for layer in outside.layers]
    assert metadata.of(outside).contract.preprocessing == "outside"
    assert metadata.of(outside).contract.value_range[0] < 0


@pytest.mark.parametrize(
    ("source", "options", "argument"),
    [
        ("model.keras", {"input_shape": (32, 32, 3)}, "input_shape"),
        ("model.keras", {"weights": None}, "weights"),
        ("builtin:mobilenet_v2", {"custom_objects": {"a": 1}}, "custom_objects"),
        ("vgg16", {"safe_mode": False}, "safe_mode"),
    ],
)
def test_an_option_without_effect_is_an_error(source: str, options: dict, argument: str) -> None:
    with pytest.raises(ValueError, match=f"`{argument}` has no effect"):
        ftk.load_backbone(source, **options)


def test_a_lambda_layer_needs_trust(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(inputs))
    path = tmp_path / "model.keras"
    model.save(path)
    with pytest.raises(ValueError, match="safe_mode=False"):
        ftk.load_backbone(path)
    assert ftk.load_backbone(path, safe_mode=False).predict(np.ones((1, 4)), verbose=0)[0, 0] == 2


def test_custom_objects(tmp_path: Path) -> None:
    class Double(keras.layers.Layer):
        def call(self, inputs: object) -> object:
            return 2 * inputs

    model = keras.Sequential([keras.Input((4,)), Double(), keras.layers.Dense(2)])
    path = tmp_path / "model.keras"
    model.save(path)
    with pytest.raises(ValueError, match=r"custom_objects=\{"):
        ftk.load_backbone(path)
    loaded = ftk.load_backbone(path, custom_objects={"Double": Double})
    assert loaded.output_shape == (None, 2)


@pytest.mark.parametrize(
    "channels", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 6))]
)
def test_grey_pictures_of_any_channels_give_what_they_gave(channels: int) -> None:
    outside = {"preprocessing": "outside"}
    rgb = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(32, 32, 3), **outside)
    other = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(32, 32, channels), **outside)
    grey = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype("float32")
    expected = rgb.predict(np.repeat(grey, 3, axis=-1), verbose=0)
    found = other.predict(np.repeat(grey, channels, axis=-1), verbose=0)
    if channels != 2:  # Of three kernels, two do not stand for all.
        assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)
    raw = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(32, 32, channels))
    contract = ftk.load_report(raw).contract
    assert contract.value_range == (0.0, 255.0)
    assert contract.note == f"raw pixels of 0 to 255, of {channels} channel" + "s" * (channels > 1)
    assert len(contract.mean) == channels


@pytest.mark.parametrize(("name", "channels"), [("VGG16", 1), ("VGG16", 4), ("MobileNet", 6)])
def test_applications_take_other_channels(name: str, channels: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    function = getattr(keras.applications, name)
    plain = function(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = str(tmp_path / "own.weights.h5")
    plain.save_weights(path)
    shape = (32, 32, channels)
    other = ftk.load_backbone(name, weights=path, input_shape=shape, preprocessing="outside")
    kernels = [v for v in other.weights if len(v.shape) == 4]
    first = next(v for v in plain.weights if len(v.shape) == 4).numpy()
    expected = first[:, :, ::-1] if name == "VGG16" else first  # Its kernel sees blue first.
    if channels == 1:
        expected = expected.sum(axis=2, keepdims=True)
    else:
        expected = expected[:, :, np.arange(channels) % 3] * (3 / channels)
    assert np.allclose(kernels[0].numpy(), expected, atol=1e-7)
    assert np.array_equal(kernels[-1].numpy(), plain.weights[-2].numpy()) or name != "VGG16"
    raw = ftk.load_backbone(name, weights=None, input_shape=shape)
    assert np.isfinite(raw.predict(np.full((1, *shape), 127.0), verbose=0)).all()
    with pytest.raises(ValueError, match="always normalises inside"):
        ftk.load_backbone("efficientnet_b0", weights=None, input_shape=shape)
