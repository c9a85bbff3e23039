"""The plot: test images with predictions, the confusion matrix, the learning curves."""

from pathlib import Path
from typing import Any

import numpy as np

from finetunekit.foundation.plots import fonts_for
from finetunekit.quickstart.comparison import Comparison
from finetunekit.quickstart.examples import Examples, needed

_RIGHT, _WRONG, _FIRST, _SECOND, _GREY = "#1a7f4b", "#c0392b", "#7a8aa0", "#1f5fa8", "#5b6470"
_SHOWN = 10
_NUMBERS_UP_TO = 20
_LONGEST = 14


def draw(examples: Examples, found: Comparison, path: Path, *, seed: int = 0) -> Path:
    """Draws the plot of the quickstart and saves it as a PNG file.

    Args:
        examples: The images that were trained and tested on.
        found: What came of it.
        path: The file to write.
        seed: Seed of the choice of the test images that are shown.

    Returns:
        The path.

    Raises:
        ImportError: If matplotlib is not installed; with the line that installs it.

    Example:
        ```python
        from pathlib import Path
        from finetunekit.quickstart import plot
        from finetunekit.quickstart.comparison import compare
        from finetunekit.quickstart.surfaces import load_surfaces

        examples = load_surfaces(train=2, test=2)
        plot.draw(examples, compare(examples, epochs=1), Path("quickstart.png"))
        ```
    """
    figure_module = needed("matplotlib.figure")
    needed("matplotlib.backends.backend_agg")
    with fonts_for(examples.class_names):
        # A Figure of its own: no window, and the user's pyplot is left alone.
        figure = figure_module.Figure(figsize=(12, 8), dpi=100, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1, 3.2))
        _show_images(above, examples, found.probabilities, seed)
        left, right = below.subfigures(1, 2, width_ratios=(1.25, 1))
        show_confusion(left.subplots(), examples, found.probabilities.argmax(axis=1))
        _show_curves(right, found)
        figure.savefig(path, facecolor="white")
    return path


def _show_images(figure: Any, examples: Examples, probabilities: np.ndarray, seed: int) -> None:
    """One test image per class, drawn at random so that errors are shown in proportion."""
    random = np.random.default_rng(seed)
    classes = np.arange(len(examples.class_names))
    if len(classes) > _SHOWN:
        classes = np.sort(random.choice(classes, _SHOWN, replace=False))
    figure.suptitle("Test images: prediction, and the truth where it differs", fontsize=12)
    for axes, number in zip(np.atleast_1d(figure.subplots(1, len(classes))), classes, strict=True):
        index = random.choice(np.flatnonzero(examples.y_test == number))
        predicted = int(probabilities[index].argmax())
        hit, color = (True, _RIGHT) if predicted == number else (False, _WRONG)
        axes.imshow(examples.x_test[index])
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=color, linewidth=3)
        text = f"{_short(examples.class_names[predicted])} {probabilities[index, predicted]:.2f}"
        text += "" if hit else f"\nis {_short(examples.class_names[number])}"
        axes.set_xlabel(text, color=color, fontsize=10)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (row) was taken for each class (column).

    Args:
        truth: Integer labels `(n,)`.
        predicted: Integer labels `(n,)`.
        classes: How many classes there are.

    Returns:
        Counts, int `(classes, classes)`.

    Example:
        ```python
        import numpy as np
        from finetunekit.quickstart.plot import confusion

        counts = confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
        assert counts.tolist() == [[1, 0], [1, 1]]
        ```
    """
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def show_confusion(axes: Any, examples: Examples, predicted: np.ndarray) -> None:
    """Draws the confusion matrix of the test images into matplotlib axes.

    Args:
        axes: Where to draw.
        examples: The images and their classes.
        predicted: Integer labels of the test images `(n,)`.

    Example:
        ```python
        import matplotlib.figure
        from finetunekit.quickstart.plot import show_confusion
        from finetunekit.quickstart.surfaces import load_surfaces

        examples = load_surfaces(train=1, test=2)
        show_confusion(matplotlib.figure.Figure().subplots(), examples, examples.y_test)
        ```
    """
    classes = len(examples.class_names)
    counts = confusion(examples.y_test, predicted, classes)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names, size = [_short(name) for name in examples.class_names], 10 if classes <= 12 else 7
    axes.set_xticks(range(classes), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), names)
    axes.tick_params(length=0, labelsize=size)
    axes.set_xlabel("predicted", color=_GREY)
    axes.set_ylabel("truth", color=_GREY)
    axes.set_title(f"Confusion, fine-tuned: {np.trace(counts) / counts.sum():.1%} right")
    if classes <= _NUMBERS_UP_TO:
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            style = {"ha": "center", "va": "center", "color": color, "fontsize": size}
            axes.text(column, row, str(counts[row, column]), **style)


def _show_curves(figure: Any, found: Comparison) -> None:
    """Loss and accuracy on the training images, phase after phase."""
    first, second = found.curves
    switch = len(first["loss"])
    top, bottom = figure.subplots(2, 1, sharex=True)
    for axes, value in ((top, "loss"), (bottom, "accuracy")):
        axes.plot(np.arange(1, switch + 1), first[value], "o-", color=_FIRST, markersize=3.5)
        later = np.arange(switch + 1, switch + 1 + len(second[value]))
        axes.plot(later, second[value], "o-", color=_SECOND, markersize=3.5)
        axes.axvline(switch + 0.5, color=_GREY, linestyle=":", linewidth=1)
        axes.set_ylabel(f"training {value}", color=_GREY)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    bottom.set_xlabel("epoch", color=_GREY)
    bottom.xaxis.get_major_locator().set_params(integer=True)
    top.set_title("Learning curves, with Dropout and augmentation")
    ours = {"transform": top.get_xaxis_transform(), "fontsize": 10, "va": "top"}
    top.text(switch + 0.3, 0.97, "head alone", ha="right", color=_FIRST, **ours)
    top.text(switch + 0.7, 0.97, "from block_13 up", ha="left", color=_SECOND, **ours)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
