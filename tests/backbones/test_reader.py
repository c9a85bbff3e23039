"""Is a torch checkpoint of a known architecture taken for one, and is what was left out told?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer
from finetunekit.backbones.torch_models import reader
from torch_states import behind, small_resnet

NET = small_resnet()
BODY = {key: array for key, array in NET.items() if not key.startswith("fc.")}
HEAD = {"weight": np.ones((2, 20), "float32"), "bias": np.ones(2, "float32")}


def written(path: Path) -> str:
    state = {key: torch_writer.tensor(array, key) for key, array in NET.items()}
    return str(torch_writer.write_zip(path, state))


@pytest.mark.parametrize("name", ["net.pth", "net.h5", "net"])
def test_the_content_tells_a_checkpoint(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    assert reader.is_checkpoint(path)
    report = ftk.load_report(ftk.load_backbone(path))
    assert report.format == "torch checkpoint, resnet"
    assert report.source == name


def test_without_content_the_ending_tells(tmp_path: Path) -> None:
    assert reader.is_checkpoint(str(tmp_path / "absent.pth"))
    assert not reader.is_checkpoint(str(tmp_path / "absent.h5"))
    (tmp_path / "no.pth").write_text("text")
    assert reader.is_checkpoint(str(tmp_path / "no.pth"))


def test_channels_first_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "net.pth")
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"set to channels first.*Received: source='.*net.pth"):
            ftk.load_backbone(path)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fc = {"fc.0.weight": np.ones((8, 20), "f4"), "fc.2.weight": np.ones((2, 8), "f4")}
    raw = behind("net.", BODY | fc) | behind("aux.", HEAD)
    average = {key: array + 1 for key, array in raw.items()}
    value = {
        name: {key: torch_writer.tensor(array, f"{name}.{key}") for key, array in arrays.items()}
        for name, arrays in (("model", raw), ("model_ema", average))
    }
    path = torch_writer.write_zip(tmp_path / "net.pth", value)
    model = ftk.load_backbone(path)
    assert model.output_shape == (None, None, None, 20)
    kernel = raw["net.conv1.weight"].transpose(2, 3, 1, 0)
    assert np.array_equal(model.get_layer("conv1").get_weights()[0], kernel + 1)
    dropped = ftk.load_report(model).dropped
    assert len(dropped) == 3
    for words, line in zip(("'model'", "'aux.weight'", "'fc.0.weight'"), dropped, strict=True):
        assert words in line
        assert line in caplog.text
    raw_model = ftk.load_backbone(path, state_dict="model.net", include_top=False)
    assert np.array_equal(raw_model.get_layer("conv1").get_weights()[0], kernel)
    assert not ftk.load_report(raw_model).dropped
