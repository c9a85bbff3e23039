"""Does a callback say itself what it changes, and is one that says nothing taken for the worst?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.averaging.ema import Averages
from finetunekit.caching import identity
from finetunekit.callbacks import protocol
from finetunekit.resuming.events import EpochStart, PutBack
from models import images, labels, tiny_backbone
from parameters import often


class Unknown(keras.callbacks.Callback):
    """Says nothing."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        pass


class Harmless(Unknown):
    """A toy of ours, known by nobody else."""

    changes_frozen_weights = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pass


class Loads(Harmless):
    """Brings a method of its own, so what its base said need not hold."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            kernel = self.model.layers[1].weights[0]
            kernel.assign(-kernel)


def ours(folder: Any) -> list[Any]:
    return [
        ftk.callbacks.EarlyStopping(),
        ftk.callbacks.SaveBest(folder / "best.keras"),
        ftk.callbacks.Schedule(),
        ftk.callbacks.Checkpoint(folder / "run.ckpt"),
        ftk.callbacks.Checkpoint(folder / "run.ckpt", every=2),
        ftk.callbacks.NaNWatch(),
        ftk.callbacks.FrozenGuard(),
        ftk.callbacks.L1L2Injection(l2=0.1),
        ftk.callbacks.DropoutInjection(0.1, after="head"),
        Averages(),
        EpochStart(None),
        PutBack(None),
    ]


def test_ours_say_it_themselves(tmp_path: Any) -> None:
    every_two = 4
    for number, callback in enumerate(ours(tmp_path)):
        assert not protocol.changes_frozen_weights(callback), callback
        assert protocol.needs_batches(callback, True) == (number == every_two), callback
        assert not protocol.needs_batches(callback, False), callback


@pytest.mark.parametrize(
    ("callback", "changes", "batches"),
    [
        (Unknown(), True, False),
        (Harmless(), False, False),
        (Loads(), True, False),
        (keras.callbacks.EarlyStopping(), False, False),
        (keras.callbacks.History(), False, False),
        (keras.callbacks.ProgbarLogger(), False, False),
        (keras.callbacks.TerminateOnNaN(), False, True),
        (keras.callbacks.ModelCheckpoint("a.keras"), False, False),
        (keras.callbacks.ModelCheckpoint("a.keras", save_freq=3), False, True),
        (keras.callbacks.LambdaCallback(on_epoch_end=print), True, False),
        (keras.callbacks.LambdaCallback(on_train_batch_end=print), True, True),
        (keras.callbacks.SwapEMAWeights(), True, False),
        (type("Own", (keras.callbacks.EarlyStopping,), {})(), True, False),
        (type("Said", (Loads,), {"changes_frozen_weights": False})(), False, False),
        (type("Same", (Harmless,), {"__init__": Harmless.__init__})(), False, False),
    ],
)
def test_what_is_known_of_a_callback(callback: Any, changes: bool, batches: bool) -> None:
    assert protocol.changes_frozen_weights(callback) == changes
    assert protocol.needs_batches(callback, True) == batches


def test_batches_are_asked_for_by_side() -> None:
    def hears(*names: str, **said: Any) -> keras.callbacks.Callback:
        return type("Hears", (keras.callbacks.Callback,), dict.fromkeys(names, print) | said)()

    for name in ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"):
        assert protocol.needs_batches(hears(name), True)
        assert not protocol.needs_batches(hears(name), False)
        assert not protocol.needs_batches(hears(name, needs_batches=False), True)
    for name in ("on_test_batch_begin", "on_test_batch_end"):
        assert protocol.needs_batches(hears(name), False)
        assert not protocol.needs_batches(hears(name), True)
    assert not protocol.needs_batches(hears(needs_batches=True), True), "has no such method"
    own = Unknown()
    own.on_train_batch_end = print  # type: ignore[method-assign]
    assert protocol.needs_batches(own, True)
    own.needs_batches = False  # type: ignore[attr-defined]
    assert not protocol.needs_batches(own, True)


def test_settings_that_a_resumed_run_has_to_share() -> None:
    schedule = ftk.callbacks.Schedule("linear", warmup=5, first_epoch=2)
    assert protocol.training_settings(schedule) == {
        "shape": "linear",
        "warmup": 5.0,
        "first_epoch": 2,
    }
    assert protocol.training_settings(ftk.callbacks.L1L2Injection(l2=0.1)) == {"l1": 0, "l2": 0.1}
    drop = ftk.callbacks.DropoutInjection(0.2, after="head", seed=3)
    assert protocol.training_settings(drop) == {"rate": 0.2, "seed": 3}
    assert protocol.training_settings(keras.callbacks.History()) is None


def trained(callbacks: list[Any], *, cache: bool | str = "auto") -> list[np.ndarray]:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(ftk.freeze_layers(tiny_backbone()), "binary")
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((images(8), labels(8))).batch(4)
    options = {
        "epochs": 3,
        "validation_data": data,
        "verbose": 0,
        "cache": cache,
        "engine": "keras",
    }
    ftk.fit(model, data, callbacks=callbacks, **options)
    return model.get_weights()


def digests_of(callback: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the frozen weights are hashed in a cached fit of three epochs on a pipeline."""
    calls: list[int] = []
    own = identity.weights_digest
    monkeypatch.setattr(identity, "weights_digest", lambda split: (calls.append(1), own(split))[1])
    trained([callback])
    return len(calls)


HARMLESS = [
    Harmless,
    ftk.callbacks.EarlyStopping,
    ftk.callbacks.Schedule,
    keras.callbacks.EarlyStopping,
]


@pytest.mark.parametrize("made", often(HARMLESS, (Harmless, ftk.callbacks.Schedule)))
def test_a_harmless_callback_has_nothing_hashed(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digests_of(made(), monkeypatch) == 1, "once, for the key of the features"


def test_an_unknown_one_is_watched_and_may_change_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert digests_of(Unknown(), monkeypatch) > 3
    pairs = zip(trained([Loads()]), trained([Loads()], cache=False), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert "a callback has changed frozen weights" in caplog.text
