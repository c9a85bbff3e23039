"""A plan runs by the loop that suits it, and whatever was changed for that is put back after."""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.averaging import ema
from finetunekit.execution.first_step import VariablesFirst
from finetunekit.execution.samples import Samples
from finetunekit.models.temporary_injection import TemporaryInjection
from finetunekit.training import running
from finetunekit.training.plan import FitPlan
from finetunekit.training.planning import plan_fit
from frozen_dense import dense, samples

L = keras.layers
X, Y = samples(12)
HISTORY = keras.callbacks.History()


class Loop:
    """Stands in the place of the loops: notes the call, and ends or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.error: BaseException | None = None
        self.seen: Any = lambda model: None
        self.during: list[Any] = []
        for name, owner in (
            ("keras", keras.Model),
            ("features", running.feature_fit),
            ("skipping", running.fast_forward),
        ):
            monkeypatch.setattr(owner, "fit", self._of(name))

    def _of(self, name: str) -> Any:
        def fit(*arguments: Any, **options: Any) -> keras.callbacks.History:
            self.calls.append((name, arguments, options))
            self.during.append(self.seen(arguments[0]))
            if self.error is not None:
                raise self.error
            return HISTORY

        return fit

    @property
    def call(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        (call,) = self.calls
        return call


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


def whole(**options: Any) -> keras.Model:
    """A model in which nothing is frozen."""
    model = keras.Sequential([keras.Input((6,)), L.Dense(2, activation="softmax")])
    model.compile(options.pop("optimizer", "sgd"), "sparse_categorical_crossentropy", **options)
    return model


def plan(model: keras.Model, x: Any = X, y: Any = Y, **options: Any) -> FitPlan:
    return plan_fit(model, x, y, **({"batch_size": 4, "seed": 3, "verbose": 0} | options))


def held_out() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


class Listening(keras.callbacks.Callback):
    """Notes what a fit tells it beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self.validated: bool | None = None
        self.batch_of: Any = None
        self.first: int | None = None

    def attach_validation(self, validated: bool) -> None:
        self.validated = validated

    def attach_batches(self, batch_of: Any, *, first: int) -> None:
        self.batch_of, self.first = batch_of, first


def test_a_model_without_frozen_parts_is_trained_by_keras(loop: Loop) -> None:
    model, callback, data = whole(), Listening(), held_out()
    made = plan(model, callbacks=[callback], validation_data=data, epochs=5, initial_epoch=2)
    assert made.run() is HISTORY
    name, (trained,), given = loop.call
    assert (name, trained) == ("keras", model)
    first, last = given.pop("callbacks")
    assert first is callback
    assert isinstance(last, VariablesFirst)
    rows = np.random.default_rng((3, 2)).permutation(12)[:4]  # Of the first epoch, the third.
    x, y = given.pop("x")[0]
    np.testing.assert_array_equal(x, X[rows])
    np.testing.assert_array_equal(np.ravel(y), Y[rows])
    assert given == {
        "batch_size": None,
        "class_weight": None,
        "epochs": 5,
        "initial_epoch": 2,
        "sample_weight": None,
        "shuffle": False,
        "steps_per_epoch": None,
        "validation_batch_size": 4,
        "validation_data": made.validation.for_validation(),  # The pipeline, checked.
        "validation_freq": 1,
        "validation_steps": None,
        "verbose": 0,
        "y": None,
    }
    assert (callback.validated, callback.first) == (True, 0)
    np.testing.assert_array_equal(callback.batch_of(2, 0)[0], rows)
    assert made.callbacks == (callback,)


def test_without_validation_callbacks_are_told_so(loop: Loop) -> None:
    callback = Listening()
    plan(whole(), callbacks=[callback]).run()
    assert callback.validated is False
    assert loop.call[2]["validation_data"] is None


def test_a_frozen_part_is_trained_on_features(loop: Loop) -> None:
    model, callback = dense(), Listening()
    made = plan(model, callbacks=[callback], validation_split=0.25)
    assert made.run() is HISTORY
    name, (trained, call, reader, validation, cache, kept), options = loop.call
    assert (name, trained, options) == ("features", model, {})
    assert isinstance(reader, Samples)
    assert reader.inputs[0] is made.batches.spec[0]
    assert (validation, cache, kept) == (made.validation, made.cache, None)
    assert call.callbacks == [callback]
    assert call.loop == made.loop
    np.testing.assert_array_equal(call.validation_data[0], X[9:])
    assert (callback.batch_of, callback.first) == (reader.batch, 0)


