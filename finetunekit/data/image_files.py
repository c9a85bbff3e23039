"""Image files as arrays: decoded, fitted to one size, what cannot be read named."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from finetunekit.backbones.contract import input_contract
from finetunekit.data.image_decoding import Decoded, decode, depth_of, pillow
from finetunekit.foundation.messages import listed, plural, say, warn
from finetunekit.models import data_formats, image_sizes, metadata
from finetunekit.models.metadata import InputContract

FITTING = "center_crop"
"""The one way in which images are fitted to a size: the largest part in the middle that has the
proportions wanted is resized, bilinear and antialiased."""

_NAMED = 50
_WORKERS = 8

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class ReadImages:
    """What was read of files.

    Attributes:
        images: uint8 `(n, height, width, 3)`.
        bits: The depth by which files of more than 8 bits were scaled; None if there are none.
        deep: How many of them there are.
        transparent: How many files have transparent parts.
        frames: How many hold more images than the one that was read.
    """

    images: np.ndarray
    bits: int | None
    deep: int
    transparent: int
    frames: int

    def report(self, where: str) -> None:
        """Logs what became of files that are not plain RGB."""
        if self.deep:
            say(
                f"{where}: {plural(self.deep, 'file')} of more than 8 bits read as {self.bits}-bit "
                f"images, values of 0 to {2 ** (self.bits or 0) - 1:,} to pixels of 0 to 255"
            )
        if self.transparent:
            say(f"{where}: transparent parts of {plural(self.transparent, 'file')} are made white")
        if self.frames:
            say(f"{where}: of {plural(self.frames, 'file')} with several frames or pages the first")


class _Deep(NamedTuple):
    """The fitted values of a file of more than 8 bits, times the opacity if it has one."""

    values: np.ndarray
    opacity: np.ndarray | None
    highest: float


def read_images(paths: Paths, *, size: tuple[int, int], bits: int | None = None) -> np.ndarray:
    """Reads image files as RGB arrays of one size, the same for training and for prediction.

    The largest part in the middle that has the proportions of `size` is resized, bilinear and
    antialiased, which is what `keras.layers.Resizing(height, width, crop_to_aspect_ratio=True,
    antialias=True)` does. Images are turned upright as their Exif data say; palettes, grey and
    CMYK become RGB; transparent parts show white; of an animation the first frame is taken.
    Files of 10 to 16 bits a channel become 8 bits by the smallest depth that holds the largest
    value among them all, so that they keep their brightness among each other.

    Args:
        paths: The files, or one.
        size: Height and width in pixels.
        bits: The depth of files of more than 8 bits, such as 12; None goes by their values.

    Returns:
        uint8 `(n, height, width, 3)` in 0..255.

    Raises:
        ValueError: If files cannot be read as images; with the names of all.
        FileNotFoundError: If files are not there; with the names of all.
        ImportError: If Pillow is not installed; with the line that installs it.

    Example:
        ```python
        from pathlib import Path
        from finetunekit.data.image_files import read_images

        images = read_images(sorted(Path("photos/red").iterdir()), size=(32, 32))
        assert images.shape == (12, 32, 32, 3)
        ```
    """
    return read_files(paths, size=size, bits=bits).images


def read_for(model: keras.Model, paths: Paths) -> np.ndarray:
    """Reads image files as a model expects them: its size, channels, and depth of 16-bit files.

    A model that was not tuned on files of more than 8 bits gets each of them by the values of that
    file alone, with a warning: what is predicted of one does not depend on the others.

    Args:
        model: A model of one input of images.
        paths: The files, or one.

    Returns:
        uint8 `(n, height, width, channels)` in 0..255; with the channels first if the model takes
        them so.

    Raises:
        ValueError: If the model takes no images, or files cannot be read.
        FileNotFoundError: If files are not there.
        ImportError: If Pillow is not installed; with the line that installs it.

    Example:
        ```python
        import finetunekit as ftk
        from finetunekit.data.image_files import read_for

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        assert read_for(model, ["photos/red/00.png"]).shape == (1, 32, 32, 3)
        ```
    """
    contract = metadata.of(model).contract
    bits = None if contract is None else contract.image_bits
    found = read_files(paths, size=image_sizes.expected(model), bits=bits, each=True)
    if found.deep and bits is None:
        warn(
            f"{plural(found.deep, 'file')} of more than 8 bits, on which {model.name!r} was not "
            "tuned, as far as is known: of each, the smallest depth that holds its values is taken "
            "for white. If your camera has another, read them yourself"
        )
    return as_fed(found.images, model)


def remember(model: keras.Model, bits: int | None) -> None:
    """Notes in the input contract of a model how the image files were read that it is tuned on."""
    known = input_contract(model) or InputContract()
    read_as = dataclasses.replace(known, fitting=FITTING, image_bits=bits)
    metadata.remember(model, contract=read_as)


def as_fed(images: np.ndarray, model: keras.Model) -> np.ndarray:
    """RGB images as a model takes them: grey by the weights of ITU-R BT.601, its data format."""
    if image_sizes.channels(model) == 1:
        grey = images @ np.array([0.299, 0.587, 0.114], "float32")
        images = np.rint(grey[..., None]).astype("uint8")
    first = data_formats.of_input(model) == data_formats.FIRST
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if first else images


def read_files(
    paths: Paths, *, size: tuple[int, int], bits: int | None = None, each: bool = False
) -> ReadImages:
    """As `read_images`, with what was found in the files.

    Args:
        paths: The files, or one.
        size: Height and width in pixels.
        bits: The depth of files of more than 8 bits; None goes by their values.
        each: Whether these are the values of each file alone, rather than of all.

    Raises:
        ValueError: If files cannot be read as images; with the names of all.
        FileNotFoundError: If files are not there; with the names of all.
        ImportError: If Pillow is not installed; with the line that installs it.
    """
    several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    files = [os.fspath(path) for path in several]
    _check_there(files)
    pillow().init()  # Its plugins, before threads ask for them.
    images = np.empty((len(files), *size, 3), "uint8")
    deep: dict[int, _Deep] = {}
    broken: dict[int, str] = {}
    found_in: Counter[str] = Counter()

    def read(index: int) -> None:
        try:
            found = decode(files[index], 2 * max(size))
            found_in.update(name for name in ("transparent", "frames") if getattr(found, name))
            if found.highest is None:
                images[index] = _fitted(found.planes[0], size)
            else:
                deep[index] = _fitted_values(found, size)
        except Exception as error:  # Of damaged files Pillow raises a dozen kinds.
            broken[index] = f"{files[index]} ({str(error) or type(error).__name__})"

    _in_threads(read, len(files))
    _check_whole([broken[index] for index in sorted(broken)], len(files))
    if deep and bits is None and not each:
        bits = depth_of(max(part.highest for part in deep.values()))
    _scale(images, files, deep, bits)
    return ReadImages(images, bits, len(deep), found_in["transparent"], found_in["frames"])


def _in_threads(read: Callable[[int], None], count: int) -> None:
    with ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1)) as pool:
        try:
            list(pool.map(read, range(count)))
        except BaseException:  # An interrupted job does not go on with what is left.
            pool.shutdown(cancel_futures=True)
            raise


def _check_there(files: list[str]) -> None:
    missing = [path for path in files if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            f"These files are not there: {listed(missing, _NAMED)}. "
            f"Received: {len(missing)} such paths of {len(files)}"
        )


def _check_whole(broken: list[str], count: int) -> None:
    if broken:
        raise ValueError(
            f"These files cannot be read as images: {listed(broken, _NAMED)}. Remove them, or "
            f"save them again. Received: {plural(len(broken), 'such file')} of {count:,}"
        )


def _box(found: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part in the middle that has the proportions wanted, as Keras cuts it."""
    (width, height), (to_height, to_width) = found, size
    cut_height = max(1, min(height, width * to_height // to_width))
    cut_width = max(1, min(width, height * to_width // to_height))
    left, top = (width - cut_width) // 2, (height - cut_height) // 2
    return left, top, left + cut_width, top + cut_height


def _fitted(plane: Any, size: tuple[int, int]) -> np.ndarray:
    # Cut first: of `resize(box=)` Pillow lets pixels beside the box shine in.
    cut = plane.crop(_box(plane.size, size))
    return np.asarray(cut.resize(size[::-1], pillow().Resampling.BILINEAR))


def _fitted_values(found: Decoded, size: tuple[int, int]) -> _Deep:
    values = np.stack([_fitted(plane, size) for plane in found.planes], axis=-1)
    opacity = None if found.opacity is None else _fitted(found.opacity, size)
    # Half the memory, and no value is lost: they were whole numbers.
    return _Deep(np.rint(values).astype("uint16"), opacity, float(found.highest or 0))


def _scale(images: np.ndarray, files: list[str], deep: dict[int, _Deep], bits: int | None) -> None:
    """Writes the files of more than 8 bits into the images; without a depth, each by its own."""
    beyond = [index for index in sorted(deep) if bits and deep[index].highest > 2**bits - 1]
    if beyond:
        highest = max(deep[index].highest for index in beyond)
        warn(
            f"values up to {highest:,.0f} in {plural(len(beyond), 'file')} of {len(deep)} lie "
            f"beyond the {bits} bits of the images that the model was tuned on, and become white: "
            f"{listed((files[index] for index in beyond), 5)}"
        )
    for index, part in deep.items():
        levels = part.values * np.float32(255 / (2 ** (bits or depth_of(part.highest)) - 1))
        if part.opacity is not None:
            levels = levels + 255 * (1 - part.opacity[..., None])
        images[index] = np.clip(np.rint(levels), 0, 255)
