"""What a model trains or validates on, in whatever form it was given."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class KerasData:
    """Data in the form that `model.fit` takes.

    Attributes:
        x: Inputs, or an object that brings labels and weights too.
        y: Labels, if `x` is inputs alone.
        sample_weight: Weights, if `x` is inputs alone.
        class_weight: Integer label -> weight, where Keras is to weight the classes.
        batch_size: Samples in a batch, if `x` is inputs alone.
        shuffle: Whether Keras is to change the order.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    batch_size: int | None = None
    shuffle: bool = False


class Batches(abc.ABC):
    """Data that were read and checked once, for every fit and stage that uses them.

    Attributes:
        kind: What the samples are called in messages, such as `"validation samples"`.
        steps: The number of batches in an epoch; None if it is not known.
        samples: The number of samples; None if it is not known.
        random_layers: Layers that change each batch at random.
    """

    kind: str = "samples"
    steps: int | None
    samples: int | None
    random_layers: Sequence[Any] = ()

    @property
    @abc.abstractmethod
    def spec(self) -> tuple[Any, Any]:
        """Inputs and labels as arrays or specs, without reading further; None for what is unknown.

        Their first axis is that of the samples.
        """

    @property
    def fault(self) -> ValueError | None:
        """What was wrong with a batch that was read, if anything; arrays are checked before."""
        return None

    @abc.abstractmethod
    def first_batch(self) -> Any:
        """The inputs of one batch, as numpy arrays.

        Raises:
            ValueError: If the data can be read only once.
        """

    @abc.abstractmethod
    def digest(self) -> str:
        """What tells these data from others, in words and a hash; computed once.

        Raises:
            ValueError: If the data can be read only once.
        """

    @abc.abstractmethod
    def fast_forward(self, epochs: int) -> None:
        """Puts data that draw their own order where they are after so many epochs."""

    @abc.abstractmethod
    def for_keras(self, first_epoch: int) -> KerasData:
        """What `model.fit` is given, for a fit that begins with this epoch."""

    def for_validation(self) -> Any:
        """What `model.fit` is given as `validation_data`."""
        return self.for_keras(0).x

    def batch(self, epoch: int, number: int) -> "tuple[np.ndarray, Any] | None":
        """Sample numbers and parts of a batch; None if they cannot be had a second time.

        Args:
            epoch: The number of the epoch, from 0.
            number: The number of the batch in it, from 0.
        """
        return None
