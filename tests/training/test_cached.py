"""Does `fit` on features give what `model.fit` gives, and compute nothing twice?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from models import images, labels, same, small_backbone, values
from topologies import ROWS, TOPOLOGIES, Made

import finetunekit as ftk
from finetunekit.caching import engines
from finetunekit.caching.cut import FrozenSplit

L = keras.layers


def built(make: Callable[[], Made]) -> Made:
    """The same model each time, compiled."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model, x, y, loss = make()
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model, x, y, loss


def state(model: keras.Model) -> dict[str, np.ndarray]:
    """The optimizer's state."""
    return {str(n): np.asarray(v.numpy()) for n, v in enumerate(model.optimizer.variables)}


@pytest.fixture
def rows_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows in each batch that the prefix was run on, checks left out."""
    counts: list[int] = []
    run = engines.Engine.__call__

    def counted(self: Any, inputs: list[Any]) -> Any:
        counts.append(len(inputs[0]))
        return run(self, inputs)

    monkeypatch.setattr(engines.Engine, "__call__", counted)
    return counts


@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda make: make.__name__)
def test_bit_equal_to_model_fit(make: Callable[[], Made], rows_run: list[int]) -> None:
    model, x, y, _ = built(make)
    plain = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    wanted = values(model)
    other, x, y, _ = built(make)
    ours = ftk.fit(
        other, x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, engine="keras", cache=True
    )
    assert same(wanted, values(other))
    assert ours.history == plain.history
    # Three batches, and three rows again to see that they do not depend on their batch.
    assert rows_run == [8, 3, 8, 5]
    assert sum(rows_run) - 3 == ROWS
    assert same(state(model), state(other))
