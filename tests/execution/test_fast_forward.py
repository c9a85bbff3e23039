"""Are steps that were done before drawn and not trained on, and are all others as ever?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.data.batches import KerasData
from finetunekit.execution import fast_forward
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.loop_options import LoopOptions

X = np.arange(24, dtype="float32").reshape(12, 2) / 24
Y = X[:, :1] * 2


class Run:
    """A run of which some steps are done."""

    def __init__(self, skip: int) -> None:
        self.skip, self.put_back = skip, 0

    def put_metrics_back(self, model: keras.Model) -> None:
        self.put_back += 1


class Numbers(keras.callbacks.Callback):
    """The numbers of the steps that are heard."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(batch)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    made.compile(keras.optimizers.SGD(0.5), "mse")
    return made


@pytest.mark.parametrize("skip", [0, 2])
def test_as_a_fit_of_the_rest(skip: int) -> None:
    wanted, found, run, numbers = model(), model(), Run(skip), Numbers()
    options = {"shuffle": False, "batch_size": 4, "verbose": 0}
    wanted.fit(X[4 * skip :], Y[4 * skip :], **options)
    wanted.fit(X, Y, **options)
    call = FitCall(
        data=KerasData(x=X, y=Y, batch_size=4),
        loop=LoopOptions(epochs=2, verbose=0),
        callbacks=[numbers],
    )
    history = fast_forward.fit(found, call, run, 3)
    assert all(map(np.array_equal, wanted.get_weights(), found.get_weights()))
    assert numbers.steps == [*range(skip, 3), 0, 1, 2]
    assert history.epoch == [0, 1]
    assert (run.skip, run.put_back) == (0, skip)
    assert "make_train_function" not in vars(found), "nothing is left in the model"
    found.fit(X, Y, **options)
    wanted.fit(X, Y, **options)
    assert all(map(np.array_equal, wanted.get_weights(), found.get_weights()))
