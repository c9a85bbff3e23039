"""Do the examples of the documentation exist everywhere, and are they the same each time?"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from finetunekit import examples


def test_all_is_there_without_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    data = examples.prepare(tmp_path / "made")
    assert data.x_train.shape == (64, 32, 32, 3)
    assert data.x_test.shape == (32, 32, 32, 3)
    assert 0 <= data.x_train.min() < 50
    assert 200 < data.x_train.max() <= 255
    assert np.bincount(data.y_train).tolist() == [32, 32]
    assert not np.array_equal(data.x_train[:32], data.x_test)
    model = keras.saving.load_model(tmp_path / "made" / "pretrained_model.h5")
    assert (model.output_shape, len(model.layers)) == ((None, 16), 12)


def test_photos_are_files_that_any_reader_opens(tmp_path: Path) -> None:
    examples.prepare(tmp_path)
    files = sorted((tmp_path / "photos").rglob("*.png"))
    assert len(files) == 36
    for channel, name in enumerate(("red", "green", "blue")):
        with Image.open(tmp_path / "photos" / name / "00.png") as image:
            assert (image.size, image.mode) == ((48, 40), "RGB")
            assert np.asarray(image).mean(axis=(0, 1)).argmax() == channel


def test_a_second_time_the_same_is_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def made() -> tuple[str, list[str], list[float]]:
        data = examples.prepare(tmp_path)
        model = keras.saving.load_model(tmp_path / "pretrained_model.h5")
        digests = [
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((tmp_path / "photos").rglob("*.png"))
        ]
        weights = [float(np.sum(weight)) for weight in model.get_weights()]
        return hashlib.sha256(data.x_train.tobytes()).hexdigest(), digests, weights

    assert made() == made()
    assert "We recommend" not in caplog.text
