"""The user's own images: a folder with one subfolder per class, read and split."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

from finetunekit.foundation.messages import listed, say
from finetunekit.quickstart.examples import Examples, needed

SIZE = 160
FEWEST, MOST, MOST_IN_ALL = 5, 60, 1200
"""Images per class, at least and at most, and in all, to limit memory and time."""

_TEST_SHARE = 0.3


def load_folder(folder: str | os.PathLike[str], *, size: int = SIZE, seed: int = 0) -> Examples:
    """Reads a folder of images and splits each class into a training and a test part.

    Classes are the subfolders, sorted as `keras.utils.image_dataset_from_directory` does. The
    middle square of each image is resized. Of a class with many images 60 are drawn, and
    fewer where the classes are many; what is left out is logged.

    Args:
        folder: A folder with a subfolder for each class, of .jpg, .png, .gif or .bmp files.
        size: Height and width to resize to, in pixels.
        seed: Seed of the drawing and of the split; the same seed gives the same parts.

    Returns:
        uint8 images `(n, size, size, 3)`; 30 % of each class for testing.

    Raises:
        OSError: If the folder is not there or cannot be read.
        ValueError: If there are fewer than two classes, too few images in a class, or files
            that are not images.
        ImportError: If Pillow is not installed; with the line that installs it.

    Example:
        ```python
        from finetunekit.quickstart.folder import load_folder

        examples = load_folder("photos", size=32)
        assert examples.class_names == ("blue", "green", "red")
        assert examples.x_train.shape[1:] == (32, 32, 3)
        ```
    """
    files = _files_by_class(os.fspath(folder))
    random = np.random.default_rng(seed)
    train: list[tuple[str, int]] = []
    test: list[tuple[str, int]] = []
    for number, drawn in enumerate(_drawn(files, random)):
        held_out = max(1, round(_TEST_SHARE * len(drawn)))
        test += [(path, number) for path in drawn[:held_out]]
        train += [(path, number) for path in drawn[held_out:]]
    x = read_images([path for path, _ in train + test], size)
    y = np.array([number for _, number in train + test])
    return Examples(
        x_train=x[: len(train)],
        y_train=y[: len(train)],
        x_test=x[len(train) :],
        y_test=y[len(train) :],
        class_names=tuple(files),
        question=f"which of {len(files)} classes does an image show",
    )


def _files_by_class(folder: str) -> dict[str, list[str]]:
    """Class name -> files, in Keras' order."""
    shape = "It must hold one subfolder of images for each class. "
    if not os.path.isdir(folder):
        problem = "is a file" if os.path.exists(folder) else "is not there"
        raise NotADirectoryError(f"The folder {problem}. {shape}Received: folder={folder!r}")
    if not any(path.is_dir() and path.name[0] != "." for path in Path(folder).iterdir()):
        raise ValueError(f"The folder has no subfolders. {shape}Received: folder={folder!r}")
    try:
        # For its list alone: it does not say which file it cannot decode.
        found: Any = keras.utils.image_dataset_from_directory(folder, shuffle=False, verbose=False)
    except ValueError as error:
        raise ValueError(
            f"There are no images in the folder ({error}). {shape}Received: folder={folder!r}"
        ) from error
    files: dict[str, list[str]] = {name: [] for name in found.class_names}
    for path in found.file_paths:
        files[Path(path).relative_to(folder).parts[0]].append(path)
    _check_counts(files, folder)
    return files


def _check_counts(files: dict[str, list[str]], folder: str) -> None:
    few = [f"{name} ({len(paths)})" for name, paths in files.items() if len(paths) < FEWEST]
    most = MOST_IN_ALL // FEWEST
    if few:
        raise ValueError(
            f"Each class needs at least {FEWEST} images, some to train on and some to test on. "
            f"Add images to {listed(few)}, or remove these subfolders. "
            f"Received: folder={folder!r}"
        )
    if not 2 <= len(files) <= most:
        raise ValueError(
            f"There must be 2 to {most} classes, each a subfolder. "
            f"Received: folder={folder!r} with {listed(files)}"
        )


def _drawn(files: dict[str, list[str]], random: np.random.Generator) -> list[list[str]]:
    """Some files of each class, in random order."""
    limit = min(MOST, MOST_IN_ALL // len(files))
    left_out = sum(max(0, len(paths) - limit) for paths in files.values())
    if left_out:
        say(f"{left_out:,} images are left out: at most {limit} per class are used")
    return [
        [paths[index] for index in random.permutation(len(paths))[:limit]]
        for paths in files.values()
    ]


def read_images(paths: list[str], size: int) -> np.ndarray:
    """Reads files as RGB squares, uint8 `(n, size, size, 3)`.

    Raises:
        ValueError: With the names of all files that cannot be read.
    """
    images = np.empty((len(paths), size, size, 3), "uint8")
    broken = []
    for index, path in enumerate(paths):
        try:
            images[index] = _square(path, size)
        except (OSError, SyntaxError, ValueError) as error:
            broken.append(f"{path} ({error})")
    if broken:
        raise ValueError(
            f"These files cannot be read as images: {listed(broken, 5)}. Remove them, or "
            f"save them again. Received: {len(broken)} such files of {len(paths)}"
        )
    return images


def _square(path: str, size: int) -> Any:
    image_module, operations = needed("PIL.Image"), needed("PIL.ImageOps")
    try:
        with image_module.open(path) as image:
            # Large JPEG files are decoded at a fraction of their size, many times faster.
            image.draft("RGB", (2 * size, 2 * size))
            upright = operations.exif_transpose(image).convert("RGB")
            return operations.fit(upright, (size, size))
    except image_module.DecompressionBombError as error:
        raise ValueError(str(error)) from error
