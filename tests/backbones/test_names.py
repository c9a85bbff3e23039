"""Do named models follow the options, other numbers of channels included?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from parameters import often


def test_options_of_names() -> None:
    options = {"weights": None, "input_shape": (32, 32, 3)}
    model = ftk.load_backbone("builtin:mobilenet_v2", dtype="mixed_float16", **options)
    assert model.get_layer("Conv1").compute_dtype == "float16"
    assert keras.config.dtype_policy().name == "float32"
    outside = ftk.load_backbone("builtin:mobilenet_v2", preprocessing="outside", **options)
    assert "preprocessing" not in [layer.name for layer in outside.layers]
    assert metadata.of(outside).contract.preprocessing == "outside"
    assert metadata.of(outside).contract.value_range[0] < 0


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 6])
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


OTHER_CHANNELS = often([("VGG16", 1), ("VGG16", 4), ("MobileNet", 6)], (("MobileNet", 6),))


@pytest.mark.parametrize(("name", "channels"), OTHER_CHANNELS)
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
