"""What does `fit` do for a run that is kept or goes on? Checks, gathers, puts back, skips."""

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.caching import hdf5_table
from finetunekit.data import pipelines
from finetunekit.foundation import keras_internals, patches
from finetunekit.foundation.arguments import callback_list
from finetunekit.foundation.messages import listed, say
from finetunekit.models import rate_multipliers
from finetunekit.resuming import checkpoint_files, training_state
from finetunekit.resuming.checkpoint import Checkpoint
from finetunekit.resuming.events import EpochStart, PutBack, Unseen
from finetunekit.resuming.fast_forward import data_facts, walk


@dataclass(frozen=True)
class StageState:
    """Where a run in stages is: the number of the stage, and what the ones before gave."""

    number: int
    plan: list[str]
    history: dict[str, Any]
    epoch: list[int]
    stages: list[Any]


@dataclass(frozen=True)
class Resume:
    """From which file, and at which stage; what `fit_in_stages` hands to `fit`."""

    path: str | None
    stage: StageState | None = None


def read_checkpoint(path: Any) -> dict[str, Any] | None:
    """The state in a file; None, said aloud, if there is no such file yet.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is no checkpoint, or damaged.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"`resume` must be the path of a `callbacks.Checkpoint`. Received: resume={path!r}"
        )
    target = os.path.abspath(os.fspath(path))
    if not os.path.exists(target):
        say(f"{target} is not there yet: the run begins at its beginning")
        return None
    return checkpoint_files.read(target, "resume")


class Run:
    """A fit with a `Checkpoint`, from a checkpoint, or both.

    Args:
        callbacks: The callbacks of the user.
        resume: A path, or what `fit_in_stages` gives, or None.

    Raises:
        ValueError: If the file is of another kind of run, or there are two Checkpoints.
    """

    def __init__(self, callbacks: list[Any], resume: Any) -> None:
        found = [callback for callback in callbacks if isinstance(callback, Checkpoint)]
        if len(found) > 1:
            raise ValueError(
                "`callbacks` must hold one `Checkpoint` at most. "
                f"Received: {len(found)}, of {listed([c.path for c in found])}"
            )
        self._checkpoint = found[0] if found else None
        given = resume if isinstance(resume, Resume) else Resume(resume)
        self._stage = given.stage
        self.state = None if given.path is None else read_checkpoint(given.path)
        self._path = None if given.path is None else os.path.abspath(os.fspath(given.path))
        if self.state is not None:
            kind = "fit_in_stages" if self.state["stage"] is not None else "fit"
            wanted = "fit_in_stages" if given.stage is not None else "fit"
            if kind != wanted:
                raise ValueError(
                    f"`resume` is of a run of `{kind}`: call that to go on. "
                    f"Received: resume={given.path!r} in `{wanted}`"
                )
        self.skip = self.state["step"] if self.state is not None else 0
        self._callbacks: list[Any] = []
        self._mixers: list[Any] = []
        self._facts: dict[str, Any] = {}
        self._begun: dict[str, Any] = {}

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

    def memory_limit(self, limit: int) -> int:
        """How much features may take, which may decide the order: as the run began."""
        return limit if self.state is None else int(self.state["facts"]["memory limit"])

    def features(self) -> str | None:
        """Where computed features are kept beside the checkpoint."""
        if self._checkpoint is None:
            return None
        stage = "" if self._stage is None else f".stage{self._stage.number}"
        return f"{self._checkpoint.path}{stage}.features.h5"

    def begin(
        self,
        model: keras.Model,
        options: dict[str, Any],
        x: Any,
        facts: dict[str, Any],
        mixers: list[Any],
    ) -> dict[str, Any]:
        """Takes the run up: model and data are checked, and the state is put back.

        Args:
            model: The compiled model.
            options: What `model.fit` would be given.
            x: A pipeline or PyDataset; None for arrays.
            facts: What must be the same in a resumed run, by words.
            mixers: Layers that mix the batches.

        Returns:
            The options with what changes for the run.

        Raises:
            ValueError: If the checkpoint is of another model, other data or other settings.
        """
        if options.get("steps_per_epoch") is not None:
            raise ValueError(
                "A run with a checkpoint needs whole epochs: `steps_per_epoch` leaves the place in "
                "the data to Keras. Leave it out. "
                f"Received: steps_per_epoch={options['steps_per_epoch']!r}"
            )
        self._mixers = mixers
        self._facts = facts | data_facts(x)
        callbacks = callback_list(options["callbacks"])
        others = [c for c in callbacks if not isinstance(c, Checkpoint)]
        if not any(isinstance(c, keras.callbacks.History) for c in others):
            others.append(keras.callbacks.History())
        self._callbacks = others
        self._at_start = [training_state.of_callback(callback, {}) for callback in others]
        if self.state is not None:
            self._check(model, options["epochs"])
        if not self._continues:
            self._forget_features()
        options = options | {"callbacks": [EpochStart(self), *others, PutBack(self)]}
        if self._checkpoint is not None:
            options["callbacks"].append(self._checkpoint)
            # A later stage of this run goes on with the file that the one before has written.
            fresh = not self._continues and (self._stage is None or self._stage.number == 0)
            self._checkpoint.attach(lambda e, s: self._gather(model, e, s), fresh=fresh)
        if self.state is None:
            return options
        training_state.put_into_model(model, self.state["model"])
        for callback in others:
            if isinstance(callback, keras.callbacks.CSVLogger):
                callback.append = True  # Else it would begin its file anew.
        epoch = self.state["epoch"]
        walk(x, epoch, again=not facts.get("deterministic"))
        first = options["epochs"] if self.state["stopped"] else epoch
        step = f", step {self.skip}" if self.skip else ""
        say(f"resumed after epoch {epoch}{step}" + ("; the run had ended" * (first > epoch)))
        return options | {"initial_epoch": first}

    @property
    def _continues(self) -> bool:
        """Whether the files that the Checkpoint will write to are those of the resumed run."""
        path = None if self._checkpoint is None else self._checkpoint.path
        return self.state is not None and path == self._path

    def end(self, *, whole: bool) -> None:
        """The fit is over; once it is whole, nobody needs its features any more."""
        if self._checkpoint is not None:
            self._checkpoint.detach()
        if whole:
            self._forget_features()

    def _forget_features(self) -> None:
        path = self.features()
        for name in (path, hdf5_table.validation_path(path)) if path is not None else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _check(self, model: keras.Model, epochs: int) -> None:
        known = self.state or {}
        if known["epoch"] > epochs:
            raise ValueError(
                f"`resume` is of a run that has done {known['epoch']} epochs. Give at least as "
                f"many, or begin anew without `resume`. Received: epochs={epochs}"
            )
        mine, theirs = training_state.described(model), known["architecture"]
        differs = [f"{b!r} instead of {a!r}" for a, b in zip(theirs, mine, strict=False) if a != b]
        if differs or len(mine) != len(theirs):
            what = differs[0] if differs else f"{len(mine)} layers instead of {len(theirs)}"
            raise ValueError(
                "`resume` is of a run of another model. Build the model as for that run, or begin "
                f"anew without `resume`. Received: a model with {what}"
            )
        facts = {**self._facts, **_compiled_facts(model), "callbacks": self._classes()}
        for name, value in known["facts"].items():
            if facts.get(name) != value:
                raise ValueError(
                    f"`resume` is of a run with other {name}. Give what that run had, or begin "
                    f"anew without `resume`. Received: {name}: {_short(facts.get(name))} instead "
                    f"of {_short(value)}"
                )

    def _classes(self) -> list[str]:
        return [type(callback).__name__ for callback in self._callbacks]

    def _gather(self, model: keras.Model, epoch: int, step: int) -> dict[str, Any]:
        """The state after so many steps of an epoch; after a whole epoch, of the next one."""
        facts = {**self._facts, **_compiled_facts(model), "callbacks": self._classes()}
        rows = zip(self._callbacks, self._at_start, strict=True)
        stage = self._stage
        return {
            "architecture": training_state.described(model),
            "facts": facts,
            "epoch": epoch,
            "step": step,
            "stopped": bool(model.stop_training) and step == 0,
            "stage": None if stage is None else dict(vars(stage)),
            "model": training_state.of_model(model),
            "callbacks": [training_state.of_callback(callback, start) for callback, start in rows],
            # In mid-epoch the order is drawn again, from where the epoch began.
            "random": self._begun if step else training_state.of_random(self._mixers),
            "metrics": [np.array(keras.ops.convert_to_numpy(v)) for v in model.metrics_variables]
            if step
            else [],
        }

    def put_back(self) -> None:
        """What the callbacks and the generators of random numbers held."""
        if self.state is not None:
            for callback, held in zip(self._callbacks, self.state["callbacks"], strict=True):
                training_state.put_into_callback(callback, held)
            training_state.put_into_random(self.state["random"], self._mixers)

    def note_epoch(self) -> None:
        """An epoch begins: from here its order is drawn."""
        self._begun = training_state.of_random(self._mixers)

    def put_metrics_back(self, model: keras.Model) -> None:
        """What the metrics had seen of the epoch."""
        held = self.state["metrics"] if self.state is not None else []
        for variable, value in zip(model.metrics_variables, held, strict=True):
            variable.assign(value)

    def fit(self, model: keras.Model, options: dict[str, Any]) -> keras.callbacks.History:
        """`model.fit`, but that the first steps of the first epoch are drawn and passed over."""
        if not self.skip:
            return model.fit(**options)
        unseen = Unseen(
            options["callbacks"],
            self.skip,
            add_history=True,
            add_progbar=options["verbose"] != 0,
            verbose=options["verbose"],
            epochs=options["epochs"],
            steps=_steps(options),
            model=model,
        )
        with self._skipping(model):
            return model.fit(**options | {"callbacks": unseen})

    @contextlib.contextmanager
    def _skipping(self, model: keras.Model) -> Iterator[None]:

        def skipping(make_own: Any) -> Any:
            def make(force: bool = False) -> None:
                make_own(force)
                if self.skip:
                    own = model.train_function
                    model.train_function = lambda iterator: self._pass_over(model, iterator, own)

            return make

        model.train_function = None
        with patches.patch(model, "make_train_function", skipping):
            yield

    def _pass_over(self, model: keras.Model, iterator: Any, own: Any) -> Any:
        if not self.skip:
            model.train_function = own
            return own(iterator)
        for _ in range(min(int(model.steps_per_execution), self.skip)):
            x, y, _weights = keras.utils.unpack_x_y_sample_weight(next(iterator))
            self.skip -= 1
        keras_internals.build_metrics(model, y, model.compute_output_spec(x))
        self.put_metrics_back(model)
        return model.get_metrics_result()


def _steps(options: dict[str, Any]) -> int | None:
    """The number of steps in an epoch."""
    x = options["x"]
    if hasattr(x, "num_batches") or hasattr(x, "cardinality"):
        return pipelines.batch_count(x)
    return -(-len(keras.tree.flatten(x)[0]) // (options["batch_size"] or 32))


def _compiled_facts(model: keras.Model) -> dict[str, Any]:
    inner = rate_multipliers.innermost(model.optimizer)
    return {"optimizer": f"{type(model.optimizer).__name__} {type(inner).__name__}"}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
