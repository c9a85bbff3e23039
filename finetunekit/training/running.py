"""How a plan runs: the model made ready, Keras' loop or steps on features, all put back after."""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

from finetunekit.averaging import ema
from finetunekit.backbones import contract
from finetunekit.caching.options import CacheOptions
from finetunekit.callbacks import protocol
from finetunekit.data.pipelines import known_shape
from finetunekit.execution import fast_forward, feature_fit
from finetunekit.execution.first_step import VariablesFirst
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.foundation.messages import one_call, say, warn
from finetunekit.models import compiled
from finetunekit.models.temporary_injection import TemporaryInjection
from finetunekit.resuming.resume_point import check_can_be_kept
from finetunekit.resuming.run import Run
from finetunekit.training import checks, label_form

if TYPE_CHECKING:
    from finetunekit.training.plan import FitPlan


def run(plan: "FitPlan") -> keras.callbacks.History:
    """Trains the model of a plan, in place."""
    with one_call(plan.loop.verbose):
        return _run(plan)


def _run(plan: "FitPlan") -> keras.callbacks.History:
    model = plan.model
    checks.check_trains(model)  # It may have been frozen since it was planned.
    if compiled.renew_if_stale(model):
        say(f"{model.name!r} has changed since it was compiled: its functions are traced anew")
    _remember_size(plan)
    with _callbacks_undone(plan), _labels_followed(plan), _run_ended(plan) as kept:
        callbacks = list(plan.callbacks)
        for callback in callbacks:
            protocol.attach_validation(callback, plan.validation is not None)
        if ema.needed(model, callbacks):
            callbacks = [ema.Averages(), *callbacks]
        loop, cache = plan.loop, plan.cache
        if kept is not None:
            cache = _cache_of_run(plan, kept)
            check_can_be_kept(model, loop.steps_per_epoch)
            callbacks, first = kept.begin(
                model,
                plan.batches,
                callbacks,
                epochs=loop.epochs,
                first_epoch=loop.initial_epoch,
                facts=plan.fingerprint(),
            )
            loop = dataclasses.replace(loop, initial_epoch=first)
        with _faults_named(plan):
            history = _execute(plan, loop, callbacks, cache, kept)
        _check_stepped(plan, history)
        return history


def _check_stepped(plan: "FitPlan", history: keras.callbacks.History) -> None:
    """Raises if epochs have passed without a step, of data whose length was not known.

    Raises:
        ValueError: If so.
    """
    epochs = getattr(history, "epoch", [])  # None are there before training begins.
    if epochs and "loss" not in history.history and plan.batches.samples is None:
        raise ValueError(
            "`x` gave no batches, so nothing was trained. Check how it was made or filtered. "
            f"Received: x with 0 batches in {len(epochs)} epochs"
        )
    held_out = plan.validation
    each = plan.loop.validation_freq == 1
    if held_out is not None and epochs and each and "val_loss" not in history.history:
        warn("`validation_data` gave no batches: nothing was validated")


def _remember_size(plan: "FitPlan") -> None:
    """Notes the size of the images, before a callback saves the model."""
    shape = known_shape(plan.batches.spec[0])
    if shape is not None:
        contract.remember_size(plan.model, shape)


@contextlib.contextmanager
def _faults_named(plan: "FitPlan") -> Iterator[None]:
    """Raises what was wrong with a batch in the place of the error that TensorFlow makes of it."""
    try:
        yield
    except Exception:
        for data in (plan.batches, plan.validation):
            if data is not None and data.fault is not None:
                raise data.fault from None
        raise


@contextlib.contextmanager
def _callbacks_undone(plan: "FitPlan") -> Iterator[None]:
    """Undoes what callbacks have changed for a time, however the run ends."""
    try:
        yield
    finally:
        for callback in plan.callbacks:
            if isinstance(callback, TemporaryInjection):
                callback.restore()


@contextlib.contextmanager
def _labels_followed(plan: "FitPlan") -> Iterator[None]:
    """Has the model take the labels as they are; mixed ones for the time of the run only."""
    model, before = plan.model, plan.task
    followed = label_form.follow(model, before, plan.labels)
    try:
        yield
    finally:
        if followed and plan.batches.random_layers:
            label_form.follow_back(model, before)


@contextlib.contextmanager
def _run_ended(plan: "FitPlan") -> Iterator[Run | None]:
    """The run that is checkpointed or resumed, which learns whether it came to its end."""
    # A copy, so that a plan can run again.
    kept = copy.copy(plan.resume)
    try:
        yield kept
        if kept is not None:
            kept.end(whole=True)
    finally:
        if kept is not None:
            kept.end(whole=False)


def _cache_of_run(plan: "FitPlan", kept: Run) -> CacheOptions:
    """Where features of a run are kept that may be interrupted.

    Features of a pipeline are computed as batches come, so other batches after the interruption
    might round them otherwise.
    """
    cache = plan.cache
    if plan.batches.samples is None:
        reason = "a run with a checkpoint computes the frozen part of a pipeline in each epoch"
        if plan.find_cut()[0] is not None:
            say(f"{reason}; arrays spare that", cache.verbose)
        cache = cache.without_cache(reason)
    return cache.kept_beside(kept.features())


def _execute(
    plan: "FitPlan", loop: LoopOptions, callbacks: list[Any], cache: CacheOptions, kept: Run | None
) -> keras.callbacks.History:
    """Trains on features where a part is frozen, else as `model.fit` does."""
    model, batches, validation = plan.model, plan.batches, plan.validation
    call = FitCall(
        data=batches.for_keras(loop.initial_epoch),
        validation_data=None if validation is None else validation.for_validation(),
        loop=loop,
        callbacks=callbacks,
    )
    reader = feature_fit.reader_for(model, batches, cache)
    source = batches if reader is None else reader
    for callback in callbacks:
        protocol.attach_batches(callback, source.batch, first=0 if kept is None else kept.skip)
    if reader is not None:
        return feature_fit.fit(model, call, reader, validation, cache, kept)
    call = call.replace(callbacks=[*callbacks, VariablesFirst(batches)])
    if kept is None:
        return call.on(model)
    return fast_forward.fit(model, call, kept, batches.steps)
