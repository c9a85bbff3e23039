"""How does `model.fit` come to train on features? Its step functions are exchanged for a while."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from finetunekit.caching import cut, identity
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import Settings
from finetunekit.execution.samples import Samples
from finetunekit.execution.step_callbacks import StepCallbacks, may_change_weights, want_batches
from finetunekit.execution.streams import Stream
from finetunekit.execution.tail import Parts, Tail
from finetunekit.foundation import keras_internals, patches
from finetunekit.foundation.messages import plural, say, warn
from finetunekit.resuming.run import Run

_CHUNK = 0.5  # Seconds that steps run without Python in between: Ctrl-C and progress wait so long.
_MARK = "finetunekit"


def marker() -> Any:
    """What Keras iterates over in the place of samples: one element an epoch."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensors({_MARK: 0})


class Redirected:
    """Trains a model on features while `model.fit` runs, in place.

    Keras calls the model's train and test functions; here they take features in the place of
    inputs. Whatever else calls them, such as `evaluate` in a callback, gets Keras' own.

    Args:
        model: The compiled model.
        train: Its samples, by position or as a stream of batches.
        validation: The same, or None to leave validation to Keras.
        settings: Where the features are kept, and who computes them.
        callbacks: All callbacks of the fit.
        run: A run that goes on where it was interrupted.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Samples | Stream,
        validation: Samples | Stream | None,
        settings: Settings,
        callbacks: StepCallbacks,
        run: Run | None = None,
    ) -> None:
        self.model, self.settings, self.callbacks = model, settings, callbacks
        self._sides = {True: train, False: validation}
        self._resumed = run
        self._first_epoch = 0
        self._plain: dict[bool, Any] = {}
        self._split: FrozenSplit | None = None
        self.tail: Tail  # Set by the first step.
        self._stale = True
        self._told = False
        self._weights = ""
        self._pace = {True: 0.0, False: 0.0}
        given = callbacks.callbacks
        self._watched = may_change_weights(given)
        self._each = {t: want_batches(given, training=t) for t in (True, False)}

    @contextlib.contextmanager
    def running(self, first_epoch: int) -> Iterator[None]:
        """Exchanges the functions for the time of a fit."""
        model = self.model
        self._first_epoch = first_epoch
        self._plain = {True: model.train_function, False: model.test_function}
        model.train_function = lambda iterator: self._run(iterator, training=True)
        model.test_function = lambda iterator: self._run(iterator, training=False)
        held = model.train_function, model.test_function
        # A callback that changes the model has the functions made anew: ours stay in their place.
        renewed = [
            patches.exchange(
                model,
                f"make_{name}_function",
                lambda force=False, t=training: self._renew(t, force),
            )
            for name, training in (("train", True), ("test", False))
        ]
        try:
            yield
        finally:
            for side in self._sides.values():
                if side is not None:
                    side.close()
            for each in renewed:
                each.undo()
            if model.train_function is held[0]:
                model.train_function = self._plain[True]
            if model.test_function is held[1]:
                model.test_function = self._plain[False]

    def _renew(self, training: bool, force: bool) -> None:
        if force:
            self._plain[training] = None
            self._stale = True

    def _keras(self, training: bool) -> Any:
        """Keras' own function for the model as it is."""
        if self._plain[training] is None:
            name = "train_function" if training else "test_function"
            ours = getattr(self.model, name)
            setattr(self.model, name, None)
            patches.original(self.model, f"make_{name}")()
            self._plain[training] = getattr(self.model, name)
            setattr(self.model, name, ours)
        return self._plain[training]

    def _run(self, iterator: Any, *, training: bool) -> Any:
        side = self._sides[training]
        spec = getattr(iterator, "element_spec", None)
        if isinstance(spec, dict) and _MARK in spec and isinstance(side, Samples):
            self._refresh(training)
            return self._epoch(side, training)
        own = training or keras_internals.is_validating_on(self.model, iterator)
        if isinstance(side, Stream) and own and spec is not None and not side.stopped:
            self._refresh(training)
            if self._split is not None and self._split.features:
                return side.run(iterator, self, training)
        return self._keras(training)(iterator)

    def keras_step(self, batch: Any, training: bool) -> Any:
        """Keras' own step on a batch that was drawn already."""
        return self._keras(training)(iter([batch]))

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs."""
        return self._first_epoch + self.callbacks.epochs_begun - 1

    def _refresh(self, training: bool) -> None:
        """Cuts the model, and gets the features, if anything has changed since."""
        if not self._stale and training and self._watched and self._split is not None:
            if self._split.features and identity.weights_digest(self._split) != self._weights:
                warn("a callback has changed frozen weights: their features are computed anew")
                self._stale = True
        if self._stale:
            self._stale = False
            like = next(iter(s for s in self._sides.values() if s is not None)).like
            split = cut.split_frozen(
                self.model, frozen_dropout=self.settings.frozen_dropout, like=like
            )
            try:
                self._load(split)
            except (NotConstant, OSError) as error:
                if isinstance(error, OSError) and self.settings.path is not None:
                    raise  # The user's own file; a temporary one can be done without.
                warn(f"nothing is computed once: {error}")
                self._load(cut.uncut(split, str(error)))

    def _load(self, split: FrozenSplit) -> None:
        start = time.perf_counter()
        if not split.layers:
            split = cut.uncut(split, "nothing before it has weights")
        key = identity.prefix_key(split) if split.features else {}
        self._weights = key.get("prefix weights", "")
        varying = any(isinstance(s, Samples) and s.varies(split) for s in self._sides.values())
        extractor = Extractor(split, self.settings.engine, varying=varying, key=key)
        for side in self._sides.values():
            if side is not None:
                side.load(split, key, extractor)
        self._split, self.tail = (
            split,
            Tail(self.model, split, exact=self.settings.engine == "keras"),
        )
        if split.features:
            self._tell(split, time.perf_counter() - start)

    def _tell(self, split: FrozenSplit, seconds: float) -> None:
        parts = [side.told for side in self._sides.values() if side is not None and side.told]
        off = f"; {plural(len(split.switched_off), 'frozen layer')} without dropout"
        say(
            f"computed once: {plural(len(split.layers), 'layer')} with weights up to "
            f"{split.prefix_calls[-1].path!r}{off if split.switched_off else ''}. "
            f"{'. '.join(parts)}{'. ' if parts else ''}{seconds:.1f} s",
            self.settings.verbose,
        )

    def _epoch(self, side: Samples, training: bool) -> Any:
        """All steps of an epoch, or of a validation."""
        import tensorflow as tf

        model, logs, done = self.model, {}, 0
        size = tf.constant(side.size)
        for parts, order, steps in side.windows(self.epoch):
            rows, step = tf.constant(order), self._steps_done(parts, steps, training)
            done += step
            if step == steps:  # The run was interrupted between the last step and what follows.
                logs = model.get_metrics_result()
            while step < steps:
                last = min(steps, step + self._chunk(training, steps))
                if self._each[training]:
                    self.callbacks.begin(done, training=training)
                start = time.perf_counter()
                logs = self.tail.steps(
                    parts, rows, size, tf.constant(step), tf.constant(last), training=training
                )
                done += last - step
                self._note_pace(training, last - step, start, logs)
                step = last
                if self._each[training] or step < steps:
                    self.callbacks.end(self._last_of(done, training), logs, training=training)
                if model.stop_training if training else model.stop_evaluating:
                    return logs
        return logs

    def _steps_done(self, parts: Parts, steps: int, training: bool) -> int:
        """How many of the next steps were done before the run was interrupted."""
        run = self._resumed
        if run is None or not training or not run.skip:
            return 0
        self.tail.prepare(parts)
        run.put_metrics_back(self.model)
        passed = min(run.skip, steps)
        run.skip -= passed
        return passed

    def _last_of(self, done: int, training: bool) -> int:
        """The number of the last step: Keras counts full executions, also at the end."""
        each = int(self.model.steps_per_execution) if self._each[training] else 1
        return -(-done // each) * each - 1

    def _chunk(self, training: bool, steps: int) -> int:
        """How many steps run without Python in between."""
        if self._each[training]:
            return int(self.model.steps_per_execution)
        pace = self._pace[training]
        return max(1, min(steps, int(_CHUNK / pace))) if pace else min(steps, 4)

    def _note_pace(self, training: bool, steps: int, start: float, logs: Any) -> None:
        for value in keras.tree.flatten(logs)[:1]:
            np.asarray(value)  # Waits for the device.
        pace = (time.perf_counter() - start) / steps
        known = self._pace[training]
        self._pace[training] = min(known, pace) if known else pace
