"""The user's own images: a folder with one subfolder per class, read and split."""

import os

import numpy as np

from finetunekit.data.image_files import read_files
from finetunekit.data.image_folders import ClassFolder, read_classes, read_parts
from finetunekit.foundation.messages import listed, say
from finetunekit.quickstart.examples import Examples

SIZE = 160
FEWEST, MOST, MOST_IN_ALL = 5, 60, 1200
"""Images per class, at least and at most, and in all, to limit memory and time."""

_TEST_SHARE = 0.3


def load_folder(folder: str | os.PathLike[str], *, size: int = SIZE, seed: int = 0) -> Examples:
    """Reads a folder of images and splits each class into a training and a test part.

    Classes are the subfolders, sorted; images are read as `finetunekit.data.image_files` reads
    them, for `fine_tune` too. Subfolders such as `train` and `test`, which hold the classes in
    turn, are used as they are meant. Of a class with many images 60 are drawn, and fewer where the
    classes are many; what is left out is logged.

    Args:
        folder: A folder with a subfolder of images for each class.
        size: Height and width to resize to, in pixels.
        seed: Seed of the drawing and of the split; the same seed gives the same parts.

    Returns:
        uint8 images `(n, size, size, 3)`; 30 % of each class for testing, unless the folder has a
        part for that.

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
    parts = read_parts(folder)
    held_out = parts.get("test") or parts.get("validation")
    random = np.random.default_rng(seed)
    found = _found(parts.get("train", folder))
    train = _drawn(found.files, random)
    if held_out is None:
        counts = [max(1, round(_TEST_SHARE * len(paths))) for paths in train]
        test = [paths[:count] for paths, count in zip(train, counts, strict=True)]
        train = [paths[count:] for paths, count in zip(train, counts, strict=True)]
    else:
        say(f"the folder holds parts of a data set: {held_out} is used to test on")
        test = _drawn(_same_classes(read_classes(held_out), found).files, random)
    files = [path for part in (train, test) for paths in part for path in paths]
    read_in = read_files(files, size=(size, size))
    read_in.report(found.path)
    x_train, x_test = np.split(read_in.images, [sum(map(len, train))])
    return Examples(
        x_train=x_train,
        y_train=_labels(train),
        x_test=x_test,
        y_test=_labels(test),
        class_names=tuple(found.files),
        question=f"which of {len(found.files)} classes does an image show",
        of_files=True,
        image_bits=read_in.bits,
    )


def _labels(files: list[list[str]]) -> np.ndarray:
    return np.repeat(np.arange(len(files)), [len(paths) for paths in files])


def _found(folder: str | os.PathLike[str]) -> ClassFolder:
    found = read_classes(folder)
    found.report()
    _check_counts(found.files, found.path)
    return found


def _same_classes(held_out: ClassFolder, found: ClassFolder) -> ClassFolder:
    """The part to test on.

    Raises:
        ValueError: If its classes are others than those of the part to train on.
    """
    held_out.report()
    if list(held_out.files) != list(found.files):
        raise ValueError(
            f"Both parts must hold images of the same classes, a subfolder each. Received: "
            f"{found.path!r} with {listed(found.files)}, {held_out.path!r} with "
            f"{listed(held_out.files)}"
        )
    return held_out


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
