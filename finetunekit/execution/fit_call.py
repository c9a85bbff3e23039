"""One call of `model.fit`, its arguments typed."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.data.batches import KerasData
from finetunekit.execution.loop_options import LoopOptions


@dataclass(frozen=True, kw_only=True)
class FitCall:
    """What `model.fit` is called with.

    Attributes:
        data: What it trains on.
        validation_data: What it is validated on, as Keras takes it.
        loop: The plain arguments.
        callbacks: All callbacks, in their order.
    """

    data: KerasData
    validation_data: Any = None
    loop: LoopOptions
    callbacks: Any = ()

    def replace(self, **changes: Any) -> "FitCall":
        """The same call with other attributes."""
        return dataclasses.replace(self, **changes)

    def arguments(self) -> dict[str, Any]:
        """The arguments of `model.fit`."""
        return {
            **vars(self.loop),
            **vars(self.data),
            "validation_batch_size": self.loop.evaluation_size,
            "validation_data": self.validation_data,
            "callbacks": self.callbacks,
        }

    def on(self, model: keras.Model) -> keras.callbacks.History:
        """Calls `fit` of a model."""
        return model.fit(**self.arguments())