@pytest.mark.parametrize("asked", [True, False])
def test_an_optimizer_that_averages_has_its_averages_seen_to_first(loop: Loop, asked: bool) -> None:
    own = keras.callbacks.SwapEMAWeights() if asked else keras.callbacks.History()
    plan(whole(optimizer=keras.optimizers.SGD(use_ema=True)), callbacks=[own]).run()
    found = loop.call[2]["callbacks"][:-1]
    assert found[-1] is own
    assert [type(callback) for callback in found[:-1]] == ([] if asked else [ema.Averages])


def test_a_model_that_was_frozen_meanwhile_is_refused(loop: Loop) -> None:
    model = whole()
    made = plan(model)
    model.trainable = False
    with pytest.raises(ValueError, match="Nothing in 'sequential' is trainable"):
        made.run()
    assert loop.calls == []


@pytest.mark.parametrize("changed", [True, False])
def test_functions_of_a_changed_model_are_made_anew(
    loop: Loop, changed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = dense()
    made = plan(model)
    if changed:
        model.make_train_function()
    before = model.train_function
    loop.seen = lambda model: model.train_function is before
    with caplog.at_level(logging.DEBUG, "finetunekit"):  # The plan is quiet.
        made.run()
    words = f"{model.name!r} has changed since it was compiled: its functions are traced anew"
    assert [record.getMessage() for record in caplog.records] == ([words] if changed else [])
    assert loop.during == [not changed]


class Injection(TemporaryInjection):
    """Counts how often it is undone."""

    def __init__(self) -> None:
        super().__init__()
        self.restored = 0

    def restore(self) -> None:
        self.restored += 1


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ValueError("in a step")])
def test_what_callbacks_have_changed_is_undone_however_it_ends(
    loop: Loop, error: BaseException | None
) -> None:
    first, second = Injection(), Injection()
    loop.seen = lambda model: (first.restored, second.restored)
    loop.error = error
    made = plan(whole(), callbacks=[first, keras.callbacks.History(), second])
    if error is None:
        made.run()
    else:
        with pytest.raises(type(error)):
            made.run()
    assert loop.during == [(0, 0)]
    assert (first.restored, second.restored) == (1, 1)


def images() -> keras.Model:
    """A classifier of small images, with a loss that was chosen for it."""
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), L.Flatten(), L.Dense(3, activation="softmax")]
    )
    return ftk.compile_for_task(model, "multiclass")


INTEGERS = keras.losses.SparseCategoricalCrossentropy
ROWS = keras.losses.CategoricalCrossentropy


@pytest.mark.parametrize(
    ("one_hot", "mix", "during", "after"),
    [
        (False, False, INTEGERS, INTEGERS),
        (True, False, ROWS, ROWS),
        (False, True, ROWS, INTEGERS),
    ],
    ids=["integers", "rows", "mixed"],
)
@pytest.mark.parametrize("fails", [False, True])
def test_the_loss_takes_the_labels_and_mixed_ones_for_the_run_only(
    loop: Loop, one_hot: bool, mix: bool, during: type, after: type, fails: bool
) -> None:
    model, y = images(), np.arange(6) % 3
    loop.seen = lambda model: type(model.loss)
    loop.error = KeyboardInterrupt() if fails else None
    made = plan(
        model,
        np.zeros((6, 2, 2, 1), "float32"),
        np.eye(3)[y] if one_hot else y,
        mix=L.MixUp(seed=1) if mix else None,
    )
    if fails:
        with pytest.raises(KeyboardInterrupt):
            made.run()
    else:
        made.run()
    assert loop.during == [during]
    assert type(model.loss) is after


