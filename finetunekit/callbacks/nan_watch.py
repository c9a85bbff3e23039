"""`NaNWatch`: the first bad batch and layer are named, and non-finite updates are skipped."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from finetunekit.callbacks import nan_diagnosis
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed, plural, warn
from finetunekit.foundation.patches import Patch, patch
from finetunekit.models import graph, rate_multipliers
from finetunekit.models.temporary_injection import TemporaryInjection

ops = keras.ops

_CURES = (
    "Usual cures: a smaller learning rate than {rate:.2g} (`find_learning_rate` suggests one), a "
    "warm-up (`callbacks.Schedule`), `clipnorm=1.0` in the optimizer"
)


class NaNWatch(TemporaryInjection):
    """Ends training at the first gradient that is not finite, says where it came from, undoes it.

    The update is not applied, and the statistics of BatchNormalization are put back as they were
    when the epoch began: the model keeps the weights of the step before. In `finetunekit.fit` on
    arrays the layer and the samples are named, by running the batch through the model once more.

    Attributes:
        epoch: The number of the epoch, from 0; None if all went well.
        batch: The number of the batch in it, from 0.
        layer: The path of the first layer whose output is not finite, if it was a layer.
        samples: The numbers of the samples to which that happened, in the arrays given to `fit`.
        text: All of it in words.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model, learning_rate=1e-3)
        watch = ftk.callbacks.NaNWatch()
        ftk.fit(model, x_train, y_train, callbacks=[watch], verbose=0)
        assert watch.epoch is None
        ```
    """

    changes_frozen_weights = False
    needs_batches = False  # One look at many batches finds the first bad one.

    def __init__(self) -> None:
        super().__init__()
        self.epoch: int | None = None
        self.batch: int | None = None
        self.layer: str | None = None
        self.samples: list[int] = []
        self.text = ""
        # One attribute, of what a checkpoint leaves alone: how to get batches, and the first one.
        self._source: tuple[Callable[[int, int], Any], int] = (_unknown, 0)
        self._now = self._before = 0

    def attach_batches(self, batch_of: Callable[[int, int], Any], *, first: int) -> None:
        """Says how to get a batch again, as `protocol.attach_batches` explains; `fit` does."""
        self._source = (batch_of, first)

    def _change(self, model: keras.Model) -> list[Patch]:
        self.epoch = self.batch = self.layer = None
        self.samples, self.text = [], ""
        optimizer = rate_multipliers.innermost(model.optimizer)
        if not model.optimizer.built:
            with keras.name_scope(model.optimizer.name, caller=model.optimizer):  # As Keras does.
                model.optimizer.build(model.trainable_variables)
        self._names = _paths(model)
        self._seen = keras.Variable(0, dtype="int64", trainable=False, name="steps_seen")
        self._bad = keras.Variable(
            np.zeros(len(self._names), "bool"), dtype="bool", trainable=False, name="bad_gradients"
        )
        return [patch(optimizer, "apply", self._guarded)]

    def _guarded(self, own: Callable[..., Any]) -> Callable[..., Any]:
        def apply(grads: Any, trainable_variables: Any = None) -> None:
            flags = ops.stack([_is_bad(gradient) for gradient in grads])
            good = ops.logical_not(ops.any(self._bad))
            self._bad.assign(ops.where(good, flags, self._bad.value))
            good = ops.logical_not(ops.any(self._bad))
            self._seen.assign_add(ops.cast(good, "int64"))
            ops.cond(good, lambda: own(grads, trainable_variables), lambda: None)

        return apply

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes what a bad batch would spoil beside the weights."""
        batch_of, first = self._source
        self._now, self._before = epoch, int(self._seen.value) - first
        self._source = (batch_of, 0)
        layers = [place.layer for place in graph.walk(self.model)]
        moving = [v for layer in layers for v in keras_internals.own_non_trainable_variables(layer)]
        self._held = [(v, np.array(ops.convert_to_numpy(v))) for v in moving]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks whether a gradient, or the loss alone, has not been finite."""
        if self.epoch is not None:
            return
        if bool(np.any(ops.convert_to_numpy(self._bad.value))):
            self._report(int(self._seen.value) - self._before)
        elif not np.isfinite(float((logs or {}).get("loss", 0.0))):
            self._report(batch)

    def _report(self, batch: int) -> None:
        self.model.stop_training = True
        self.epoch, self.batch = self._now, batch
        for variable, value in self._held:
            variable.assign(value)
        found = self._source[0](self.epoch, self.batch)
        rows, parts = found if found is not None else (None, None)
        cause = nan_diagnosis.Cause() if parts is None else nan_diagnosis.find(self.model, parts)
        self.layer = cause.layer
        if rows is not None:
            self.samples = [int(rows[row]) for row in cause.rows]
        flags = ops.convert_to_numpy(self._bad.value)
        bad = [name for name, flag in zip(self._names, flags, strict=True) if flag]
        where = cause.text or (f"the gradients of {listed(bad[-3:])}" if bad else "the loss")
        which = f" (samples {listed(self.samples[:5])})" if self.samples else ""
        rate = float(self.model.optimizer.learning_rate)
        cures = _CURES.format(rate=rate) + (f"; {cause.cure}" if cause.cure else "")
        self.text = (
            f"NaN or infinity in epoch {self.epoch + 1}, batch {self.batch + 1}: first in {where}"
            f"{which}. Training has ended; {_what_was_done(len(bad), len(self._names))}. {cures}"
        )
        warn(self.text)


def _unknown(epoch: int, batch: int) -> None:
    """A batch that nobody can give once more."""


def _what_was_done(bad: int, every: int) -> str:
    if not bad:
        return "the gradients are finite, so the model has learnt from it nonetheless"
    return (
        f"{plural(bad, 'gradient')} of {every} {'was' if bad == 1 else 'were'} not finite, so the "
        "update is not applied, and the model has the weights of the step before"
    )


def _paths(model: keras.Model) -> list[str]:
    """The paths of what trains, in the order of the gradients."""
    known = {
        id(variable): f"{place.path}/{variable.name}"
        for place in graph.leaves(model)
        for variable in keras_internals.own_weights(place.layer)
    }
    return [known.get(id(variable), variable.path) for variable in model.trainable_variables]


def _is_bad(gradient: Any) -> Any:
    """Whether a gradient, dense or of some rows, holds anything but finite numbers."""
    if gradient is None:
        return ops.convert_to_tensor(False)
    values = getattr(gradient, "values", gradient)
    return ops.logical_not(ops.all(ops.isfinite(values)))
