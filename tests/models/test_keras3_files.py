"""Are files of early Keras 3 read as Keras of then computed, whatever they are called?"""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import keras3_files
from models import L, images, small_backbone
from parameters import often

quiet = pytest.mark.filterwarnings("ignore:.*")


def chain_of_a_graph() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    graph = keras.Model(inputs, L.Conv2D(2, 3)(inputs), name="graph")
    return keras.Sequential(
        [keras.Input((8, 8, 3)), L.RandomRotation(0.1, seed=1), graph, L.Flatten(), L.Dense(2)]
    )


def as_of_then(config: Any) -> Any:
    """A config as Keras 3.0 to 3.3 wrote it."""
    if isinstance(config, list):
        return [as_of_then(part) for part in config]
    if not isinstance(config, dict):
        return config
    changed = {key: as_of_then(value) for key, value in config.items()}
    for key in ("input_layers", "output_layers"):
        if key in changed and isinstance(changed[key][0], str):
            changed[key] = [changed[key]]
    if config.get("class_name") == "RandomRotation":
        changed["config"]["value_range"] = [0, 255]
    return changed


def written(model: keras.Model, path: Path, change: Callable[[Any], Any], version: str) -> Path:
    """A file of that version, with a changed config."""
    model.save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
            file.attrs["keras_version"] = version
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    members["metadata.json"] = json.dumps({"keras_version": version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@quiet
@pytest.mark.parametrize("version", ["3.3.3", "3.10.0"])
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_single_inputs_and_outputs_are_no_lists(ending: str, version: str, tmp_path: Path) -> None:
    model = chain_of_a_graph()
    path = written(model, tmp_path / f"a{ending}", as_of_then, version)
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        keras.saving.load_model(path)
    loaded = ftk.load_backbone(path)
    assert np.array_equal(loaded(images(2, size=8)), model(images(2, size=8)))
    assert path.read_bytes() == before
    assert ftk.load_report(loaded).written_by == f"Keras {version}"


def test_lists_of_later_versions_are_meant(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    path = tmp_path / "a.keras"
    keras.Model([inputs], [L.Dense(2)(inputs)]).save(path)
    with keras3_files.readable(str(path), "source") as target:
        assert target == str(path)


def test_what_cropped_at_inference_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), L.RandomCrop(4, 4, name="cut")])
    path = written(model, tmp_path / "a.keras", lambda config: config, "3.3.3")
    with pytest.raises(ValueError, match=r"'cut' is a RandomCrop of Keras 3\.3\.3.*Resizing"):
        ftk.load_backbone(path)
    path = written(model, tmp_path / "b.keras", lambda config: config, "3.8.0")
    assert ftk.load_backbone(path).get_layer("cut")


NAMES = ("a.keras", "a.h5", "a.hdf", "a.H5", "a", "a.pt", "a.model")


@quiet
@pytest.mark.parametrize(
    ("content", "name"),
    often(
        itertools.product([".keras", ".h5"], NAMES),
        ((".h5", "a.keras"), (".keras", "a.h5"), (".h5", "a.pt")),
    ),
)
def test_content_decides_not_the_ending(content: str, name: str, tmp_path: Path) -> None:
    model = small_backbone()
    made = tmp_path / f"made{content}"
    model.save(made)
    path = made.rename(tmp_path / name)
    loaded = ftk.load_backbone(path)
    assert np.array_equal(loaded.predict(images(2), verbose=0), model.predict(images(2), verbose=0))
    assert ftk.load_report(loaded).source == name


def test_faults_name_the_file_and_not_its_copy(tmp_path: Path) -> None:
    path = written(
        small_backbone(), tmp_path / "a.keras", lambda c: as_of_then(c) | {"config": {}}, "3.3.3"
    )
    path = path.rename(tmp_path / "a")
    with pytest.raises(ValueError, match="Received: source=") as caught:
        ftk.load_backbone(path)
    assert str(path) in str(caught.value)
    assert f"finetunekit-{os.sep}" not in str(caught.value)
    assert "model.keras" not in str(caught.value)


@pytest.mark.real
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_files_of_keras_3_3(ending: str, data_folder: Path) -> None:
    stem = data_folder / "data" / "old_files" / "ks_fixed_gap_dense"
    reference = np.load(stem.with_suffix(".npz"))
    found = ftk.load_backbone(stem.with_suffix(ending)).predict(reference["x"], verbose=0)
    assert np.abs(found - reference["y"]).max() <= 1e-6
