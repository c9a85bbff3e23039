"""Trains, is killed at random, and goes on: `python resume_child.py KIND FOLDER KILLS SEED`.

Keras is imported once; each run is a fork of this process, which itself never computes anything.
Prints a line of JSON for each kill: whether the resumed run ended with the bits of the whole one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np

import finetunekit as ftk

L = keras.layers
ROWS, SIZE = 96, 8


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(ROWS, 12)).astype("float32")
    return x, (x[:, 0] + 0.5 * draw.normal(size=ROWS) > 0).astype("int64")


def network() -> keras.Model:
    inputs = x = keras.Input((12,), name="numbers")
    for number in (1, 2, 3):
        x = L.Dense(16, activation="relu", name=f"dense{number}")(x)
        x = L.BatchNormalization(name=f"norm{number}")(x)
        x = L.Dropout(0.3, name=f"drop{number}")(x)
    return keras.Model(inputs, x, name="network")


class Pace(keras.callbacks.Callback):
    """Says when training begins, and has each step last long enough to be hit."""

    def __init__(self, path: Path | None, seconds: float) -> None:
        super().__init__()
        self._path, self._seconds = path, seconds

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._path is not None:
            self._path.touch()
        time.sleep(self._seconds)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        random.random()  # A callback that draws, as augmentation would.


def plain(common: dict[str, Any], keep: str) -> tuple[keras.Model, dict[str, Any]]:
    """Arrays, Dropout and BatchNormalization, averages, callbacks with counters."""
    model = ftk.add_head(network(), "binary")
    ftk.compile_for_task(model, optimizer="adamw", learning_rate=1e-2, ema_momentum=0.9)
    callbacks = [
        ftk.callbacks.EarlyStopping(monitor="val_loss", patience=6),
        keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss", patience=1, factor=0.5, min_delta=0.05
        ),
        ftk.callbacks.DropoutInjection(0.2, after="backbone/dense2", seed=3),
    ]
    common["callbacks"] = [*callbacks, *common["callbacks"]]
    found = ftk.fit(model, *data(), epochs=6, validation_data=data(1), **common)
    return model, found.history


def staged(common: dict[str, Any], keep: str) -> tuple[keras.Model, dict[str, Any]]:
    """Two stages on cached features, with a schedule and gentle late starters."""
    model = ftk.add_head(network(), "binary", hidden_units=[8], dropout=0.2)
    ftk.compile_for_task(model)
    stages = [
        ftk.Stage(trainable="head", epochs=3, name="head", schedule="linear"),
        ftk.Stage(
            trainable=["head", "dense3"], epochs=4, name="top", schedule="cosine", layer_decay=0.8
        ),
    ]
    early = ftk.callbacks.EarlyStopping(monitor="val_loss", patience=2)
    common["callbacks"] = [early, *common["callbacks"]]
    found = ftk.fit_in_stages(
        model, *data(), stages=stages, engine="keras", validation_data=data(1), **common
    )
    return model, found.history


def pipeline(common: dict[str, Any], keep: str) -> tuple[keras.Model, dict[str, Any]]:
    """A tf.data pipeline that is shuffled anew in each epoch."""
    import tensorflow as tf

    model = ftk.add_head(network(), "binary")
    ftk.compile_for_task(model, optimizer="sgd", learning_rate=1e-2, label_smoothing=0.1)
    rows = tf.data.Dataset.from_tensor_slices(data()).shuffle(ROWS, seed=4).batch(SIZE)
    common.pop("batch_size")
    found = ftk.fit(model, rows.prefetch(2), epochs=6, **common)
    return model, found.history


KINDS: dict[str, Callable[..., Any]] = {"plain": plain, "staged": staged, "pipeline": pipeline}
EVERY = {"plain": 5, "staged": 4, "pipeline": 3}


def run(kind: str, folder: Path, name: str, *, resume: bool, seconds: float = 0.0) -> None:
    """One training in this process; its weights and history go to a file."""
    keras.utils.set_random_seed(0)
    keep = str(folder / f"{name}.ckpt")
    checkpoint = ftk.callbacks.Checkpoint(keep, every=EVERY[kind])
    common = {
        "callbacks": [Pace(folder / f"{name}.begun", seconds), checkpoint],
        "batch_size": SIZE,
        "verbose": 0,
        "resume": keep if resume else None,
    }
    model, history = KINDS[kind](common, keep)
    every = [*model.variables, *model.optimizer.variables]
    state = [np.array(keras.ops.convert_to_numpy(v)) for v in every]
    np.savez(folder / f"{name}.npz", *state, history=json.dumps(history))


def forked(*args: Any, **options: Any) -> int:
    """Runs in a fork; its process number."""
    child = os.fork()
    if child:
        return child
    code = 0
    try:
        run(*args, **options)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def ended(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def killed(kind: str, folder: Path, name: str, draw: random.Random, *, resume: bool) -> bool:
    """Starts a run and kills it at a random moment of its training; whether it was in time."""
    begun = folder / f"{name}.begun"
    begun.unlink(missing_ok=True)
    child = forked(kind, folder, name, resume=resume, seconds=0.02)
    while not begun.exists():
        time.sleep(0.002)
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
    time.sleep(draw.uniform(0.0, 1.2))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def equal(one: Path, other: Path) -> bool:
    with np.load(one) as first, np.load(other) as second:
        differ = [n for n in first.files if first[n].tobytes() != second[n].tobytes()]
        for name in differ:
            print(name, first[name].ravel()[:3], second[name].ravel()[:3], file=sys.stderr)
        return first.files == second.files and not differ


def main() -> None:
    kind, folder, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    draw = random.Random(f"{kind}{seed}")
    if not ended(forked(kind, folder, "whole", resume=False)):
        raise SystemExit("the whole run failed")
    for number in range(kills):
        name = f"run{number}"
        times = 1 + (number % 3 == 0)  # Some are killed twice.
        hits = [killed(kind, folder, name, draw, resume=k > 0) for k in range(times)]
        row = {"kind": kind, "kill": number, "hits": hits}
        done = ended(forked(kind, folder, name, resume=True))
        row["equal"] = done and equal(folder / "whole.npz", folder / f"{name}.npz")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
