"""Is every kind of image file decoded to the pixels that it shows?"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile  # Comes with scikit-image.
from PIL import Image, ImageSequence

import image_bytes
from finetunekit.data.image_files import read_images

RANDOM = np.random.default_rng(5)
GREY = RANDOM.integers(0, 65536, (6, 5, 1))
COLOURS = RANDOM.integers(0, 65536, (6, 5, 3))
GREY[0, 0] = COLOURS[0, 0] = 65535


def read(path: Path, **options: Any) -> np.ndarray:
    """The pixels of a file in its own size."""
    with Image.open(path) as image:
        width, height = image.size
    return read_images([path], size=(height, width), **options)[0]


def scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Three channels of 0..255, of which `white` is 255."""
    return np.broadcast_to(np.rint(values / white * 255), (*values.shape[:2], 3))


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# Depth.

TIFFS = [
    pytest.param({"order": order, "packed": packed}, id=f"{order}{'packed' if packed else ''}")
    for order in "<>"
    for packed in (False, True)
]


@pytest.mark.parametrize("values", [GREY, COLOURS], ids=["grey", "colours"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_png_files_are_scaled_by_what_is_in_them(
    values: np.ndarray, bits: int, tmp_path: Path
) -> None:
    values = values >> (16 - bits)
    path = written(tmp_path / "x.png", image_bytes.png_16(values))
    assert np.array_equal(read(path), scaled(values, 2**bits - 1))


@pytest.mark.parametrize("values", [GREY, COLOURS], ids=["grey", "colours"])
@pytest.mark.parametrize("options", TIFFS)
def test_deep_tiff_files_are_scaled_by_what_is_in_them(
    values: np.ndarray, options: Any, tmp_path: Path
) -> None:
    for bits in (12, 16):
        path = written(tmp_path / "x.tif", image_bytes.tiff_16(values >> (16 - bits), **options))
        assert np.array_equal(read(path), scaled(values >> (16 - bits), 2**bits - 1))


def test_8_bits_in_a_16_bit_file_stay_as_they_are(tmp_path: Path) -> None:
    values = GREY >> 8
    path = written(tmp_path / "x.png", image_bytes.png_16(values))
    assert np.array_equal(read(path), scaled(values, 255))


def test_deep_transparency_shows_white(tmp_path: Path) -> None:
    opacity = RANDOM.integers(0, 65536, (6, 5, 1))
    opacity[0, 0] = 65535
    share = opacity / 65535
    wanted = np.rint(255 * (COLOURS / 65535 * share + 1 - share))
    stored = np.concatenate([COLOURS, opacity], axis=-1)
    for content in (image_bytes.png_16(stored), image_bytes.tiff_16(stored)):
        path = written(tmp_path / "x", content)
        assert np.abs(read(path) - wanted).max() <= 1


def test_deep_files_of_full_opacity_are_exact(tmp_path: Path) -> None:
    stored = np.concatenate([COLOURS >> 4, np.full((6, 5, 1), 65535)], axis=-1)
    path = written(tmp_path / "x.png", image_bytes.png_16(stored))
    assert np.array_equal(read(path), scaled(COLOURS >> 4, 4095))


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_floats_are_shares_or_pixels(white: float, tmp_path: Path) -> None:
    values = (GREY[..., 0] / 65535).astype("float32")
    path = saved(tmp_path / "x.tif", Image.fromarray(values * np.float32(white)))
    assert np.array_equal(read(path), scaled(values[..., None], 1))


BAD_VALUES = {
    "negative": (np.array([[-1, 5]], "float32"), "negative or not finite"),
    "not a number": (np.array([[np.nan, 5]], "float32"), "negative or not finite"),
    "infinite": (np.array([[np.inf, 5]], "float32"), "negative or not finite"),
    "beyond 16 bits": (np.array([[65536, 5]], "int32"), "go up to 65,536, beyond 16 bits"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_that_are_no_brightness_are_refused(name: str, tmp_path: Path) -> None:
    values, words = BAD_VALUES[name]
    path = saved(tmp_path / "x.tif", Image.fromarray(values))
    with pytest.raises(ValueError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_deep_colours_in_planes_of_their_own_are_refused(
    compression: str | None, tmp_path: Path
) -> None:
    planes = np.moveaxis(COLOURS, -1, 0).astype("uint16")
    options: Any = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "x.tif", planes, **options)
    with pytest.raises(ValueError, match=r"stored in a way that is not read \(planes\)"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize(
    "options", [{"tile": (16, 16)}, {"rowsperstrip": 5}, {"compression": "zlib", "predictor": True}]
)
def test_deep_tiff_files_of_other_writers(options: Any, tmp_path: Path) -> None:
    values = RANDOM.integers(0, 4096, (32, 48, 3)).astype("uint16")
    values[0, 0] = 4095
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", **options)
    assert np.array_equal(read(tmp_path / "x.tif"), scaled(values, 4095))


def test_deep_files_whose_0_is_white_are_refused(tmp_path: Path) -> None:
    """Pillow would show the negative."""
    path = written(tmp_path / "x.tif", image_bytes.tiff_16(GREY, white_is_zero=True))
    with pytest.raises(ValueError, match="its 0 is white"):
        read(path)


def test_grey_with_transparency_of_16_bits_is_refused(tmp_path: Path) -> None:
    """Pillow would keep the upper byte alone: black for 12 bits."""
    path = written(tmp_path / "x.png", image_bytes.png_16(COLOURS[..., :2]))
    with pytest.raises(ValueError, match=r"stored in a way that is not read \(LA;16B\)"):
        read(path)


# Colour.


def test_a_palette_with_transparency_shows_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], "uint8"), "L").convert("P")
    image.putpalette([200, 100, 0, 10, 20, 30, 255, 0, 0])
    path = saved(tmp_path / "x.png", image, transparency=bytes([0, 102, 255]))
    half = [255 - 0.4 * (255 - value) for value in (10, 20, 30)]  # 102 of 255 is 0.4.
    wanted = [[255, 255, 255], half, [255, 0, 0]]
    assert np.abs(read(path)[0] - np.array(wanted)).max() <= 1


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
def test_rgba_shows_white(kind: str, tmp_path: Path) -> None:
    stored = RANDOM.integers(0, 256, (6, 5, 4)).astype("uint8")
    stored[0, 0] = (7, 8, 9, 0)
    path = saved(tmp_path / f"x.{kind}", Image.fromarray(stored), lossless=True, exact=True)
    share = stored[..., 3:] / 255
    wanted = stored[..., :3] * share + 255 * (1 - share)
    assert np.abs(read(path) - wanted).max() <= 1
    assert (read(path)[0, 0] == 255).all()


def test_a_grey_level_that_is_transparent_shows_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 90, 200]], "uint8"))
    path = saved(tmp_path / "x.png", image, transparency=90)
    assert read(path)[0].tolist() == [[0] * 3, [255] * 3, [200] * 3]


