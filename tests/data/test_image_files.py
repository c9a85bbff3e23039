"""Are image files fitted to one size in the one way that is promised, and the unreadable named?"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import finetunekit as ftk
import image_bytes
from finetunekit.data import image_files
from finetunekit.data.image_decoding import decode
from finetunekit.data.image_files import read_files, read_for, read_images
from finetunekit.models import metadata

L = keras.layers


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels.astype("uint8")).save(path, **options)
    return path


def photo(height: int, width: int) -> np.ndarray:
    """Waves and an edge, as in photographs."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / (3 + c) + y / (5 - c)) for c in range(3)]
    pixels = np.stack(waves, axis=-1)
    pixels[height // 3 :, width // 2 :] *= 0.4
    return np.rint(pixels).astype("uint8")


@pytest.mark.parametrize(
    ("found", "size"),
    [
        ((40, 90), (16, 16)),
        ((90, 41), (16, 16)),
        ((33, 33), (33, 33)),
        ((20, 31), (64, 64)),
        ((61, 100), (24, 40)),
        ((61, 100), (40, 24)),
        ((1, 7), (4, 4)),
    ],
)
def test_images_are_fitted_as_keras_resizes(
    found: tuple[int, int], size: tuple[int, int], tmp_path: Path
) -> None:
    pixels = photo(*found)
    image = read_images([write(tmp_path / "x.png", pixels)], size=size)[0]
    resizing = L.Resizing(*size, crop_to_aspect_ratio=True, antialias=True)
    wanted = keras.ops.convert_to_numpy(resizing(pixels[None].astype("float32")))[0]
    assert image.shape == (*size, 3)
    assert np.abs(image - wanted).max() <= 1.5  # Pillow rounds after each axis.


def test_deep_images_are_fitted_alike(tmp_path: Path) -> None:
    pixels = photo(61, 100)
    (tmp_path / "deep.png").write_bytes(image_bytes.png_16(pixels.astype(int) * 257))
    flat = read_images(write(tmp_path / "flat.png", pixels), size=(24, 24))
    deep = read_images(tmp_path / "deep.png", size=(24, 24), bits=16)
    assert np.abs(flat.astype(int) - deep).max() <= 1


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path) -> None:
    y, x = np.mgrid[:800, :1200]
    pixels = np.stack([x / 5, y / 4, 127 + 100 * np.sin(x / 90)], axis=-1).astype("uint8")
    jpeg = read_images(write(tmp_path / "x.jpg", pixels, quality=95), size=(32, 48))
    png = read_images(write(tmp_path / "x.png", pixels), size=(32, 48))
    assert np.abs(jpeg.astype(int) - png).max() <= 4


@pytest.mark.parametrize(("least", "wanted"), [(64, (150, 100)), (150, (300, 200)), (900, None)])
def test_a_jpeg_is_decoded_no_smaller_than_needed(least: int, wanted: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "x.jpg", np.zeros((800, 1200, 3)))
    assert decode(str(path), least).planes[0].size == (wanted or (1200, 800))
    assert decode(str(write(tmp_path / "x.png", np.zeros((8, 8, 3)))), 1).planes[0].size == (8, 8)


def test_transparent_files_are_counted(tmp_path: Path) -> None:
    def stored(opacity: int) -> np.ndarray:
        return np.concatenate([np.full((2, 2, 3), 4000), np.full((2, 2, 1), opacity)], axis=-1)

    paths = [write(tmp_path / f"{opacity}.png", stored(opacity)) for opacity in (255, 254)]
    for number, opacity in enumerate((65535, 60000)):
        paths.append(tmp_path / f"deep{number}.png")
        paths[-1].write_bytes(image_bytes.png_16(stored(opacity)))
    assert [read_files(path, size=(2, 2)).transparent for path in paths] == [0, 1, 0, 1]


