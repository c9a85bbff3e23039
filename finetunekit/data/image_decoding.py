"""Decoding of one image file with Pillow: upright, in RGB, nothing seen through it."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from finetunekit.models.inputs import DEPTHS

# Tag of Exif -> what turns the image upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# Pillow keeps the upper byte of 16-bit colours. Read in the other byte order, it keeps the lower.
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_TWO_BYTES = ("RGB", "RGBX", "RGBA")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANES = 258, 262, 284  # Tags of TIFF.


class Decoded(NamedTuple):
    """An image of the file's own size.

    Attributes:
        planes: One Pillow image in RGB of 8 bits; or, of deeper files, one in mode F for each
            channel, with the values as stored, times the opacity.
        opacity: Of deeper files with transparent parts, an image in mode F of 0 to 1.
        highest: The largest value of a deeper file; None for 8 bits.
        transparent: Whether parts were transparent.
        frames: Whether the file holds more images, of an animation or on further pages.
    """

    planes: tuple[Any, ...]
    opacity: Any = None
    highest: float | None = None
    transparent: bool = False
    frames: bool = False


def pillow(module: str = "Image") -> Any:
    """A module of Pillow.

    Raises:
        ImportError: If it is not installed; with the line that installs it.
    """
    try:
        return importlib.import_module(f"PIL.{module}")
    except ImportError as error:
        raise ImportError(
            "Images in files are read with Pillow, which is not installed. Install it: "
            'pip install "finetunekit[images]"'
        ) from error


def depth_of(highest: float) -> int:
    """The smallest depth in bits that holds a value.

    Raises:
        ValueError: If none does.
    """
    for bits in DEPTHS:
        if highest <= 2**bits - 1:
            return bits
    raise ValueError(f"its values go up to {highest:,.0f}, beyond 16 bits; save it as 16-bit")


def decode(path: str, least: int) -> Decoded:
    """Decodes the first frame of a file.

    Args:
        path: The file.
        least: Sides in pixels that suffice: a larger JPEG is decoded at a half, a quarter or an
            eighth of its size, many times faster, as long as no side falls below.

    Raises:
        Exception: Whatever Pillow raises for a file that is damaged or no image.
        ValueError: If the values have no meaning as brightness.
    """
    with _opened(path) as image:
        frames = bool(getattr(image, "is_animated", False))
        return _pixels(path, image, least)._replace(frames=frames)


def _pixels(path: str, image: Any, least: int) -> Decoded:
    raw = _two_bytes(image)
    if raw is not None:
        return _deep_colours(path, image, raw)
    if image.mode == "F" or image.mode[0] == "I":
        return _deep_grey(image)
    if image.format == "JPEG":
        image.draft(None, (least, least))
    image.load()
    return _over_white(_upright(image, _orientation(image)))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """The image in a file, not loaded yet."""
    # Of a path, Pillow maps some TIFF files into memory, which scrambles those that are turned.
    with open(path, "rb") as file, pillow().open(file) as image:
        yield image


def _orientation(image: Any) -> int:
    """How the camera was held, of a loaded image; 1 where that cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises many kinds for damaged Exif data; the pixels are whole.
        return 1


def _upright(image: Any, orientation: int) -> Any:
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(getattr(pillow().Transpose, turn))


def _over_white(image: Any) -> Decoded:
    """RGB of 8 bits; what is transparent shows white."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return Decoded((image.convert("RGB"),))
    colours = image.convert("RGBA")
    if colours.getextrema()[3][0] == 255:
        return Decoded((colours.convert("RGB"),))
    white = pillow().new("RGBA", colours.size, "white")
    white.alpha_composite(colours)
    return Decoded((white.convert("RGB"),), transparent=True)


def _deep_grey(image: Any) -> Decoded:
    values = np.asarray(image).astype("float32")
    orientation = _orientation(image)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        raise ValueError("its 0 is white, which is read of 8 bits only; save it with 0 as black")
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("its values are negative or not finite; save it as 8-bit or 16-bit")
    if image.mode == "F" and values.max() <= 1:
        whole = np.rint(255 * values).astype("uint8")
        return Decoded((_upright(pillow().fromarray(whole), orientation).convert("RGB"),))
    return _of_values(values[..., None], None, orientation)


def _two_bytes(image: Any) -> str | None:
    """How 16-bit colours are stored, which Pillow opens as 8-bit ones; None for other images.

    Raises:
        ValueError: If they are stored in a way that cannot be read.
    """
    if image.mode == "F" or image.mode[0] == "I":
        return None
    kinds = {_raw_mode(tile) for tile in getattr(image, "tile", ())}
    deep = {kind for kind in kinds if ";16" in kind}
    tags = getattr(image, "tag_v2", {})
    if not deep and max(tags.get(_BITS_PER_SAMPLE, (8,))) <= 8:
        return None
    whole = len(deep) == len(kinds) == 1 and tags.get(_PLANES) != 2
    raw = deep.pop() if whole else ""
    name, _, order = raw.partition(";16")
    if name not in _TWO_BYTES or order not in _OTHER_BYTE:
        raise ValueError(
            f"its 16-bit colours are stored in a way that is not read ({raw or 'planes'}); save it "
            "as RGB or grey"
        )
    return raw


def _raw_mode(tile: Any) -> str:
    return str(tile.args if isinstance(tile.args, str) else tile.args[0])


def _deep_colours(path: str, image: Any, raw: str) -> Decoded:
    upper = np.asarray(image)
    orientation = _orientation(image)
    other = raw[:-1] + _OTHER_BYTE[raw[-1]]
    with _opened(path) as again:
        again.tile = [
            tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))
            for tile in again.tile
        ]
        lower = np.asarray(again)
    values = 256 * upper.astype("float32") + lower
    opacity = None
    if values.shape[-1] == 4:
        values, opacity = values[..., :3], values[..., 3]
        opacity = opacity / (2 ** depth_of(float(opacity.max())) - 1)
        opacity = None if opacity.min() == 1 else opacity
    return _of_values(values, opacity, orientation)


def _of_values(values: np.ndarray, opacity: np.ndarray | None, orientation: int) -> Decoded:
    """Planes `(height, width)` of values `(height, width, channels)`."""
    highest = float(values.max())
    depth_of(highest)
    if opacity is not None:
        values = values * opacity[..., None]
    planes = [values[..., channel] for channel in range(values.shape[-1])]
    planes += [] if opacity is None else [opacity]
    images = [
        _upright(pillow().fromarray(np.ascontiguousarray(plane, "float32")), orientation)
        for plane in planes
    ]
    if opacity is None:
        return Decoded(tuple(images), highest=highest)
    return Decoded(tuple(images[:-1]), images[-1], highest, transparent=True)