def test_cmyk(tmp_path: Path) -> None:
    """Each ink takes its share of the light, and black of all."""
    inks = np.array(
        [[0, 0, 0, 0], [255, 0, 0, 0], [0, 128, 0, 0], [0, 0, 200, 0], [40, 80, 120, 60]]
    )
    stored = np.repeat(np.repeat(inks[None], 16, axis=0), 16, axis=1).astype("uint8")
    path = saved(tmp_path / "x.jpg", Image.fromarray(stored, "CMYK"), quality=100)
    wanted = 255 * (1 - inks[:, :3] / 255) * (1 - inks[:, 3:] / 255)
    assert np.abs(read(path)[8, 8::16] - wanted).max() <= 3


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P"])
def test_grey_becomes_three_equal_channels(mode: str, tmp_path: Path) -> None:
    levels = np.array([[0, 255, 255, 0], [255, 0, 0, 255]], "uint8")
    path = saved(tmp_path / "x.png", Image.fromarray(levels).convert(mode))
    assert np.array_equal(read(path), levels[..., None].repeat(3, axis=-1))


# Files.


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("png", {}),
        ("bmp", {}),
        ("tif", {}),
        ("tiff", {"compression": "tiff_lzw"}),
        ("webp", {"lossless": True}),
        ("PNG", {}),
    ],
)
def test_lossless_kinds_are_exact(kind: str, options: Any, tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (6, 5, 3)).astype("uint8")
    path = saved(tmp_path / f"x.{kind}", Image.fromarray(pixels), **options)
    assert np.array_equal(read(path), pixels)


@pytest.mark.parametrize("kind", ["jpg", "jpeg", "jpe", "jfif", "webp"])
def test_lossy_kinds_are_near(kind: str, tmp_path: Path) -> None:
    pixels = np.broadcast_to(np.linspace(10, 240, 40).astype("uint8")[:, None], (30, 40, 3))
    path = saved(tmp_path / f"x.{kind}", Image.fromarray(np.ascontiguousarray(pixels)), quality=95)
    assert np.abs(read(path).astype(int) - pixels).max() <= 6


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), (level, 0, 0)) for level in (255, 0, 0)]
    path = saved(tmp_path / "x.gif", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert len(list(ImageSequence.Iterator(image))) > 1
    assert (read(path) == (255, 0, 0)).all()


UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_images_are_turned_upright(kind: str, orientation: int, tmp_path: Path) -> None:
    stored = np.zeros((32, 48, 3), "uint8")
    stored[:16, :16], stored[16:, :16], stored[:16, 32:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"x.{kind}", Image.fromarray(stored), exif=exif, quality=95)
    wanted = UPRIGHT[orientation](stored)
    found = read_images(path, size=wanted.shape[:2])[0]
    assert np.abs(found.astype(float) - wanted).mean() < 4


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("packed", [False, True])
def test_deep_images_are_turned_upright(orientation: int, packed: bool, tmp_path: Path) -> None:
    for values in (GREY, COLOURS):
        content = image_bytes.tiff_16(values, packed=packed, orientation=orientation)
        path = written(tmp_path / "x.tif", content)
        wanted = UPRIGHT[orientation](scaled(values, 65535))
        assert np.array_equal(read_images(path, size=wanted.shape[:2])[0], wanted)


def test_damaged_exif_data_do_not_spoil_the_pixels(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (6, 5, 3)).astype("uint8")
    path = saved(tmp_path / "x.png", Image.fromarray(pixels), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(read(path), pixels)


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_truncated_files_are_refused(kind: str, tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (64, 64, 3)).astype("uint8")
    whole = io.BytesIO()
    name = {"jpg": "jpeg", "tif": "tiff"}.get(kind, kind)
    Image.fromarray(pixels).save(whole, name)
    path = written(tmp_path / f"x.{kind}", whole.getvalue()[: len(whole.getvalue()) // 2])
    with pytest.raises(ValueError, match="cannot be read as images") as caught:
        read_images([path], size=(64, 64))
    assert str(path) in str(caught.value)
