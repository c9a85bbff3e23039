"""Runs whose logged value takes a given course, and what a loop by hand makes of it."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

import finetunekit as ftk
from models import images, labels, tiny_backbone, values


class Script(keras.callbacks.Callback):
    """Writes a given course of a value into the logs, and keeps each epoch's weights."""

    def __init__(self, name: str, course: list[float]) -> None:
        super().__init__()
        self.name, self.course = name, course
        self.weights: list[dict[str, np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs[self.name] = self.course[epoch]
        self.weights.append(values(self.model))


def run(task: str, name: str, course: list[float], callback: object, **options: object) -> Script:
    model = ftk.compile_for_task(ftk.add_head(tiny_backbone(), task), learning_rate=1e-2)
    script = Script(name, course)
    y = labels().astype("float32")
    ftk.fit(
        model,
        images(),
        y,
        epochs=len(course),
        verbose=0,
        validation_data=(images(8), y[:8]),
        callbacks=[script, callback],
        **options,
    )
    script.model_after = values(model)
    return script


NAN, INF = float("nan"), float("inf")


# What each epoch logs of "val_auc"; None where an epoch has no validation.
COURSES = {
    "plain": [0.5, 0.9, 0.8, 0.7, 0.95, 0.6],
    "NaN first": [NAN, 0.6, 0.7, 0.5, 0.4, 0.3],
    "NaN after the best": [0.6, 0.9, NAN, NAN, 0.95, 0.9],
    "inf first": [INF, 0.6, 0.5, 0.7, 0.6, 0.5],
    "minus inf first": [-INF, 0.6, 0.5, 0.7, 0.6, 0.5],
    "every other epoch": [None, 0.6, None, 0.9, None, 0.5, None, 0.6, None, 0.95],
    "every third, and NaN": [None, None, NAN, None, None, 0.8, None, None, 0.7, None, None, 0.6],
    "small steps": [0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.74],
    "never finite": [NAN, INF, -INF, NAN],
}


def reference(
    course: list[float | None], *, sign: int, patience: int, delta: float
) -> tuple[int | None, int]:
    """The best epoch and the last one, of a loop by hand over what was logged."""
    best: float | None = None
    best_epoch, waited = None, 0
    for epoch, value in enumerate(course):
        if value is None:
            continue
        if math.isfinite(value) and (best is None or sign * (value - best) > delta):
            best, best_epoch, waited = value, epoch, 0
            continue
        waited += 1
        if waited >= patience and epoch > 0:
            return best_epoch, epoch
    return best_epoch, len(course) - 1


def one_model() -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def played(model: keras.Model, callback: Any, course: list[float | None], name: str) -> int:
    """Has a callback hear a run in which each epoch's weight is its number; the last epoch."""
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    for epoch, value in enumerate(course):
        model.set_weights([np.full((1, 1), epoch, "float32")])
        validation = {} if value is None else {"val_loss": 1.0, name: value}
        callback.on_epoch_end(epoch, {"loss": -float(epoch), **validation})
        if model.stop_training:
            break
    callback.on_train_end()
    return epoch
