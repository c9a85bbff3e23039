"""Are whole models read from files of Keras, and what is unfit said?"""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata
from models import images, small_backbone, small_sequential


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


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.npy",), "an archive of NumPy arrays. Build the model"),
        (("m/saved_model.pb",), "a zip archive of a SavedModel. Unpack it"),
        (("readme.txt",), "of a kind that is read here"),
    ],
)
def test_other_archives_are_told(names: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in names:
            file.writestr(name, "")
    with pytest.raises(ValueError, match=words):
        ftk.load_backbone(tmp_path / "a.zip")


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
