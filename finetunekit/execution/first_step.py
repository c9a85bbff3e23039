"""What Keras' loop needs before its first step, so that the step is traced only once."""

import contextlib
from typing import Any

import keras

from finetunekit.data.batches import Batches
from finetunekit.execution.feature_fit import excluded
from finetunekit.execution.tail import build_optimizer
from finetunekit.foundation import keras_internals
from finetunekit.models import graph


class VariablesFirst(keras.callbacks.Callback):
    """Makes the variables of metrics and optimizer just before the first step.

    A step that makes variables is traced twice, and tracing a large model takes seconds. It has to
    be the last callback: the ones before it may still freeze layers.

    Args:
        batches: What the model trains on.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches: Batches | None = batches

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Does so, once."""
        if self._batches is not None:
            batches, self._batches = self._batches, None
            make_variables(self.model, batches)


def make_variables(model: keras.Model, batches: Batches) -> None:
    """Makes the variables of metrics and optimizer, in place, if the model's steps are Keras' own.

    Args:
        model: The compiled model.
        batches: What it trains on.
    """
    if excluded(model) or not all(layer.built for layer in graph.with_descendants([model])):
        return
    x, y = batches.spec
    if x is not None and y is not None:
        # Labels that do not fit are for the step to report: what it says names the loss.
        with contextlib.suppress(Exception):
            x, y = keras.tree.map_structure(_symbolic, (x, y))
            keras_internals.build_metrics(model, y, model.compute_output_spec(x))
    build_optimizer(model)


def _symbolic(part: Any) -> Any:
    if part is None:
        return None
    return keras.KerasTensor((None, *part.shape[1:]), keras.backend.standardize_dtype(part.dtype))
