"""Small made-up data and a small model, with which the snippets of the documentation run."""

import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

__all__ = ["ExampleData", "prepare"]

_CLASSES = ("blue", "green", "red")
_PHOTOS = 12  # Of each class.
_SEED = 10  # With these weights a head on top learns well, whatever it starts from.


class ExampleData(NamedTuple):
    """Images in 0..255 of two classes, of which the second is brighter, to train and to test on."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def prepare(folder: str | os.PathLike[str] = ".") -> ExampleData:
    """Writes `pretrained_model.h5` and `photos/` into a folder, and returns arrays to train on.

    The model has 12 layers and random weights: it shows how things are done, not how well they
    work. The photos are 36 PNG files in a subfolder for each of 3 classes. Nothing is downloaded,
    and the same is made each time.

    Args:
        folder: Where to write; files of these names are replaced.

    Returns:
        `x_train` (64, 32, 32, 3), `y_train` (64,) of 0 and 1, and half as many to test on.

    Raises:
        OSError: If the folder cannot be written to.

    Example:
        ```python
        from finetunekit import examples

        x_train, y_train, x_test, y_test = examples.prepare()
        assert x_train.shape == (64, 32, 32, 3)
        ```
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _save(pretrained_model(), target / "pretrained_model.h5")
    write_photos(target / "photos")
    return ExampleData(*images(64, seed=1), *images(32, seed=2))


def pretrained_model() -> keras.Model:
    """A Functional model: 32x32x3 -> 16 features."""
    inputs = x = keras.Input((32, 32, 3), name="image")
    for number, filters in enumerate((4, 8, 8), start=1):
        name, seed = f"conv{number}", keras.initializers.GlorotUniform(_SEED + number)
        options: dict[str, Any] = {"strides": 2, "padding": "same", "kernel_initializer": seed}
        x = keras.layers.Conv2D(filters, 3, name=name, **options)(x)
        x = keras.layers.BatchNormalization(name=f"bn{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    seed = keras.initializers.GlorotUniform(_SEED + 4)
    x = keras.layers.Dense(16, "relu", kernel_initializer=seed, name="features")(x)
    return keras.Model(inputs, x, name="pretrained")


def _save(model: keras.Model, path: Path) -> None:
    """Saves as the older files are that many people have, without Keras' advice against them."""
    absl = logging.getLogger("absl")
    before, absl.disabled = absl.disabled, True
    try:
        model.save(path)
    finally:
        absl.disabled = before


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images in 0..255, and their classes, 0 and 1 in turn."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = random.uniform(0, 155, (count, 32, 32, 3)) + 100 * y[:, None, None, None]
    return x.astype("float32"), y


def write_photos(folder: Path, each: int = _PHOTOS) -> None:
    """So many small PNG files of each class, in a subfolder of its name."""
    random = np.random.default_rng(3)
    for channel, name in zip((2, 1, 0), _CLASSES, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            photo = random.integers(0, 128, (40, 48, 3)).astype("uint8")
            photo[..., channel] += 127
            (folder / name / f"{number:02}.png").write_bytes(_png(photo))


def _png(pixels: np.ndarray) -> bytes:
    """RGB pixels as a PNG file, for which no other package is needed."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: the row is as it is.
    parts = {
        b"IHDR": struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
