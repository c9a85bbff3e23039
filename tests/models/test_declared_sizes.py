"""Does a file that asks for absurd amounts of memory get an error and nothing else?"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import declared_sizes
from models import images, small_backbone


def rewrite(path: Path, change: Any) -> None:
    """Changes the config inside a file of Keras 3."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("load", "ending"),
    [(ftk.load_backbone, ".keras"), (ftk.load_backbone, ".h5"), (ftk.load, ".keras")],
)
@pytest.mark.parametrize(("layer", "key"), [("features", "units"), ("conv2", "filters")])
def test_a_model_larger_than_memory(
    layer: str, key: str, ending: str, load: Any, tmp_path: Path
) -> None:
    path = tmp_path / f"model{ending}"
    small_backbone().save(path)

    def absurd(config: Any) -> Any:
        for entry in config["config"]["layers"]:
            if entry["config"]["name"] == layer:
                entry["config"][key] = 10**12
        return config

    rewrite(path, absurd)
    with pytest.raises(ValueError, match=r"needs [\d,]+ bytes of memory"):
        load(path)


def test_an_honest_file_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_backbone().save(tmp_path / "model.keras")
    monkeypatch.setattr(declared_sizes.keras_internals, "deferred_variables", lambda: 1 / 0)
    ftk.load_backbone(tmp_path / "model.keras")


def test_a_suspicious_but_honest_file_loads(tmp_path: Path) -> None:
    """A wide bottleneck: the widest layers do not meet."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(5000), layers.Dense(1), layers.Dense(5000)]
    )
    model.save(tmp_path / "model.keras")
    x = images(1)[0, 0, :, :2]
    assert declared_sizes._guess(json.loads(model.to_json())) > 16 * 100_000
    loaded = ftk.load_backbone(tmp_path / "model.keras")
    assert np.array_equal(loaded(x), model(x))
    later = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    assert later(x).shape == (16, 3)
