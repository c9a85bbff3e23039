"""The main job: compares, saves, draws, and opens the saved model without this library."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import finetunekit as ftk
from finetunekit.quickstart import plot, reopen
from finetunekit.quickstart.comparison import EPOCHS, compare
from finetunekit.quickstart.examples import Examples, needed
from finetunekit.quickstart.table import Row, table_text

MODEL, PLOT = "model.keras", "quickstart.png"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the job found and where it put it.

    Args:
        rows: The table, from the majority class to the fine-tuned model.
        model_path: The saved model.
        plot_path: The plot.
        same_labels: The number of test images that get the same label in the fresh process.
        difference: The largest difference between its probabilities and ours.
        seconds: How long the job took, including the fresh process, excluding imports.

    Example:
        ```python
        from finetunekit.quickstart.job import run
        from finetunekit.quickstart.surfaces import load_surfaces

        result = run(load_surfaces(train=2, test=2), output="out", epochs=1)
        assert result.difference == 0
        ```
    """

    rows: tuple[Row, ...]
    model_path: Path
    plot_path: Path
    same_labels: int
    difference: float
    seconds: float


def run(
    examples: Examples,
    *,
    output: str | os.PathLike[str],
    seed: int = 0,
    epochs: int = EPOCHS,
    tell: Callable[[str], None] = print,
) -> Result:
    """Runs the job and reports its progress.

    Args:
        examples: What to learn from and to test on.
        output: The folder for `model.keras` and `quickstart.png`; it is made if it is not there,
            and files of these names in it are replaced.
        seed: Seed of the new head, the order of the images, Dropout and augmentation.
        epochs: Epochs of each of the two phases.
        tell: Called with each line of text.

    Returns:
        The figures and the paths.

    Raises:
        ImportError: If matplotlib is not installed; with the line that installs it.
        OSError: If the folder cannot be made or written to.
        RuntimeError: If the fresh process cannot open the model.

    Example:
        ```python
        from finetunekit.quickstart.job import run
        from finetunekit.quickstart.surfaces import load_surfaces

        result = run(load_surfaces(train=2, test=2), output="out", epochs=1)
        print(result.rows[-1].accuracy)
        ```
    """
    start = time.perf_counter()
    folder = prepare(output)
    tell(_opening(examples))
    found = compare(examples, seed=seed, epochs=epochs, tell=tell)
    tell(f"\n{table_text(found.rows)}\n")
    model_path = ftk.save(found.model, folder / MODEL, verbose=0)
    wait = reopen.start(model_path, examples.x_test)
    plot_path = plot.draw(examples, found, folder / PLOT, seed=seed)
    theirs = wait()
    result = Result(
        rows=found.rows,
        model_path=Path(model_path),
        plot_path=plot_path,
        same_labels=int(np.sum(found.probabilities.argmax(axis=1) == theirs.argmax(axis=1))),
        difference=float(np.abs(found.probabilities - theirs).max()),
        seconds=time.perf_counter() - start,
    )
    tell(_closing(result, len(examples.y_test)))
    return result


def prepare(output: str | os.PathLike[str]) -> Path:
    """Makes the output folder and finds out at once whether the job can end there.

    Raises:
        ImportError: If matplotlib is not installed; with the line that installs it.
        OSError: If the folder cannot be made or written to.
    """
    needed("matplotlib")
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            f"Nothing can be written to the output folder ({error.strerror}). Give another one. "
            f"Received: output={os.fspath(output)!r}"
        ) from error
    return folder


def _opening(examples: Examples) -> str:
    names = ", ".join(examples.class_names)
    height, width, _ = examples.image_shape
    return (
        f"finetunekit {ftk.__version__} quickstart: {examples.question}?\n{names}\n"
        f"{len(examples.y_train):,} images to train on, {len(examples.y_test):,} others to test "
        f"on, {height}x{width} pixels"
    )


def _closing(result: Result, tested: int) -> str:
    megabytes = result.model_path.stat().st_size / 1e6
    return (
        f"saved     {result.model_path} ({megabytes:.1f} MB)\n"
        f"plot      {result.plot_path}\n"
        "reopened  by Keras alone, in a fresh process where finetunekit cannot be imported:\n"
        f"          {result.same_labels} of {tested} labels are the same, the largest difference "
        f"between probabilities is {result.difference:.3g}\n"
        f"total     {result.seconds:.0f} s, excluding imports"
    )