class Kept:
    """A run with a checkpoint that goes on from the third step of the second epoch."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.skip = 2

    def features(self) -> str:
        return "beside.h5"

    def begin(self, *arguments: Any, **options: Any) -> Any:
        self.events.append((self, arguments, options))
        return ["callbacks of the run"], 1

    def end(self, *, whole: bool) -> None:
        self.events.append(whole)


def kept_plan(model: keras.Model, x: Any = X, y: Any = Y, **options: Any) -> tuple[FitPlan, Kept]:
    kept = Kept()
    made: Any = plan(model, x, y, epochs=4, **options)
    return made.replace(resume=kept), kept


def test_a_run_begins_where_it_was_interrupted(loop: Loop) -> None:
    model, callback = whole(), Listening()
    made, kept = kept_plan(model, callbacks=[callback])
    assert made.run() is HISTORY
    (own, arguments, options), *ends = kept.events
    assert arguments == (model, made.batches, [callback])
    assert options == {"epochs": 4, "first_epoch": 0, "facts": made.fingerprint()}
    assert ends == [True, False]
    assert own is not kept, "the plan may run again"
    name, (trained, call, run, steps), _ = loop.call
    assert (name, trained, run, steps) == ("skipping", model, own, 3)
    assert call.callbacks[0] == "callbacks of the run"
    assert isinstance(call.callbacks[1], VariablesFirst)
    assert (call.loop.initial_epoch, call.loop.epochs) == (1, 4)
    rows = np.random.default_rng((3, 1)).permutation(12)[:4]
    np.testing.assert_array_equal(call.data.x[0][0], X[rows])


def test_callbacks_of_a_run_know_how_many_steps_were_done(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = Listening()
    monkeypatch.setattr(Kept, "begin", lambda self, model, batches, own, **_: (own, 1))
    made, _ = kept_plan(whole(), callbacks=[callback])
    made.run()
    assert callback.first == 2


def test_a_run_that_fails_has_not_come_to_its_end(loop: Loop) -> None:
    loop.error = KeyboardInterrupt()
    made, kept = kept_plan(whole())
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert kept.events[1:] == [False]


def test_features_of_a_run_are_kept_beside_its_checkpoint(loop: Loop) -> None:
    made, kept = kept_plan(dense())
    made.run()
    name, (_, _, reader, _, cache, run), _ = loop.call
    assert name == "features"
    assert cache == made.cache.kept_beside("beside.h5")
    assert cache.path == "beside.h5"
    assert reader.cache == cache
    assert run is kept.events[0][0]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_pipeline_of_a_run_is_computed_in_each_epoch(
    loop: Loop, frozen: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = kept_plan(dense() if frozen else whole(), held_out(), None, verbose=1)
    with caplog.at_level(logging.INFO, "finetunekit"):
        made.run()
    assert loop.call[0] == "skipping"
    reason = "a run with a checkpoint computes the frozen part of a pipeline in each epoch"
    said = [record.getMessage() for record in caplog.records]
    assert said == ([f"{reason}; arrays spare that"] if frozen else [])


def test_a_pipeline_of_a_run_cannot_be_cached(loop: Loop) -> None:
    made, kept = kept_plan(dense(), held_out(), None, cache=True)
    words = "`cache` is not possible: a run with a checkpoint computes the frozen part"
    with pytest.raises(ValueError, match=words):
        made.run()
    assert kept.events == [False]
    assert loop.calls == []


def test_a_run_needs_whole_epochs(loop: Loop) -> None:
    made, kept = kept_plan(whole(), steps_per_epoch=2)
    with pytest.raises(ValueError, match="A run with a checkpoint needs whole epochs"):
        made.run()
    assert kept.events == [False]
    assert loop.calls == []


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("cache", [False, "auto"])
def test_a_pipeline_that_turns_out_to_be_empty(
    cache: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """How many batches a filter leaves is not known before."""
    empty = held_out().unbatch().filter(lambda x, y: False).batch(4)
    model = dense()
    words = r"`x` gave no batches, so nothing was trained"
    with pytest.raises(ValueError, match=words if cache is False else "not yet been built"):
        plan(model, empty, None, batch_size=None, steps_per_epoch=2, cache=cache).run()
    with caplog.at_level(logging.WARNING, "finetunekit"):
        plan(model, validation_data=empty, cache=cache).run()
    assert "`validation_data` gave no batches: nothing was validated" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "finetunekit"):
        plan(model, validation_data=held_out(), cache=cache).run()
        plan(model, validation_data=empty, validation_freq=2, cache=cache).run()
    assert not caplog.text