def test_order_types_and_shapes(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.png", np.full((4, 4, 3), n)) for n in range(40)]
    images = read_images([paths[7], str(paths[3]), *paths], size=(4, 4))
    assert (images.dtype, images.shape) == ("uint8", (42, 4, 4, 3))
    assert images[:, 0, 0, 0].tolist() == [7, 3, *range(40)]
    assert read_images(str(paths[9]), size=(2, 4))[0, 0, 0, 0] == 9
    assert read_images([], size=(2, 4)).shape == (0, 2, 4, 3)


@pytest.mark.parametrize("name", ["猫.png", "é und ß.png", "a b (1).png", "🐈.png"])
def test_paths_in_any_language(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "写真"
    folder.mkdir()
    assert read_images(write(folder / name, np.full((2, 2, 3), 9)), size=(2, 2)).max() == 9


def test_all_unreadable_files_are_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", photo(20, 20))
    half = tmp_path / "half.png"
    half.write_bytes(good.read_bytes()[:-200])
    (tmp_path / "text.jpg").write_text("version https://git-lfs.github.com/spec/v1")
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    bad = [half, tmp_path / "text.jpg", tmp_path / "empty.gif", tmp_path / "folder.png"]
    with pytest.raises(ValueError, match="cannot be read as images") as caught:
        read_images([good, *bad, good], size=(8, 8))
    assert all(str(path) in str(caught.value) for path in bad)
    assert str(good) not in str(caught.value)
    assert str(caught.value).endswith("Received: 4 such files of 6")


def test_missing_files_are_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.png", photo(20, 20))
    gone = tmp_path / "gone.png"
    gone.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(FileNotFoundError, match="These files are not there") as caught:
        read_images([good, gone, tmp_path / "other.png"], size=(8, 8))
    assert str(caught.value).endswith("Received: 2 such paths of 3")


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.png", photo(4, 4))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'pip install "finetunekit\[images\]"'):
        read_images([path], size=(4, 4))


# Depth.


def deep(path: Path, highest: int) -> Path:
    path.write_bytes(image_bytes.png_16(np.array([[[0], [highest]]])))
    return path


def test_files_of_a_set_keep_their_brightness_among_each_other(tmp_path: Path) -> None:
    """A dark image of a 12-bit camera is dark, though its own values fit into 10 bits."""
    paths = [deep(tmp_path / "dark.png", 900), deep(tmp_path / "bright.png", 4000)]
    found = read_files(paths, size=(1, 2))
    assert (found.bits, found.deep, found.transparent) == (12, 2, 0)
    assert found.images[:, 0, 1, 0].tolist() == [round(900 / 4095 * 255), round(4000 / 4095 * 255)]
    assert read_files(paths[:1], size=(1, 2)).bits == 10
    alone = read_files(paths[:1], size=(1, 2), bits=12)
    assert np.array_equal(alone.images, found.images[:1])


def test_values_beyond_the_depth_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [deep(tmp_path / "dark.png", 900), deep(tmp_path / "bright.png", 5000)]
    images = read_images(paths, size=(1, 2), bits=12)
    assert images[:, 0, 1, 0].tolist() == [56, 255]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "values up to 5,000 in 1 file of 2 lie beyond the 12 bits" in record.message
    assert "bright.png" in record.message
    assert "dark.png" not in record.message


def test_what_is_not_plain_rgb_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    paths = [deep(tmp_path / "x.png", 900), write(tmp_path / "y.png", np.full((2, 2, 4), 9))]
    frames = [Image.new("RGB", (4, 3), (level, 0, 0)) for level in (255, 0)]
    frames[0].save(tmp_path / "z.gif", save_all=True, append_images=frames[1:])
    paths += [tmp_path / "z.gif", write(tmp_path / "z.png", photo(4, 4))]
    read_files(paths, size=(2, 2)).report("photos")
    assert [record.message for record in caplog.records] == [
        "photos: 1 file of more than 8 bits read as 10-bit images, values of 0 to 1,023 to pixels "
        "of 0 to 255",
        "photos: transparent parts of 1 file are made white",
        "photos: of 1 file with several frames or pages the first",
    ]


# For a model.


def model_of(*shape: int | None) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, L.GlobalAveragePooling2D()(inputs))


def test_files_are_read_as_a_model_expects_them(tmp_path: Path) -> None:
    path = deep(tmp_path / "x.png", 900)
    model = model_of(None, None, 3)
    assert read_for(model, [path]).shape == (1, 224, 224, 3)
    contract = ftk.InputContract(size=(8, 8), tuned_size=(1, 2), image_bits=12)
    metadata.remember(model, contract=contract)
    assert np.array_equal(read_for(model, path), read_images(path, size=(1, 2), bits=12))
    assert read_for(model_of(6, 4, 3), path).shape == (1, 6, 4, 3)


def test_what_is_predicted_of_a_file_depends_on_it_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_of(1, 2, 3)
    paths = [deep(tmp_path / "dark.png", 900), deep(tmp_path / "bright.png", 4000)]
    together = read_for(model, paths)
    (record,) = caplog.records
    assert "2 files of more than 8 bits, on which" in record.message
    assert np.array_equal(together, np.concatenate([read_for(model, path) for path in paths]))
    assert together[:, 0, 1, 0].tolist() == [round(900 / 1023 * 255), round(4000 / 4095 * 255)]


def test_grey_models_get_one_channel(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3]]))
    images = read_for(model_of(1, 4, 1), path)
    assert images.dtype == "uint8"
    assert images[..., 0].tolist() == [[[76, 150, 29, 255]]]  # ITU-R BT.601


def test_how_files_were_read_is_remembered() -> None:
    model = model_of(4, 4, 3)
    metadata.remember(model, contract=ftk.InputContract(value_range=(0.0, 255.0)))
    image_files.remember(model, 12)
    contract = ftk.input_contract(model)
    assert contract == ftk.InputContract(
        value_range=(0.0, 255.0), fitting="center_crop", image_bits=12
    )
