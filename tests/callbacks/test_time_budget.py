"""Does training end in time, with the rate that was promised, and like plain training if early?"""

from __future__ import annotations

import itertools
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.callbacks import time_budget
from finetunekit.callbacks.time_budget import TimeBudget
from interruptions import Cut, CutAt, ends
from models import values

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = (X[:, :1] * X[:, 1:2] > 0).astype("float32")
OPTIONS: dict[str, Any] = {"batch_size": 8, "shuffle": False, "seed": 1, "verbose": 0}


def built(*, frozen: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    chain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh")], name="chain")
    model = ftk.add_head(chain, "binary")
    if frozen:
        ftk.freeze_layers(model, "backbone")
    return ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.1))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes between any two looks at the clock: one for each batch."""
    ticks = itertools.count()
    own = types.SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(time_budget, "time", own)  # Nobody else's clock.


class Rates(keras.callbacks.Callback):
    """Sets the rate of each step, and ends training after the last."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__()
        self.rates, self.done = rates, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = self.rates[self.done]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.done == len(self.rates):
            self.model.stop_training = True


@pytest.mark.parametrize("frozen", [False, True], ids=["in Keras' loop", "on features"])
def test_the_rate_falls_in_the_second_half_and_training_ends(frozen: bool, clock: None) -> None:
    """Ten steps in ten seconds: five at the whole rate, then less by a fifth each."""
    factors = [1.0] * 6 + [0.8, 0.6, 0.4, 0.2]
    reference, model = built(frozen=frozen), built(frozen=frozen)
    rates = Rates([0.1 * factor for factor in factors])
    reference.fit(X, Y, batch_size=8, epochs=3, shuffle=False, callbacks=[rates], verbose=0)
    limit = TimeBudget(10)
    history = ftk.fit(model, X, Y, epochs=3, callbacks=[limit], **OPTIONS)
    assert history.epoch == [0, 1]
    assert limit.spent == 10.0
    assert limit.is_over
    for (name, one), other in zip(values(reference).items(), values(model).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_run_that_ends_early_is_that_without() -> None:
    plain, model = built(), built()
    ftk.fit(plain, X, Y, epochs=2, **OPTIONS)
    limit = TimeBudget("1 h")
    ftk.fit(model, X, Y, epochs=2, callbacks=[limit], **OPTIONS)
    assert all(np.array_equal(a, b) for a, b in zip(ends(plain), ends(model), strict=True))
    assert 0 < limit.spent < 60


def test_it_goes_on_counting_in_the_next_stage_and_after_an_interruption(
    clock: None, tmp_path: Path
) -> None:
    keep = str(tmp_path / "run.ckpt")
    stages = [ftk.Stage(trainable="head", epochs=1), ftk.Stage(trainable=".*", epochs=5)]

    def run(cut: int | None, resume: str | None) -> tuple[keras.Model, TimeBudget]:
        model, limit = built(), TimeBudget(10)
        callbacks = [CutAt(cut), limit, ftk.callbacks.Checkpoint(keep, every=1)]
        ftk.fit_in_stages(model, X, Y, stages=stages, callbacks=callbacks, resume=resume, **OPTIONS)
        return model, limit

    whole, limit = run(None, None)
    assert limit.spent == 10.0
    with pytest.raises(Cut):
        run(8, None)
    again, limit = run(None, keep)
    assert limit.spent == 10.0
    assert all(np.array_equal(a, b) for a, b in zip(ends(whole), ends(again), strict=True))


def test_it_multiplies_a_schedule(clock: None) -> None:
    one, other = built(), built()
    cosine = ftk.callbacks.Schedule("cosine")
    factors = cosine.factors(12)
    rates = [0.1 * f * min(1.0, 2 * (1 - n / 8)) for n, f in enumerate(factors[:8])]
    one.fit(X, Y, batch_size=8, epochs=2, shuffle=False, callbacks=[Rates(rates)], verbose=0)
    both = [cosine, TimeBudget(8)]
    ftk.fit(other, X, Y, epochs=2, callbacks=both, **OPTIONS)
    np.testing.assert_allclose(one.predict(X, verbose=0), other.predict(X, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90 s", 90), ("2 min", 120), ("1.5 h", 5400), ("2 minutes", 120), ("1hour", 3600), (7, 7)],
)
def test_times_are_read(given: Any, seconds: float) -> None:
    assert TimeBudget(given).seconds == seconds


@pytest.mark.parametrize("given", ["2 m", "", "0 s", "-1 s", "min", 0, -3.0, float("inf")])
def test_what_is_no_time_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"`budget`.*Received: budget="):
        TimeBudget(given)
