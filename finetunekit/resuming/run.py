"""A run that is checkpointed or resumed: checks, gathers its state, puts it back."""

import copy
import dataclasses
import os
import random
from typing import Any

import keras

from finetunekit.caching.options import CacheOptions
from finetunekit.data.batches import Batches
from finetunekit.foundation.messages import listed, say
from finetunekit.resuming import (
    csv_logs,
    fingerprint,
    own_files,
    random_states,
    training_state,
)
from finetunekit.resuming.checkpoint import Checkpoint
from finetunekit.resuming.events import EpochStart, PutBack
from finetunekit.resuming.resume_point import Resume, check_kind, read_checkpoint


class Run:
    """A fit with a `Checkpoint`, from a checkpoint, or both.

    Args:
        callbacks: The callbacks of the user.
        resume: A path, or what `fit_in_stages` gives, or None.

    Raises:
        ValueError: If the file is of another kind of run, or there are two Checkpoints.
    """

    def __init__(self, callbacks: list[Any], resume: Any) -> None:
        self._checkpoint = _the_checkpoint(callbacks)
        given = resume if isinstance(resume, Resume) else Resume(resume)
        self._stage = given.stage
        self.state = None if given.path is None else read_checkpoint(given.path)
        self._path = None if given.path is None else os.path.abspath(os.fspath(given.path))
        if self.state is not None:
            check_kind(self.state, given)
        self.skip = self.state["step"] if self.state is not None else 0
        self._callbacks: list[Any] = []
        self._mixers: list[Any] = []
        self._begun: dict[str, Any] = {}
        self._facts: dict[str, Any] = {}
        self._architecture: list[str] = []
        self._at_start: list[Any] = []

    @classmethod
    def of(cls, callbacks: list[Any], resume: Any) -> "Run | None":
        """The run, if there is anything to keep or to resume."""
        kept = any(isinstance(callback, Checkpoint) for callback in callbacks)
        asked = resume is not None and (not isinstance(resume, Resume) or resume.path is not None)
        return cls(callbacks, resume) if kept or asked else None

    def seed(self, given: int | None) -> int:
        """The seed of the order: that of the checkpoint, or the one given, or a drawn one.

        Raises:
            ValueError: If another one is given than the checkpoint has.
        """
        if self.state is None:
            return random.randrange(2**32) if given is None else given
        known = int(self.state["facts"]["seed"])
        if given not in (None, known):
            raise ValueError(
                f"`resume` is of a run with seed={known}. Give that one, or leave `seed` out. "
                f"Received: seed={given!r}"
            )
        return known

    def cache(self, options: CacheOptions) -> CacheOptions:
        """The same with the memory that the run began with, which may decide the order."""
        if self.state is None:
            return options
        return dataclasses.replace(options, memory_limit=int(self.state["facts"]["memory limit"]))

    def features(self) -> str | None:
        """Where computed features are kept beside the checkpoint."""
        if self._checkpoint is None:
            return None
        return own_files.features_path(self._checkpoint.path, self._stage_number)

    def begin(
        self,
        model: keras.Model,
        batches: Batches,
        callbacks: list[Any],
        *,
        epochs: int,
        first_epoch: int,
        facts: dict[str, Any],
    ) -> tuple[list[Any], int]:
        """Takes the run up: model and data are checked, and the state is put back.

        Args:
            model: The compiled model.
            batches: What it trains on.
            callbacks: The callbacks of the fit.
            epochs: The epoch at which to stop.
            first_epoch: The epoch at which to start, unless the run is resumed.
            facts: What must be the same in a resumed run, by words: the fingerprint of its plan.

        Returns:
            The callbacks with those of the run, and the epoch at which to start.

        Raises:
            ValueError: If the checkpoint is of another model, other data or other settings.
        """
        others = [c for c in callbacks if not isinstance(c, Checkpoint)]
        if not any(isinstance(c, keras.callbacks.History) for c in others):
            others.append(keras.callbacks.History())
        self._mixers, self._callbacks = list(batches.random_layers), others
        self._at_start = [training_state.settings_of(callback) for callback in others]
        self._architecture = training_state.described(model)
        self._facts = {**facts, "callbacks": fingerprint.describe_callbacks(others)}
        if self.state is not None:
            self._check(self.state, epochs)
        for callback in others:
            training_state.warn_of_losses(callback)
        if self._checkpoint is not None:
            if self._is_new:
                own_files.set_aside(self._checkpoint.path)
            self._checkpoint.attach(lambda e, s: self._gather(model, e, s))
        kept = [] if self._checkpoint is None else [self._checkpoint]
        whole = [EpochStart(self), *others, PutBack(self), *kept]
        if self.state is None:
            return whole, first_epoch
        if not facts["deterministic"]:
            batches.fast_forward(self.state["epoch"])
        return whole, self._take_up(model, self.state, epochs)

    def _take_up(self, model: keras.Model, state: dict[str, Any], epochs: int) -> int:
        """Puts the state of model and files back; the epoch to go on with."""
        training_state.put_into_model(model, state["model"])
        epoch = state["epoch"]
        for callback in self._callbacks:
            if isinstance(callback, keras.callbacks.CSVLogger):
                csv_logs.rewind(callback, epoch)
        ended = state["stopped"] and epochs > epoch
        step = f", step {self.skip}" if self.skip else ""
        say(f"resumed after epoch {epoch}{step}{'; the run had ended' if ended else ''}")
        return epochs if state["stopped"] else epoch

    @property
    def _stage_number(self) -> int | None:
        return None if self._stage is None else self._stage.number

    @property
    def _is_new(self) -> bool:
        """Whether what the Checkpoint would write over is of another run."""
        if self.state is None:  # A later stage goes on with the file of the one before.
            return not self._stage_number
        return self._checkpoint is not None and self._checkpoint.path != self._path

    def end(self, *, whole: bool) -> None:
        """The fit is over; once it is whole, nobody needs its features any more."""
        if self._checkpoint is not None:
            self._checkpoint.detach()
            if whole:
                own_files.remove_features(self._checkpoint.path, self._stage_number)

    def _check(self, state: dict[str, Any], epochs: int) -> None:
        """Raises if the checkpoint is of another run, which is described by how it began."""
        if state["epoch"] > epochs:
            raise ValueError(
                f"`resume` is of a run that has done {state['epoch']} epochs. Give at least as "
                f"many, or begin anew without `resume`. Received: epochs={epochs}"
            )
        training_state.check_architecture(state["architecture"], self._architecture)
        if self._facts["learning rate"] == state["learning rate"]:
            # A model that has trained in this process already has the rate of where it was.
            self._facts["learning rate"] = state["facts"]["learning rate"]
        fingerprint.check_same(state["facts"], self._facts, "resume", self._path)

    def _gather(self, model: keras.Model, epoch: int, step: int) -> dict[str, Any]:
        """The state after so many steps of an epoch; after a whole epoch, of the next one."""
        rows = zip(self._callbacks, self._at_start, strict=True)
        return {
            "architecture": self._architecture,
            "facts": self._facts,
            "epoch": epoch,
            "step": step,
            "stopped": bool(model.stop_training) and step == 0,
            "stage": None if self._stage is None else dict(vars(self._stage)),
            "model": training_state.of_model(model),
            "learning rate": fingerprint.learning_rate(model),
            "callbacks": [training_state.of_callback(callback, start) for callback, start in rows],
            # In mid-epoch the order is drawn again, from where the epoch began.
            "random": self._begun if step else random_states.of_random(self._mixers),
            "reached": random_states.of_global() if step else None,
            "metrics": training_state.values_of(model.metrics_variables) if step else [],
        }

    def put_back(self) -> None:
        """What the callbacks and the generators of random numbers held."""
        if self.state is not None:
            for callback, held in _paired(self._callbacks, self.state["callbacks"]):
                # A copy, since callbacks change what they hold, and a plan may run again.
                training_state.put_into_callback(callback, copy.deepcopy(held))
            random_states.put_into_random(self.state["random"], self._mixers)

    def note_epoch(self) -> None:
        """An epoch begins: from here its order is drawn."""
        self._begun = random_states.of_random(self._mixers)

    def put_metrics_back(self, model: keras.Model) -> None:
        """What the metrics had seen of the epoch, and what its steps had drawn."""
        if self.state is not None:
            pairs = zip(model.metrics_variables, self.state["metrics"], strict=True)
            for variable, value in pairs:
                variable.assign(value)
            random_states.put_into_global(self.state["reached"])


def _paired(callbacks: list[Any], states: list[Any]) -> list[tuple[Any, Any]]:
    """The callbacks with their states, by class and order: those that only watch may be new."""
    left = list(states)
    pairs = []
    for callback in callbacks:
        name = type(callback).__name__
        place = next((n for n, state in enumerate(left) if state["class"] == name), None)
        if place is None:
            say(f"the checkpoint holds no state of {name}, which starts anew")
        else:
            pairs.append((callback, left.pop(place)))
    return pairs


def _the_checkpoint(callbacks: list[Any]) -> Checkpoint | None:
    found = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
    if len(found) > 1:
        raise ValueError(
            "`callbacks` must hold one `Checkpoint` at most. "
            f"Received: {len(found)}, of {listed([c.path for c in found])}"
        )
    return found[0] if found else None
