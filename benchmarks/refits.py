"""What do 200 fits of one compiled model cost, each a single epoch on a tiny model?

    python benchmarks/refits.py [fits]

Prints for `model.fit` and `finetunekit.fit` the milliseconds and the MB that each fit takes and
keeps, and the ratio of the times. Bars: 0.1 MB, and 1.3 times `model.fit`.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import finetunekit as ftk

_PAGE = 4096
_WARM_UP = 5


def tiny() -> keras.Model:
    """A frozen layer and a head."""
    keras.utils.set_random_seed(0)
    frozen = keras.layers.Dense(8, activation="relu", trainable=False)
    model = keras.Sequential([keras.Input((6,)), frozen, keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def resident() -> float:
    """MB of memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def cost(fit: Callable[[], object], fits: int) -> tuple[float, float]:
    """Median seconds, and MB kept, of a fit."""
    for _ in range(_WARM_UP):
        fit()
    gc.collect()
    before, seconds = resident(), []
    for _ in range(fits):
        start = time.perf_counter()
        fit()
        seconds.append(time.perf_counter() - start)
    gc.collect()
    return statistics.median(seconds), (resident() - before) / fits


def main(fits: int = 200) -> None:
    """Prints a line for each way to fit."""
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    y = x[:, :1]
    plain, ours = tiny(), tiny()
    rows = {
        "model.fit": cost(lambda: plain.fit(x, y, verbose=0), fits),
        "finetunekit.fit": cost(lambda: ftk.fit(ours, x, y, verbose=0), fits),
    }
    for name, (seconds, kept) in rows.items():
        ratio = seconds / rows["model.fit"][0]
        print(f"{name:16} {seconds * 1e3:7.1f} ms {kept:8.4f} MB {ratio:6.2f} times")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
