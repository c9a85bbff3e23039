"""Do models of keras.applications take raw pixels, whatever the family?"""

from __future__ import annotations

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import applications
from models import images, same, values

NAMES = sorted(function.__name__ for function in applications.constructors().values())
MODULES = {
    "convnext": "convnext",
    "densenet": "densenet",
    "efficientnetv2": "efficientnet_v2",
    "efficientnet": "efficientnet",
    "inceptionresnetv2": "inception_resnet_v2",
    "inceptionv3": "inception_v3",
    "mobilenetv2": "mobilenet_v2",
    "mobilenetv3": "mobilenet_v3",
    "mobilenet": "mobilenet",
    "nasnet": "nasnet",
    "resnet50v2": "resnet_v2",
    "resnet101v2": "resnet_v2",
    "resnet152v2": "resnet_v2",
    "resnet": "resnet",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
    "xception": "xception",
}


def keras_preprocessing(name: str) -> object:
    """Keras' own `preprocess_input` of the family, found by another table than ours."""
    module = next(m for start, m in MODULES.items() if name.lower().startswith(start))
    return importlib.import_module(f"keras.applications.{module}").preprocess_input


def test_all_of_keras_applications_are_there() -> None:
    assert len(NAMES) >= 38
    assert {"ResNet50", "VGG16", "MobileNetV2", "EfficientNetB0"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_preprocessing_is_that_of_keras(name: str) -> None:
    pixels = images(2)
    expected = np.asarray(keras_preprocessing(name)(pixels.copy()))
    how = applications.mode(applications.constructor(name))
    if how == "inside":
        assert np.array_equal(expected, pixels)
    else:
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, applications.preprocess(inputs, how))
        assert np.allclose(model(pixels), expected, atol=2e-5 * 255)
        low, high = applications.RANGES[how]
        assert low <= expected.min()
        assert expected.max() <= high


# BGR, -1 to 1, inside; by mean and standard deviation goes DenseNet only, which is slow to build.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("vgg16", 32), ("MobileNet", 32), ("mobilenet_v3_small", 32)]
)
def test_raw_pixels_give_what_preprocessed_ones_give(name: str, size: int, tmp_path: Path) -> None:
    shape = (size, size, 3)
    function = applications.constructor(name)
    keras.utils.set_random_seed(3)
    plain = function(weights=None, include_top=False, input_shape=shape)
    keras.utils.set_random_seed(3)
    ours = ftk.load_backbone(name, weights=None, input_shape=shape)
    ours.set_weights(plain.get_weights())
    x = images(2, size=size)
    ready = np.asarray(keras_preprocessing(function.__name__)(x.copy()))
    expected = plain.predict(ready, verbose=0)
    assert np.allclose(ours.predict(x, verbose=0), expected, rtol=1e-3, atol=1e-4)
    assert same(
        {str(i): v for i, v in enumerate(values(ours).values())},
        {str(i): v for i, v in enumerate(values(plain).values())},
    )
    ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(x, verbose=0), ours.predict(x, verbose=0))


def test_outside_means_keras_own_input() -> None:
    options = {"weights": None, "input_shape": (32, 32, 3), "preprocessing": "outside"}
    assert "preprocessing" not in [x.name for x in ftk.load_backbone("vgg16", **options).layers]
    inner = ftk.load_backbone("mobilenet_v3_small", **options)
    assert not [x for x in inner.layers if isinstance(x, keras.layers.Rescaling)]
    with pytest.raises(ValueError, match="always normalises inside"):
        ftk.load_backbone("efficientnet_b0", **options)


def test_a_failed_download_names_the_folder_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from keras.src.utils import file_utils

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(file_utils, "get_file", refuse)
    with pytest.raises(OSError, match="builtin:mobilenet_v2") as caught:
        ftk.load_backbone("vgg16", input_shape=(32, 32, 3))
    assert str(tmp_path) in str(caught.value)


def test_weights_from_a_file_of_your_own(tmp_path: Path) -> None:
    options = {"input_shape": (32, 32, 3)}
    one = ftk.load_backbone("vgg16", weights=None, **options)
    path = tmp_path / "own.weights.h5"
    one.save_weights(path)
    other = ftk.load_backbone("vgg16", weights=str(path), **options)
    pairs = zip(values(one).values(), values(other).values(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
