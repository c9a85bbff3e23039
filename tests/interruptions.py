"""Runs that are cut off, and the bits that they end with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class Cut(Exception):
    """The run is cut off."""


class CutAt(keras.callbacks.Callback):
    """Cuts a run off after so many steps, or as the -n-th validation begins; None never."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps, self.done, self.validations = steps, 0, 0

    def on_test_begin(self, logs: Any = None) -> None:
        self.validations -= 1
        if self.validations == self.steps:
            raise Cut

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.done == self.steps:
            raise Cut


def ends(model: keras.Model) -> list[np.ndarray]:
    """All that training has changed: the model's variables and the optimizer's."""
    every = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in every]
