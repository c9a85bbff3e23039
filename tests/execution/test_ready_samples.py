"""Steps on arrays that are in memory: what a callback changes holds from that very step on."""

from __future__ import annotations

from typing import Any

import keras
import pytest

import finetunekit as ftk
from frozen_dense import dense, same_training, samples
from parameters import often

X, Y = samples(40)


class Change(keras.callbacks.Callback):
    """Freezes or unfreezes before the third step, and counts the steps that begin."""

    def __init__(self, change: Any, layer: str) -> None:
        super().__init__()
        self._change, self._layer = change, layer
        self.begun: list[int] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.begun.append(batch)
        if len(self.begun) == 3:
            self._change(self.model, self._layer)


@pytest.mark.parametrize(
    ("change", "layer"),
    often(
        [(ftk.freeze_layers, "middle"), (ftk.unfreeze_layers, ".*second")],
        ((ftk.freeze_layers, "middle"),),
    ),
)
def test_frozen_or_unfrozen_as_a_step_begins(change: Any, layer: str) -> None:
    models, begun = [], []
    for cache in ("auto", False):
        model, callback = dense(), Change(change, layer)
        model.layers[2].rate = 0.0
        ftk.fit(
            model, X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback],
            cache=cache, engine="keras",
        )  # fmt: skip
        models.append(model)
        begun.append(callback.begun)
    assert same_training(*models)
    assert begun == [[0, 1, 2, 3, 4] * 2] * 2
