"""Is a new callback one class? A toy one trains, says what it is, is checkpointed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import identity
from frozen_dense import dense, pipeline, same_training, samples

X, Y = samples(24)


class Shrinks(keras.callbacks.Callback):
    """Multiplies the head's kernel by a factor that nears 1 with each epoch that it has seen."""

    changes_frozen_weights = False

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.seen = factor, 0

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a run that goes on must share."""
        return {"factor": self.factor}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen += 1
        kernel = self.model.layers[-1].kernel
        kernel.assign(kernel * self.factor ** (1 / self.seen))


def run(epochs: int, callbacks: list[Any], **options: Any) -> tuple[keras.Model, Any]:
    keras.utils.clear_session(free_memory=False)
    model = dense()
    given = {"batch_size": 8, "shuffle": False, "engine": "keras", "verbose": 0, **options}
    return model, ftk.fit(model, X, Y, epochs=epochs, callbacks=callbacks, **given)


def test_it_trains_on_features_and_is_resumed_to_the_bit(tmp_path: Path) -> None:
    plain = dense()
    wanted = plain.fit(
        X, Y, epochs=3, batch_size=8, shuffle=False, callbacks=[Shrinks(0.5)], verbose=0
    )
    assert ftk.plan_fit(plain, X, Y, callbacks=[Shrinks(0.5)]).find_cut()[0] is not None
    whole, history = run(3, [Shrinks(0.5)])
    assert history.history == wanted.history
    assert same_training(whole, plain)
    keep = tmp_path / "run.ckpt"
    run(2, [Shrinks(0.5), ftk.callbacks.Checkpoint(keep)])
    again = Shrinks(0.5)
    resumed, history = run(3, [again, ftk.callbacks.Checkpoint(keep)], resume=keep)
    assert again.seen == 3
    assert history.history == wanted.history
    assert same_training(resumed, plain)


def test_what_it_says_is_asked_of_a_run_that_goes_on(tmp_path: Path) -> None:
    keep = tmp_path / "run.ckpt"
    run(1, [Shrinks(0.5), ftk.callbacks.Checkpoint(keep)])
    with pytest.raises(ValueError, match=r"other callbacks.*factor: 0\.25 instead of 0\.5"):
        run(2, [Shrinks(0.25), ftk.callbacks.Checkpoint(keep)], resume=keep)


def test_nothing_frozen_is_hashed_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    own = identity.weights_digest
    monkeypatch.setattr(identity, "weights_digest", lambda split: (calls.append(1), own(split))[1])
    ftk.fit(dense(), pipeline(24), epochs=3, callbacks=[Shrinks(0.5)], verbose=0)
    assert len(calls) == 1
    silent = type("Silent", (Shrinks,), {"on_epoch_begin": lambda self, epoch, logs=None: None})
    ftk.fit(dense(), pipeline(24), epochs=3, callbacks=[silent(0.5)], verbose=0)
    assert len(calls) > 4, "a subclass with a method of its own has to say it anew"


def test_the_reference_sees_the_callback() -> None:
    one, _ = run(1, [Shrinks(0.5)])
    other, _ = run(1, [])
    kernels = [model.layers[-1].kernel.numpy() for model in (one, other)]
    assert np.array_equal(kernels[0], kernels[1] * 0.5)
