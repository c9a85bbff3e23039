"""What the code blocks of the documentation may use: a model file, arrays, a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

CLASSES = ("blue", "green", "red")


def prepare(folder: Path) -> dict[str, Any]:
    """Write `pretrained_model.h5` and `photos/` into `folder`; return the names a block may use.

    The names are `x_train` (64, 32, 32, 3) in 0..255, `y_train` (64,) of 0 and 1, and `x_test`,
    `y_test`, half as many. Class 1 is brighter, so that a model can learn it.
    """
    pretrained_model().save(folder / "pretrained_model.h5")
    write_photos(folder / "photos")
    x_train, y_train = examples(64, seed=1)
    x_test, y_test = examples(32, seed=2)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def pretrained_model() -> keras.Model:
    """A small Functional model of 12 layers: 32x32x3 -> 16 features."""
    inputs = x = keras.Input((32, 32, 3), name="image")
    for number, filters in enumerate((4, 8, 8), start=1):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(16, activation="relu", name="features")(x)
    return keras.Model(inputs, x, name="pretrained")


def examples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` images in 0..255 and their classes, 0 and 1 in turn."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = random.uniform(0, 155, (count, 32, 32, 3)) + 100 * y[:, None, None, None]
    return x.astype("float32"), y


def write_photos(folder: Path, each: int = 12) -> None:
    """Write `each` small PNG files of every class into a folder of the class's name."""
    random = np.random.default_rng(3)
    for channel, name in zip((2, 1, 0), CLASSES, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            photo = random.integers(0, 128, (40, 48, 3))
            photo[..., channel] += 127
            keras.utils.save_img(folder / name / f"{number:02}.png", photo, scale=False)
