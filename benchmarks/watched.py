"""What do callbacks cost a fit on a pipeline whose frozen part is computed once?

    python benchmarks/watched.py [repeats]

Trains a frozen MobileNetV2 with a head on a tf.data pipeline, without callbacks and with ours and
Keras' own in turn, and prints the ratio of each to none. Bar: 1.1 with EarlyStopping.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import finetunekit as ftk
import workloads

_EPOCHS = 10
_ROWS: dict[str, Callable[[], list[Any]]] = {
    "none": list,
    "EarlyStopping": lambda: [ftk.callbacks.EarlyStopping("loss", patience=_EPOCHS)],
    "Schedule": lambda: [ftk.callbacks.Schedule("cosine")],
    "keras EarlyStopping": lambda: [keras.callbacks.EarlyStopping("loss", patience=_EPOCHS)],
}


def seconds(callbacks: list[Any]) -> float:
    """Seconds of one fit, the features computed anew."""
    ftk.clear_cache()
    model, x, y = workloads.mobilenet()
    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).batch(workloads.BATCH)
    start = time.perf_counter()
    ftk.fit(model, pipeline, epochs=_EPOCHS, callbacks=callbacks, verbose=0)
    return time.perf_counter() - start


def main(repeats: int = 5) -> None:
    """Prints a line for each kind of callbacks."""
    runs: dict[str, list[float]] = {name: [] for name in _ROWS}
    seconds([])  # What is traced and loaded once.
    for _ in range(repeats):
        for name, callbacks in _ROWS.items():
            runs[name].append(seconds(callbacks()))
    for name, found in runs.items():
        ratios = [one / none for one, none in zip(found, runs["none"], strict=True)]
        print(f"{name:20} {statistics.median(found):6.2f} s {statistics.median(ratios):5.2f} times")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
