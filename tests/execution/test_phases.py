"""Training and validation on features stand in for the model's functions, and leave no trace."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import tensorflow as tf

from finetunekit.execution.phases import FitPhase, Training, Validation
from finetunekit.execution.readers import Reader, ReadyReader
from finetunekit.execution.step_callbacks import StepCallbacks
from finetunekit.foundation import patches

L = keras.layers
PHASES = [Training, Validation]


class Events(list[Any]):
    """What has happened, in its order; it can be referred to weakly."""


class Fit:
    """A fit that notes what it is asked to do."""

    def __init__(self, events: Events) -> None:
        self.tail: Any = SimpleNamespace(train="steps of training", test="steps of validation")
        self.epoch, self.stale = 7, True
        self.events = events

    def refresh(self) -> None:
        self.events.append("refresh")

    def renew(self) -> None:
        self.events.append("renew")


class ReadyToy(ReadyReader):
    def __init__(self, events: Events) -> None:
        self.told, self.events = "read it all", events

    def run(self, iterator: Any, phase: Any, begun: Any = None) -> Any:
        self.events.append(("run", iterator, phase, begun))
        return "the metrics"

    def close(self) -> None:
        self.events.append("close")


class Toy(Reader):
    """Reads what it is told to read."""

    def __init__(self, events: Events, reads: bool = True) -> None:
        self.events, self.answer = events, reads
        self.latest: Any = lambda: None
        self.alive_before: list[bool] = []
        self.error: Exception | None = None

    def ready(self, split: Any, key: dict[str, str], extractor: Any) -> ReadyReader:
        self.events.append(("ready", split, key, extractor))
        self.alive_before.append(self.latest() is not None)
        if self.error is not None:
            raise self.error
        made = ReadyToy(self.events)
        self.latest = weakref.ref(made)
        return made

    def reads(self, iterator: Any, *, own: bool) -> bool:
        self.events.append(("reads", iterator, own))
        return self.answer


def compiled() -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    model.compile("sgd", "mse")
    return model


def by_step(callbacks: list[Any], model: keras.Model) -> StepCallbacks:
    return StepCallbacks(callbacks, train_steps=False, test_steps=False, model=model)


def phase_of(
    kind: type[FitPhase], reader: Reader | None, callbacks: Any = (), **options: Any
) -> FitPhase:
    model = compiled()
    events = reader.events if isinstance(reader, Toy) else Events()
    return kind(Fit(events), model, reader, by_step(list(callbacks), model), **options)


def plain_function(iterator: Any) -> Any:
    return "Keras' step", iterator


@pytest.mark.parametrize("kind", PHASES)
def test_the_functions_place_is_taken_and_given_back(kind: type[FitPhase]) -> None:
    phase = phase_of(kind, Toy(Events()))
    model = phase.model
    setattr(model, phase.function, plain_function)
    phase.take_over()
    assert phase.plain is plain_function
    assert getattr(model, phase.function) is not plain_function
    assert patches.is_patched(model, f"make_{phase.function}")
    phase.give_back()
    assert getattr(model, phase.function) is plain_function
    assert not patches.is_patched(model, f"make_{phase.function}")


@pytest.mark.parametrize("kind", PHASES)
def test_what_has_been_put_there_meanwhile_stays(kind: type[FitPhase]) -> None:
    phase = phase_of(kind, Toy(Events()))
    phase.take_over()
    setattr(phase.model, phase.function, plain_function)
    phase.give_back()
    assert getattr(phase.model, phase.function) is plain_function


def test_what_was_not_taken_can_be_given_back() -> None:
    phase = phase_of(Training, Toy(Events()))
    phase.model.train_function = plain_function
    phase.give_back()
    assert phase.model.train_function is plain_function


@pytest.mark.parametrize("kind", PHASES)
def test_a_phase_goes_without_the_garbage_collector(kind: type[FitPhase]) -> None:
    phase = phase_of(kind, Toy(Events()))
    model = phase.model
    phase.take_over()
    phase.give_back()
    gone = weakref.ref(phase)
    gc.disable()
    try:
        del phase
        assert gone() is None
    finally:
        gc.enable()
    assert model.train_function is None


def test_the_reader_runs_what_it_reads() -> None:
    events = Events()
    phase = phase_of(Training, Toy(events))
    assert phase.make_ready("split", {"key": "of it"}, "extractor") == "read it all"
    phase.take_over()
    assert phase.model.train_function("data") == "the metrics"
    assert events == [
        ("ready", "split", {"key": "of it"}, "extractor"),
        ("reads", "data", False),
        "refresh",
        ("run", "data", phase, None),
    ]


def test_an_epoch_goes_on_from_where_it_was() -> None:
    events = Events()
    phase = phase_of(Validation, Toy(events))
    phase.make_ready("split", {}, "extractor")
    assert phase.go_on("data", "begun") == "the metrics"
    assert events[1:] == ["refresh", ("run", "data", phase, "begun")]


@pytest.mark.parametrize("reader", [None, Toy(Events(), reads=False)], ids=["none", "another"])
def test_other_data_get_the_step_of_keras(reader: Toy | None) -> None:
    phase = phase_of(Training, reader)
    phase.model.train_function = plain_function
    phase.take_over()
    assert phase.model.train_function("data") == ("Keras' step", "data")
    assert "refresh" not in phase.fit.events


def test_the_reader_is_told_whether_the_iterator_is_that_of_the_fit() -> None:
    events = Events()
    phase = phase_of(Training, Toy(events, reads=False))
    phase.model.train_function = plain_function
    phase.take_over()
    iterator = iter(tf.data.Dataset.range(2))
    for data in (iterator, [1, 2]):
        phase.model.train_function(data)
    assert events == [("reads", iterator, True), ("reads", [1, 2], False)]


def test_only_the_iterator_that_keras_validates_on_is_the_fits_own() -> None:
    phase = phase_of(Validation, None)
    own, other = (iter(tf.data.Dataset.range(2)) for _ in range(2))
    assert not phase.is_own(own)
    phase.model._eval_epoch_iterator = SimpleNamespace(_current_iterator=own)
    assert phase.is_own(own)
    assert not phase.is_own(other)
    numbers = [1, 2]
    phase.model._eval_epoch_iterator = SimpleNamespace(_current_iterator=numbers)
    assert not phase.is_own(numbers), "it has no `element_spec`"


@pytest.mark.parametrize("kind", PHASES)
def test_keras_own_function_is_made_when_it_is_missing(kind: type[FitPhase]) -> None:
    phase = phase_of(kind, None)
    model, made = phase.model, []

    def make(force: bool = False) -> None:
        made.append(getattr(model, phase.function))
        setattr(model, phase.function, plain_function)

    setattr(model, f"make_{phase.function}", make)
    phase.take_over()
    ours = getattr(model, phase.function)
    for _ in range(2):
        assert phase.keras_step("data") == ("Keras' step", "data")
    assert made == [None], "once, as where there is none"
    assert phase.plain is plain_function
    assert getattr(model, phase.function) is ours
    phase.give_back()
    assert getattr(model, phase.function) is plain_function
    assert vars(model)[f"make_{phase.function}"] is make


@pytest.mark.parametrize("kind", PHASES)
def test_functions_that_are_made_anew_leave_ours_in_their_place(kind: type[FitPhase]) -> None:
    phase = phase_of(kind, None)
    model = phase.model
    setattr(model, phase.function, plain_function)
    phase.take_over()
    ours = getattr(model, phase.function)
    make = getattr(model, f"make_{phase.function}")
    make()
    assert (phase.plain, phase.fit.events) == (plain_function, [])
    make(force=True)
    assert (phase.plain, phase.fit.events) == (None, ["renew"])
    assert getattr(model, phase.function) is ours


def test_memory_is_free_before_more_is_needed() -> None:
    reader = Toy(Events())
    phase = phase_of(Training, reader)
    for _ in range(2):
        phase.make_ready("split", {}, "extractor")
    assert reader.alive_before == [False, False]
    reader.error = OSError("the disk is full")
    with pytest.raises(OSError, match="the disk is full"):
        phase.make_ready("split", {}, "extractor")
    with pytest.raises(RuntimeError, match=r"^Nothing is read for `train_function`\.$"):
        phase.go_on("data", None)


def test_without_a_reader_nothing_is_made_ready() -> None:
    phase = phase_of(Validation, None)
    assert phase.make_ready("split", {}, "extractor") == ""
    with pytest.raises(RuntimeError, match=r"^Nothing is read for `test_function`\.$"):
        phase.go_on("data", None)
    assert phase.fit.events == ["refresh"]


def test_what_is_ready_is_closed_once_and_let_go() -> None:
    reader = Toy(Events())
    phase = phase_of(Training, reader)
    phase.close()
    phase.make_ready("split", {}, "extractor")
    phase.close()
    phase.close()
    assert reader.events[1:] == ["close"]
    assert reader.latest() is None


def test_the_first_steps_tell_the_pace() -> None:
    phase = phase_of(Training, None)
    assert [phase.at_once(steps) for steps in (1, 3, 4, 5, 1000)] == [1, 3, 4, 4, 4]
    for steps, seconds, expected in (
        (4, 0.5, 4),  # An eighth of a second each, so four in half a second.
        (2, 0.125, 8),
        (1, 9.0, 8),  # A step that has to wait says nothing.
        (1, 0.03125, 16),
        (2, 0.0625, 16),
        (64, 0.75, 42),  # 42.67, rounded down.
    ):
        phase.note_pace(steps, seconds)
        assert phase.at_once(1000) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.25, 2), (0.5, 1), (0.75, 1), (8.0, 1)])
def test_at_least_one_step_runs_at_once(seconds: float, expected: int) -> None:
    phase = phase_of(Training, None)
    phase.note_pace(1, seconds)
    assert phase.at_once(10) == expected


class SeesTraining(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("begin", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("end", batch, dict(logs)))


class SeesValidation(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("begin", batch))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("end", batch, dict(logs)))


@pytest.mark.parametrize("kind", PHASES)
def test_callbacks_that_see_batches_have_keras_steps_at_once(kind: type[FitPhase]) -> None:
    seeing = {Training: SeesTraining, Validation: SeesValidation}
    (other,) = set(PHASES) - {kind}
    phase = phase_of(kind, None, [seeing[kind]()])
    assert phase.wants_batches
    assert phase.at_once(9) == 1
    phase.model.steps_per_execution = 3
    phase.note_pace(1, 0.0625)
    assert phase.at_once(9) == 3
    unseeing = phase_of(kind, None, [seeing[other]()])
    assert not unseeing.wants_batches
    unseeing.model.steps_per_execution = 3
    assert unseeing.at_once(9) == 4


@pytest.mark.parametrize(("kind", "sees"), [(Training, SeesTraining), (Validation, SeesValidation)])
def test_callbacks_of_the_phase_are_told_of_each_step(kind: type[FitPhase], sees: Any) -> None:
    callback = sees()
    other = SeesValidation() if kind is Training else SeesTraining()
    phase = phase_of(kind, None, [callback, other])
    phase.begin(3)
    phase.end(4, {"loss": 0.5})
    assert callback.seen == [("begin", 3), ("end", 4, {"loss": 0.5})]
    assert other.seen == []


@pytest.mark.parametrize(
    ("kind", "steps", "flag"),
    [
        (Training, "steps of training", "stop_training"),
        (Validation, "steps of validation", "stop_evaluating"),
    ],
)
def test_a_phase_says_what_the_fit_and_the_model_say(
    kind: type[FitPhase], steps: str, flag: str
) -> None:
    phase = phase_of(kind, None)
    assert phase.steps == steps
    assert (phase.epoch, phase.stale) == (7, True)
    phase.fit.epoch, phase.fit.stale = 8, False
    assert (phase.epoch, phase.stale) == (8, False)
    phase.model.stop_training = phase.model.stop_evaluating = False
    assert phase.stopping is False
    setattr(phase.model, flag, True)
    assert phase.stopping is True


class Run:
    """A run that has done some steps of the epoch."""

    def __init__(self, skip: int, events: Events) -> None:
        self.skip, self.events = skip, events

    def put_metrics_back(self, model: keras.Model) -> None:
        self.events.append(("metrics of", model))


@pytest.mark.parametrize(
    ("skip", "steps", "done", "left"), [(3, 5, 3, 0), (5, 5, 5, 0), (6, 5, 5, 1), (1, 5, 1, 0)]
)
def test_an_interrupted_epoch_is_resumed_once(skip: int, steps: int, done: int, left: int) -> None:
    events = Events()
    run = Run(skip, events)
    phase = phase_of(Training, None, run=run)
    assert phase.resumed_at(steps, lambda: events.append("prepared")) == done
    assert events == ["prepared", ("metrics of", phase.model)]
    assert run.skip == left


def test_an_epoch_begins_at_its_beginning_where_nothing_was_interrupted() -> None:
    events = Events()
    whole = phase_of(Training, None, run=Run(0, events))
    for phase in (whole, phase_of(Training, None), phase_of(Validation, None)):
        assert phase.resumed_at(5, lambda: events.append("prepared")) == 0
    assert events == []
