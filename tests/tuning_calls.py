"""Calls of `fine_tune` of which only what they ask of `fit_in_stages` is looked at."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import finetunekit as ftk
from finetunekit.training.stage import Stage, StagedHistory

L = keras.layers


class Asked:
    """What `fit_in_stages` was asked for; instead of training, the judge gets its numbers."""

    def __init__(self) -> None:
        self.history = StagedHistory({"loss": [3.0]}, [0], [("probe", 0)])

    def __call__(self, model: keras.Model, *data: Any, stages: list[Stage], **options: Any) -> Any:
        self.model, self.data, self.stages, self.options = model, data, stages, options
        self.judge = stages[0].callbacks[-1]
        self.judge.probe, self.judge.tuned, self.judge.kept = {"loss": 2.0}, {"loss": 1.0}, "tuned"
        self.judge.seconds["probe"] = 7.5
        return self.history


def backbone(blocks: int = 1) -> keras.Model:
    """4 numbers -> 3 features, in blocks."""
    inputs = x = keras.Input((4,))
    for number in range(blocks):
        x = L.Dense(3, activation="tanh", name=f"block{number + 1}")(x)
    return keras.Model(inputs, x, name="small")


def samples(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return x, np.arange(count) % 2


def tune(train: Any = None, *args: Any, source: Any = None, **options: Any) -> Any:
    train = samples() if train is None else train
    return ftk.fine_tune(source or backbone(), train, *args, **({"verbose": 0} | options))
