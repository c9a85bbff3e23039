"""Crops of ten photographs from the scikit-image wheel, one class each.

The crops of the training part come from the left halves, those of the test part from the right
halves. Colour is removed, and brightness, contrast and orientation are changed at random, so that
the classes differ in little but their texture.
"""

from pathlib import Path

import numpy as np

from finetunekit.quickstart.examples import Examples, needed

SURFACES = (
    "brick",
    "grass",
    "gravel",
    "coffee",
    "chelsea",
    "ihc",
    "retina",
    "coins",
    "moon",
    "page",
)
"""The photographs; each is a class."""

CROP, SIZE = 64, 96
CONTRAST = (0.6, 1.4)
BRIGHTNESS = (-30.0, 30.0)


def load_surfaces(*, train: int = 20, test: int = 60, seed: int = 0) -> Examples:
    """Cuts the crops: the same seed gives the same ones; nothing is downloaded.

    Args:
        train: Crops per class for training, from the left halves.
        test: Crops per class for testing, from the right halves.
        seed: Seed of the places and of the changes.

    Returns:
        Grey images in RGB, uint8 `(10 * train, 96, 96, 3)` and `(10 * test, 96, 96, 3)`,
        class by class.

    Raises:
        ImportError: If scikit-image is not installed; with the line that installs it.
        OSError: If a photograph is not where scikit-image has it.
        ValueError: If the number of crops is not positive.

    Example:
        ```python
        from finetunekit.quickstart.surfaces import load_surfaces

        examples = load_surfaces(train=2, test=3)
        assert examples.x_train.shape == (20, 96, 96, 3)
        assert examples.x_test.shape == (30, 96, 96, 3)
        ```
    """
    for name, count in (("train", train), ("test", test)):
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={count!r}")
    random = np.random.default_rng(seed)
    x_train, x_test = [], []
    for name in SURFACES:
        photo = read_grey(name)
        middle = photo.shape[1] // 2
        x_train += [crop(photo[:, :middle], random) for _ in range(train)]
        x_test += [crop(photo[:, middle:], random) for _ in range(test)]
    numbers = np.arange(len(SURFACES))
    return Examples(
        x_train=_as_rgb(x_train),
        y_train=np.repeat(numbers, train),
        x_test=_as_rgb(x_test),
        y_test=np.repeat(numbers, test),
        class_names=SURFACES,
        question="which of 10 surfaces does a crop of a photograph show",
        flip="horizontal_and_vertical",
    )


def read_grey(name: str) -> np.ndarray:
    """One of the photographs in grey, float32 `(height, width)` in 0..255.

    The file is read where scikit-image installed it, since `skimage.data` might download it.

    Raises:
        ImportError: If scikit-image is not installed.
        OSError: If the file is not there.
    """
    folder = Path(str(needed("skimage").__file__)).parent / "data"
    file = next((path for path in sorted(folder.glob(f"{name}.*")) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(
            f"scikit-image has no photograph {name!r} in {str(folder)!r}. Install a version that "
            'has it: pip install --force-reinstall "scikit-image>=0.22"'
        )
    photo = needed("skimage.io").imread(file)
    if photo.ndim == 3:
        photo = needed("skimage.color").rgb2gray(photo[..., :3]) * 255
    return np.asarray(photo, "float32")


def crop(photo: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A square of a photograph, turned, changed in contrast and brightness, and resized.

    Args:
        photo: Grey values `(height, width)` in 0..255, no side shorter than 64.
        random: Where the place and the changes come from.

    Returns:
        uint8 `(96, 96)`.
    """
    row, column = (int(random.integers(side - CROP + 1)) for side in photo.shape)
    square = np.rot90(photo[row : row + CROP, column : column + CROP], int(random.integers(4)))
    mean = square.mean()
    changed = mean + (square - mean) * random.uniform(*CONTRAST) + random.uniform(*BRIGHTNESS)
    larger = needed("skimage.transform").resize(
        np.clip(changed, 0, 255), (SIZE, SIZE), order=1, preserve_range=True
    )
    return np.rint(larger).astype("uint8")


def _as_rgb(crops: list[np.ndarray]) -> np.ndarray:
    return np.repeat(np.stack(crops)[..., None], 3, axis=-1)
