"""Image settings of Hugging Face folders; those of KerasHub presets are in test_hub.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.backbones import hub_images
from finetunekit.models import metadata

NORMALIZED = {"image_mean": [0.5, 0.5, 0.25], "image_std": [0.5, 0.25, 0.5]}


class NoPreset:
    """A hub without image settings."""

    layers: Any = None

    def __init__(self) -> None:
        self.layers = self
        self.ImageConverter = self

    def from_preset(self, preset: str) -> None:
        return None


def contract(folder: Path, settings: Any) -> Any:
    if settings is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    hub_images.remember_settings(model, NoPreset(), str(folder), str(folder))
    return metadata.of(model).contract


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"size": {"height": 8, "width": 6}}, (8, 6)),
        ({"size": 8, "rescale_factor": 1 / 255, "do_rescale": True}, (8, 8)),
        ({"size": 9, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, (8, 8)),
        ({"size": {"shortest_edge": 8}}, None),
    ],
)
def test_pixels_are_scaled_as_transformers_does_it(
    tmp_path: Path, settings: Any, size: Any
) -> None:
    found = contract(tmp_path, NORMALIZED | settings)
    pixels = np.array([10.0, 100.0, 200.0])
    wanted = (pixels / 255 - NORMALIZED["image_mean"]) / NORMALIZED["image_std"]
    assert np.allclose((pixels - found.mean) / found.std, wanted)
    assert found.size == size
    assert found.preprocessing == "outside"


@pytest.mark.parametrize(
    "settings", [None, {"image_mean": "x"}, {"rescale_factor": 0, **NORMALIZED}]
)
def test_without_settings_the_contract_is_unknown(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert contract(tmp_path, settings) is None
    assert "input contract" in caplog.text


def test_only_rescaled(tmp_path: Path) -> None:
    found = contract(tmp_path, {"do_normalize": False})
    assert found.mean == pytest.approx((0.0,) * 3)
    assert found.std == pytest.approx((255.0,) * 3)
