"""How long does `load_backbone` take, compared with `keras.saving.load_model`?

    python benchmarks/loading.py [--rounds N]

Both load each file in turn, in one process, after a warm-up. The Keras 2 file, written by tf_keras,
is one of those that Keras 3 can read itself. The table on stdout is Markdown. The exit status is 1
if a ratio of medians is above 1.2.
"""

import argparse
import gc
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import finetunekit as ftk
from finetunekit.foundation import hashing

BAR = 1.2


def small(library: Any) -> Any:
    """A model of ten layers, built by Keras 3 or by tf_keras.

    Args:
        library: `keras` or `tf_keras`.

    Returns:
        The model, with random weights.
    """
    layers = library.layers
    inputs = x = library.Input((64, 64, 3))
    for number in range(3):
        x = layers.Conv2D(16 * 2**number, 3, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return library.Model(inputs, layers.Dense(10)(layers.Dense(64)(x)))


def large(library: Any) -> Any:
    """MobileNetV2 with its classifier, built by Keras 3 or by tf_keras.

    Args:
        library: `keras` or `tf_keras`.

    Returns:
        The model, with random weights.
    """
    return library.applications.MobileNetV2(weights=None)


def heavy(library: Any) -> Any:
    """ResNet50 with its classifier, built by Keras 3 or by tf_keras.

    Args:
        library: `keras` or `tf_keras`.

    Returns:
        The model, with random weights.
    """
    return library.applications.ResNet50(weights=None)


def write(folder: str) -> dict[str, str]:
    """Writes the files to load.

    Args:
        folder: Where to.

    Returns:
        What each file is, and its path.
    """
    models = {"small model": small, "MobileNetV2": large, "ResNet50": heavy}
    files = {}
    for name, build in models.items():
        for kind in ("keras", "h5"):
            path = str(Path(folder, f"{build.__name__}.{kind}"))
            build(keras).save(path)
            files[f"{name}, .{kind} of Keras 3"] = path
    try:
        import tf_keras
    except ImportError:
        print("tf_keras is not installed: no row for Keras 2", file=sys.stderr)
        return files
    # Keras 3 fails on the depthwise layers of tf_keras, so MobileNetV2 cannot be compared.
    for name, build in {"small model": small, "ResNet50": heavy}.items():
        path = str(Path(folder, f"{build.__name__}_keras2.h5"))
        build(tf_keras).save(path, save_format="h5")
        files[f"{name}, .h5 of Keras 2"] = path
    return files


def written_quietly(folder: str) -> dict[str, str]:
    """`write` without the warnings that advise against .h5.

    Args:
        folder: Where to.

    Returns:
        What each file is, and its path.
    """
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return write(folder)
    finally:
        logging.disable(logging.NOTSET)


def seconds(call: Callable[[str], object], path: str) -> float:
    """How long one load takes, from a clean state.

    Args:
        call: What loads.
        path: The file.

    Returns:
        Seconds.
    """
    keras.utils.clear_session()
    gc.collect()
    start = time.perf_counter()
    call(path)
    return time.perf_counter() - start


def measure(path: str, rounds: int) -> tuple[float, float, float]:
    """Loads a file both ways in turn.

    Args:
        path: The file.
        rounds: How many pairs; the way that goes first changes.

    Returns:
        The medians, in seconds: Keras, finetunekit, and the hash that finetunekit takes.
    """
    ways: list[Callable[[str], object]] = [
        lambda file: keras.saving.load_model(file, compile=False),
        ftk.load_backbone,
    ]
    taken: dict[int, list[float]] = {0: [], 1: []}
    for number in range(-1, rounds):
        for way in (0, 1) if number % 2 else (1, 0):
            spent = seconds(ways[way], path)
            if number >= 0:
                taken[way].append(spent)
    hashes = [seconds(hashing.file_digest, path) for _ in range(rounds)]
    return statistics.median(taken[0]), statistics.median(taken[1]), statistics.median(hashes)


def main() -> int:
    """Measures all files and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Compare load_backbone with keras.saving.load_model."
    )
    parser.add_argument("--rounds", type=int, default=9, help="how many (default: %(default)s)")
    options = parser.parse_args()
    logging.getLogger("finetunekit").setLevel(logging.WARNING)
    reached = True
    print("| file | MB | Keras, s | finetunekit, s | of which hash, s | ratio |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in written_quietly(folder).items():
            theirs, ours, digest = measure(path, options.rounds)
            reached &= ours / theirs <= BAR
            print(
                f"| {name} | {os.path.getsize(path) / 1e6:.1f} | {theirs:.3f} | {ours:.3f} | "
                f"{digest:.3f} | {ours / theirs:.2f} |",
                flush=True,
            )
    print(f"\nBar: {BAR}. {'All files are within it.' if reached else 'THE BAR IS MISSED.'}")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
