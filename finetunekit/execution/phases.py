"""The phases of a fit on features: training and validation, and what each of them tells whom."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import keras

from finetunekit.execution.readers import Reader, ReadyReader
from finetunekit.execution.step_callbacks import StepCallbacks, want_batches
from finetunekit.execution.tail import Steps, Tail
from finetunekit.foundation import keras_internals, patches
from finetunekit.resuming.run import Run

if TYPE_CHECKING:
    from finetunekit.caching.cut import FrozenSplit
    from finetunekit.caching.extract import Extractor

_CHUNK = 0.5  # Seconds that steps run without Python in between: Ctrl-C and progress wait so long.
_FIRST = 4  # Steps of the first execution, which tells the pace.


class Fit(Protocol):
    """The fit that a phase belongs to."""

    tail: Tail
    epoch: int
    stale: bool

    def refresh(self) -> None:
        """Cuts the model anew, if anything has changed since."""

    def renew(self) -> None:
        """The model's functions are to be made anew."""


class FitPhase(ABC):
    """Training or validation of a fit on features.

    Args:
        fit: The fit that it belongs to.
        model: The compiled model.
        reader: The data; None to leave the phase to Keras.
        callbacks: All callbacks of the fit.
    """

    function: str  # The attribute of the model that Keras calls.
    wants_batches: bool

    def __init__(
        self, fit: Fit, model: keras.Model, reader: Reader | None, callbacks: StepCallbacks
    ) -> None:
        self.fit, self.model, self.reader, self.callbacks = fit, model, reader, callbacks
        self._ready: ReadyReader | None = None
        self.plain: Any = None
        self._ours: Any = None
        self._patch: patches.Patch | None = None
        self._seconds = 0.0  # For a step, at best.

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs."""
        return self.fit.epoch

    @property
    def stale(self) -> bool:
        """Whether the model must be cut anew before the next step."""
        return self.fit.stale

    @property
    @abstractmethod
    def steps(self) -> Steps:
        """The steps on features, for the model as it is cut now."""

    @property
    @abstractmethod
    def stopping(self) -> bool:
        """Whether a callback has asked to stop."""

    @abstractmethod
    def begin(self, step: int) -> None:
        """A step begins, for the callbacks."""

    @abstractmethod
    def end(self, step: int, logs: Any) -> None:
        """A step has ended, for the callbacks."""

    @abstractmethod
    def is_own(self, iterator: Any) -> bool:
        """Whether the fit itself iterates, not an `evaluate` in a callback."""

    def resumed_at(self, steps: int, prepare: Callable[[], None]) -> int:
        """How many steps of the epoch were done before the run was interrupted."""
        return 0

    def make_ready(self, split: "FrozenSplit", key: dict[str, str], extractor: "Extractor") -> str:
        """Makes the reader ready for a cut; what it did for that, in words."""
        self._ready = None  # Its memory is free before more is needed.
        if self.reader is None:
            return ""
        self._ready = self.reader.ready(split, key, extractor)
        return self._ready.told

    def close(self) -> None:
        """Lets the reader write what is waiting and let go of files and data."""
        if self._ready is not None:
            self._ready.close()
        self._ready = None

    def take_over(self) -> None:
        """Puts steps on features in the place of the model's function."""
        self.plain = getattr(self.model, self.function)
        self._ours = self._run
        setattr(self.model, self.function, self._ours)
        # A callback that changes the model has the functions made anew: ours stay in their place.
        self._patch = patches.exchange(self.model, f"make_{self.function}", self._renew)

    def give_back(self) -> None:
        """Puts the model's own function back."""
        if self._patch is not None:
            self._patch.undo()
        if getattr(self.model, self.function) is self._ours:
            setattr(self.model, self.function, self.plain)
        # Methods of its own would keep it, and the data, until the garbage collector comes.
        self._patch = self._ours = None

    def go_on(self, iterator: Any, begun: Any) -> Any:
        """The rest of an epoch, by the reader made ready for the model as it is now."""
        self.fit.refresh()
        if self._ready is None:
            raise RuntimeError(f"Nothing is read for `{self.function}`.")
        return self._ready.run(iterator, self, begun)

    def keras_step(self, iterator: Any) -> Any:
        """Keras' own step, for the model as it is."""
        if self.plain is None:
            setattr(self.model, self.function, None)
            patches.original(self.model, f"make_{self.function}")()
            self.plain = getattr(self.model, self.function)
            setattr(self.model, self.function, self._ours)
        return self.plain(iterator)

    def at_once(self, steps: int) -> int:
        """How many of so many steps run without Python in between."""
        if self.wants_batches:
            return int(self.model.steps_per_execution)
        return max(1, int(_CHUNK / self._seconds)) if self._seconds else min(steps, _FIRST)

    def note_pace(self, steps: int, seconds: float) -> None:
        """So many steps took so long."""
        known = self._seconds
        self._seconds = min(known, seconds / steps) if known else seconds / steps

    def _run(self, iterator: Any) -> Any:
        reader = self.reader
        if reader is None or not reader.reads(iterator, own=self.is_own(iterator)):
            return self.keras_step(iterator)
        return self.go_on(iterator, None)

    def _renew(self, force: bool = False) -> None:
        if force:
            self.plain = None
            self.fit.renew()


class Training(FitPhase):
    """The training steps of a fit; they may begin where a run was interrupted."""

    function = "train_function"

    def __init__(self, *args: Any, run: Run | None = None) -> None:
        super().__init__(*args)
        self._resumed = run
        self.wants_batches = want_batches(self.callbacks.callbacks, training=True)

    @property
    def steps(self) -> Steps:
        return self.fit.tail.train

    @property
    def stopping(self) -> bool:
        return bool(self.model.stop_training)

    def begin(self, step: int) -> None:
        self.callbacks.begin_train_step(step)

    def end(self, step: int, logs: Any) -> None:
        self.callbacks.end_train_step(step, logs)

    def is_own(self, iterator: Any) -> bool:
        return getattr(iterator, "element_spec", None) is not None

    def resumed_at(self, steps: int, prepare: Callable[[], None]) -> int:
        """How many steps of the epoch were done before the run was interrupted."""
        run = self._resumed
        if run is None or not run.skip:
            return 0
        prepare()
        run.put_metrics_back(self.model)
        done = min(run.skip, steps)
        run.skip -= done
        return done


class Validation(FitPhase):
    """The steps of the validation in a fit."""

    function = "test_function"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.wants_batches = want_batches(self.callbacks.callbacks, training=False)

    @property
    def steps(self) -> Steps:
        return self.fit.tail.test

    @property
    def stopping(self) -> bool:
        return bool(self.model.stop_evaluating)

    def begin(self, step: int) -> None:
        self.callbacks.begin_test_step(step)

    def end(self, step: int, logs: Any) -> None:
        self.callbacks.end_test_step(step, logs)

    def is_own(self, iterator: Any) -> bool:
        known = getattr(iterator, "element_spec", None) is not None
        return known and keras_internals.is_validating_on(self.model, iterator)
