"""Does each callback hear the real steps once, and none of those that Keras counts instead?"""

from __future__ import annotations

from typing import Any

import keras
import pytest

from finetunekit.execution import step_callbacks
from finetunekit.execution.step_callbacks import StepCallbacks


class Hears(keras.callbacks.Callback):
    """Notes what it is told."""

    changes_frozen_weights = False

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, int]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("train begins", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("train ends", batch))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("test begins", batch))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("test ends", batch))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("test", [True, False])
def test_calls_of_keras_are_passed_on_where_they_are_real(train: bool, test: bool) -> None:
    hears = Hears()
    calls = StepCallbacks([hears], train_steps=train, test_steps=test)
    calls.on_train_batch_begin(0)
    calls.on_train_batch_end(0)
    calls.on_test_batch_begin(1)
    calls.on_test_batch_end(1)
    wanted = [("train begins", 0), ("train ends", 0)] if train else []
    wanted += [("test begins", 1), ("test ends", 1)] if test else []
    assert hears.heard == wanted


def test_real_steps_are_always_heard() -> None:
    hears = Hears()
    calls = StepCallbacks([hears], train_steps=False, test_steps=False)
    for step in (0, 1):
        calls.begin_train_step(step)
        calls.end_train_step(step, {"loss": 1.0})
    calls.begin_test_step(5)
    calls.end_test_step(5, {})
    steps = [(f"train {what}", step) for step in (0, 1) for what in ("begins", "ends")]
    assert hears.heard == [*steps, ("test begins", 5), ("test ends", 5)]


def test_epochs_are_counted_from_the_beginning_of_the_fit() -> None:
    calls = StepCallbacks([], train_steps=True, test_steps=True)
    assert calls.epochs_begun == 0
    for epoch in (7, 8):
        calls.on_epoch_begin(epoch)
    assert calls.epochs_begun == 2


def test_what_callbacks_ask_for_together() -> None:
    quiet, hears = keras.callbacks.History(), Hears()
    assert not step_callbacks.want_batches([], training=True)
    assert not step_callbacks.want_batches([quiet], training=True)
    assert step_callbacks.want_batches([quiet, hears], training=True)
    assert step_callbacks.want_batches([quiet, hears], training=False)
    assert not step_callbacks.may_change_weights([quiet, hears])
    assert step_callbacks.may_change_weights([quiet, keras.callbacks.LambdaCallback(print)])
