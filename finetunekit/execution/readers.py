"""Readers: where the batches of a fit on features come from, behind one protocol."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.extract import Extractor
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.tail import Steps

_MARK = "finetunekit"


class Phase(Protocol):
    """Training or validation in a running fit, as a reader sees it."""

    model: keras.Model
    wants_batches: bool

    @property
    def steps(self) -> Steps:
        """The steps on features, for the model as it is cut now."""

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs."""

    @property
    def stopping(self) -> bool:
        """Whether a callback has asked to stop."""

    @property
    def stale(self) -> bool:
        """Whether the model must be cut anew before the next step."""

    def keras_step(self, iterator: Any) -> Any:
        """Keras' own step."""

    def begin(self, step: int) -> None:
        """A step begins, for the callbacks."""

    def end(self, step: int, logs: Any) -> None:
        """A step has ended, for the callbacks."""

    def at_once(self, steps: int) -> int:
        """How many of so many steps run in one execution."""

    def note_pace(self, steps: int, seconds: float) -> None:
        """So many steps took so long."""

    def resumed_at(self, steps: int, prepare: Callable[[], None]) -> int:
        """How many steps of the epoch were done before the run was interrupted."""

    def go_on(self, iterator: Any, begun: Any) -> Any:
        """The rest of an epoch, by a reader that is made ready anew."""


class ReadyReader(ABC):
    """A reader that has all that it needs for one cut of the model.

    Attributes:
        told: What making it ready did, in words.
    """

    told: str = ""

    @abstractmethod
    def run(self, iterator: Any, phase: Phase, begun: Any = None) -> Any:
        """Runs what Keras takes for one step; the values of the metrics afterwards.

        Args:
            iterator: What Keras iterates over.
            phase: What runs.
            begun: Where a ready reader of an earlier cut has stopped within the epoch, if it has.
        """

    @abstractmethod
    def close(self) -> None:
        """Writes what is waiting and lets go of files."""


class Reader(ABC):
    """The data of a fit on features, before the model is cut.

    Attributes:
        like: The specs, or a batch, of the inputs.
        steps: The number of batches in an epoch.
        name: What the samples are, for messages.
        keras_sees_steps: Whether Keras draws each batch itself, and so tells callbacks of each.
    """

    like: Any
    steps: int
    name: str
    keras_sees_steps: bool

    @abstractmethod
    def ready(self, split: FrozenSplit, key: dict[str, str], extractor: Extractor) -> ReadyReader:
        """Makes it ready for a cut of the model.

        Raises:
            NotConstant: If a batch shows that features cannot be computed once.
            StoreMismatch: If a file holds features of something else.
            OSError: If features cannot be written.
        """

    @abstractmethod
    def reads(self, iterator: Any, *, own: bool) -> bool:
        """Whether what Keras iterates over stands for these data.

        Args:
            iterator: What the model's function was called with.
            own: Whether it is the fit's own, not that of an `evaluate` in a callback.
        """

    def varies(self, split: FrozenSplit) -> bool:
        """Whether the samples of each batch have a size of their own, such as a length."""
        return False

    def training_call(self, call: FitCall) -> FitCall:
        """The call of `model.fit` that trains on these data."""
        return call

    def validation_call(self, call: FitCall) -> FitCall:
        """The call of `model.fit` that validates on these data."""
        return call

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, Any] | None:
        """Sample numbers and parts of a batch; None if they cannot be had a second time."""
        return None


def marker() -> Any:
    """What Keras iterates over in the place of samples: one element an epoch."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors({_MARK: 0})


def is_marker(iterator: Any) -> bool:
    """Whether Keras iterates over a `marker`."""
    spec = getattr(iterator, "element_spec", None)
    return isinstance(spec, dict) and _MARK in spec
