"""`fine_tune` on folders as people have them: what is trained on, and how later files are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import finetunekit as ftk
import image_bytes
from finetunekit.data.image_files import read_for
from finetunekit.models import image_sizes

L = keras.layers
SHORT: dict[str, Any] = {"probe_epochs": 1, "epochs": 0, "verbose": 0, "image_size": 6}


def backbone() -> keras.Model:
    """RGB images of any size -> their mean."""
    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(2, 1, name="colours")(L.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, L.GlobalAveragePooling2D()(x), name="means")


def write(path: Path, level: int, *, deep: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((8, 8, 3), level)
    if deep:
        path.write_bytes(image_bytes.png_16(values))
    else:
        Image.fromarray(values.astype("uint8")).save(path)


def data_set(folder: Path, parts: tuple[str, ...], *, deep: bool = False) -> Path:
    """Dark cats and bright dogs, two of each in each part."""
    for part in parts:
        for label, level in (("cat", 10), ("dog", 200)):
            for number in range(2):
                value = (level + number) * (16 if deep else 1)
                write(folder / part / label / f"{number}.png", value, deep=deep)
    return folder


def loss_on(model: keras.Model, x: np.ndarray, y: list[int]) -> float:
    p = model.predict(x, verbose=0)[:, 0]
    return float(-np.log(np.where(np.array(y) == 1, p, 1 - p)).mean())


def test_parts_are_trained_validated_and_tested_on(tmp_path: Path) -> None:
    data_set(tmp_path, ("train", "val", "test"))
    model, report = ftk.fine_tune(backbone(), tmp_path, **SHORT)
    assert report.task.class_names == ("cat", "dog")
    x = np.array([10, 11, 200, 201], "float32")[:, None, None, None] * np.ones((4, 6, 6, 3))
    assert report.test is not None
    assert report.probe is not None
    for found in (report.test["loss"], report.probe["loss"]):
        assert found == pytest.approx(loss_on(model, x, [0, 0, 1, 1]), rel=1e-3)
    assert "val_loss" in report.history.history


def test_what_is_given_takes_the_place_of_a_part(tmp_path: Path) -> None:
    data_set(tmp_path / "data", ("train", "val"))
    given = (np.full((3, 6, 6, 3), 200, "uint8"), np.array([1, 1, 1]))
    model, report = ftk.fine_tune(backbone(), tmp_path / "data", given, test_data=given, **SHORT)
    assert report.probe is not None
    assert report.probe["loss"] == pytest.approx(loss_on(model, given[0], [1] * 3), rel=1e-3)


def test_deep_files_are_read_alike_everywhere(tmp_path: Path) -> None:
    """12 bits, of which the test part alone would look like 8; and so says the file."""
    data_set(tmp_path, ("train",), deep=True)
    for label, level in (("cat", 160), ("dog", 240)):
        write(tmp_path / "test" / label / "1.png", level, deep=True)
    model, report = ftk.fine_tune(backbone(), tmp_path, **SHORT)
    x = np.rint(np.array([160, 240]) / 4095 * 255)[:, None, None, None] * np.ones((2, 6, 6, 3))
    assert report.test is not None
    assert report.test["loss"] == pytest.approx(loss_on(model, x, [0, 1]), rel=1e-3)
    opened = ftk.load(ftk.save(model, tmp_path / "tuned.keras", verbose=0))
    contract = ftk.input_contract(opened)
    assert contract is not None
    assert (contract.image_bits, contract.fitting) == (12, "center_crop")
    assert contract.tuned_size == (6, 6) == image_sizes.expected(opened)
    assert contract.value_range == (0.0, 255.0)
    files = [tmp_path / "test" / label / "1.png" for label in ("cat", "dog")]
    assert np.array_equal(read_for(opened, files), x)


def hidden(folder: Path) -> None:
    for name in (".ipynb_checkpoints/0.png", "cat/.ipynb_checkpoints/0.png", "cat/._0.png"):
        write(folder / name, 99)


def empty(folder: Path) -> None:
    (folder / "ant").mkdir()
    (folder / "zebra").mkdir()
    (folder / "zebra" / "0.heic").touch()


def broken_link(folder: Path) -> None:
    (folder / "cat" / "9.png").symlink_to(folder / "nowhere.png")


@pytest.mark.parametrize("spoil", [hidden, empty, broken_link])
def test_what_is_no_class_gets_no_output(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(data_set(tmp_path, ("",)))
    model, report = ftk.fine_tune(backbone(), tmp_path, **SHORT)
    assert (report.task.name, report.task.class_names) == ("binary", ("cat", "dog"))
    assert model.output_shape == (None, 1)


def test_damaged_files_are_named_before_training(tmp_path: Path) -> None:
    data_set(tmp_path, ("",))
    whole = (tmp_path / "cat" / "0.png").read_bytes()
    (tmp_path / "cat" / "0.png").write_bytes(whole[:40])
    (tmp_path / "dog" / "1.png").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"cannot be read as images.*2 such files of 4") as caught:
        ftk.fine_tune(backbone(), tmp_path, **SHORT)
    assert all(str(tmp_path / name) in str(caught.value) for name in ("cat/0.png", "dog/1.png"))
