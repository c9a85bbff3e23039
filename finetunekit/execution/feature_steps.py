"""`model.fit` on features: the model's step functions are exchanged for the time of a fit."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from finetunekit.caching import cut, identity
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import CacheOptions
from finetunekit.execution import kept_tail
from finetunekit.execution.phases import FitPhase, Training, Validation
from finetunekit.execution.readers import Reader
from finetunekit.execution.step_callbacks import StepCallbacks, may_change_weights
from finetunekit.execution.tail import Tail
from finetunekit.foundation.messages import plural, say, warn
from finetunekit.resuming.run import Run


@dataclass(frozen=True)
class Cut:
    """The model as it is cut now."""

    split: FrozenSplit
    tail: Tail
    weights: str  # The digest of the frozen weights.


class FeatureFit:
    """Trains a model on features while `model.fit` runs, in place.

    Keras calls the model's train and test functions; here they take features in the place of
    inputs. Whatever else calls them, such as `evaluate` in a callback, gets Keras' own.

    Args:
        model: The compiled model.
        train: Its samples, by position or as a stream of batches.
        validation: The same, or None to leave validation to Keras.
        cache: Where the features are kept, and who computes them.
        callbacks: All callbacks of the fit.
        first_epoch: The number of the first epoch.
        run: A run that goes on where it was interrupted.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Reader,
        validation: Reader | None,
        cache: CacheOptions,
        callbacks: StepCallbacks,
        first_epoch: int = 0,
        run: Run | None = None,
    ) -> None:
        self.model, self.cache, self.callbacks = model, cache, callbacks
        self._readers = [reader for reader in (train, validation) if reader is not None]
        self._phases: list[FitPhase] = [
            Training(self, model, train, callbacks, run=run),
            Validation(self, model, validation, callbacks),
        ]
        self._first_epoch = first_epoch
        self._cut: Cut | None = None
        self._renewed = False
        self._watched = may_change_weights(callbacks.callbacks)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Exchanges the functions for the time of a fit."""
        # Each of them is undone though another one may fail, such as for want of disk.
        with contextlib.ExitStack() as ends:
            ends.callback(self._forget)
            for phase in self._phases:
                phase.take_over()
                ends.callback(phase.give_back)
                ends.callback(phase.close)
            yield

    def _forget(self) -> None:
        """Lets go of the data, and of traces of the tail that hold no longer."""
        self._phases.clear()  # They know this fit, and would go with the garbage collector only.
        if self._renewed:
            kept_tail.drop(self.model)

    @property
    def epoch(self) -> int:
        """The number of the epoch that runs."""
        return self._first_epoch + self.callbacks.epochs_begun - 1

    @property
    def tail(self) -> Tail:
        """The part that trains."""
        if self._cut is None:
            raise RuntimeError("The model is not cut yet: `refresh` comes first.")
        return self._cut.tail

    @property
    def stale(self) -> bool:
        """Whether the model is not cut yet, or anything has changed since it was."""
        made = self._cut
        if made is None or self._renewed:
            return True
        if not self._watched or not made.split.features:
            return False
        return identity.weights_digest(made.split) != made.weights

    def renew(self) -> None:
        """The model's functions are to be made anew."""
        self._renewed = True

    def refresh(self) -> None:
        """Cuts the model, and gets the features, if anything has changed since."""
        if not self.stale:
            return
        if self._cut is not None and not self._renewed:
            warn("a callback has changed frozen weights: their features are computed anew")
        if self._renewed:
            kept_tail.drop(self.model)
        self._renewed = False
        split = cut.split_frozen(
            self.model,
            frozen_dropout=self.cache.frozen_dropout,
            like=self._readers[0].like,
        )
        try:
            self._cut = self._get_ready(split)
        except (NotConstant, OSError) as error:
            if isinstance(error, OSError) and self.cache.path is not None:
                raise  # The user's own file; a temporary one can be done without.
            warn(f"nothing is computed once: {error}")
            self._cut = self._get_ready(cut.uncut(split, str(error)))

    def _get_ready(self, split: FrozenSplit) -> Cut:
        start = time.perf_counter()
        if not split.layers:
            split = cut.uncut(split, "nothing before it has weights")
        key = identity.prefix_key(split) if split.features else {}
        varying = any(reader.varies(split) for reader in self._readers)
        extractor = Extractor(
            split, self.cache.engine, varying=varying, key=key, folder=self.cache.engines_in
        )
        told = [phase.make_ready(split, key, extractor) for phase in self._phases]
        if split.features:
            self._tell(split, [words for words in told if words], time.perf_counter() - start)
        tail = kept_tail.tail_of(
            self.model, split, self._phases[0].plain, exact=self.cache.engine == "keras"
        )
        return Cut(split, tail, key.get("prefix weights", ""))

    def _tell(self, split: FrozenSplit, told: list[str], seconds: float) -> None:
        off = f"; {plural(len(split.switched_off), 'frozen layer')} without dropout"
        say(
            f"computed once: {plural(len(split.layers), 'layer')} with weights up to "
            f"{split.prefix_calls[-1].path!r}{off if split.switched_off else ''}. "
            f"{'. '.join(told)}{'. ' if told else ''}{seconds:.1f} s",
            self.cache.verbose,
        )
