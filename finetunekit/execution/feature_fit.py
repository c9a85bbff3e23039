"""`model.fit` on features: whether it saves work, and the fit itself."""

from typing import Any

import keras

from finetunekit.caching import cut
from finetunekit.caching.cut import flat_inputs
from finetunekit.caching.options import CacheOptions
from finetunekit.data.array_batches import ArrayBatches
from finetunekit.data.batches import Batches
from finetunekit.data.pipeline_batches import GeneratedBatches
from finetunekit.execution.feature_steps import FeatureFit
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.readers import Reader
from finetunekit.execution.samples import Samples
from finetunekit.execution.step_callbacks import StepCallbacks
from finetunekit.execution.streams import Stream
from finetunekit.foundation import keras_internals, patches
from finetunekit.foundation.messages import say
from finetunekit.models import graph
from finetunekit.resuming.run import Run

# What a step on features does not call, so that it must be Keras' own.
_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "make_train_function",
    "make_test_function",
)


def find_cut(
    model: keras.Model, cache: CacheOptions, like: Any
) -> tuple[cut.FrozenSplit | None, str]:
    """Where a model is cut, so that the part before is computed once; or None, and why not.

    Args:
        model: The model.
        cache: What was asked for.
        like: Inputs as arrays or specs.
    """
    if cache.cache is False:
        return None, "`cache` is False"
    reason = excluded(model)
    if not _has_frozen_variables(model):
        reason = "nothing in it is frozen"
    if reason:
        return None, reason
    split = cut.split_frozen(model, frozen_dropout=cache.frozen_dropout, like=like)
    return (split if split.pays else None), cut.describe(split)


def _has_frozen_variables(model: keras.Model) -> bool:
    trained = {id(variable) for variable in model.trainable_variables}
    made = [
        variable
        for place in graph.leaves(model)
        for variable in keras_internals.own_trainable_variables(place.layer)
    ]
    return any(id(variable) not in trained for variable in made)


def reader_for(model: keras.Model, batches: Batches, cache: CacheOptions) -> Reader | None:
    """The reader that features of these data come from; None if all is computed in each epoch.

    Says why, if a cache was asked for or a part is frozen.
    """
    if cache.cache is False:
        return None
    split, reason = find_cut(model, cache, batches.spec[0])
    if split is None:
        # With nothing frozen there is nothing to be said, unless a cache was asked for.
        if cache.insists or _has_frozen_variables(model):
            say(f"{model.name!r} is computed as a whole in each epoch: {reason}", cache.verbose)
        return None
    if cache.engine == "keras" and model.jit_compile is True:
        say(
            "under `jit_compile=True` training on features agrees with `model.fit` to rounding, "
            "not bit for bit: XLA compiles another step",
            cache.verbose,
        )
    found = _reader(model, batches, cache)
    if found is None and isinstance(batches, GeneratedBatches):
        say(
            f"`x`, a {type(batches.source).__name__}, can be read only once, or does not hold "
            "plain arrays, so the frozen part is computed in each epoch; arrays, and tf.data "
            "pipelines and PyDatasets of arrays, spare that",
            cache.verbose,
        )
    return found


def _reader(model: keras.Model, batches: Batches, cache: CacheOptions) -> Reader | None:
    if isinstance(batches, ArrayBatches) and batches.keras_steps is None:
        if flat_inputs(model, batches.arrays.x) is None:
            return None
        return Samples(batches, model, cache)
    like = batches.spec[0]
    if like is None or not batches.steps or not all(map(_is_dense, keras.tree.flatten(like))):
        return None
    return Stream(like, batches.steps, cache, batches.kind)


def excluded(model: keras.Model) -> str:
    """Why the model's steps cannot be taken over, if they cannot."""
    own = [n for n in _STEPS if getattr(type(model), n) is not getattr(keras.Model, n)]
    own += [n for n in _STEPS if patches.is_users_own(model, n)]
    if own:
        return f"{model.name!r}, a {type(model).__name__}, has a `{own[0]}` of its own"
    if model.run_eagerly or keras_internals.functions_run_eagerly():
        return "it runs eagerly"
    if keras.backend.backend() != "tensorflow":
        return "features are kept on the TensorFlow backend only"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "it is distributed over several devices"
    return ""


def fit(
    model: keras.Model,
    call: FitCall,
    train: Reader,
    validation: Batches | None,
    cache: CacheOptions,
    run: Run | None = None,
) -> keras.callbacks.History:
    """`model.fit` on features.

    Args:
        model: A compiled model of which a part is frozen.
        call: What `model.fit` would be called with.
        train: The samples.
        validation: What it is validated on, or None.
        cache: Where the features are kept, and who computes them.
        run: A run that is checkpointed or resumed.
    """
    held_out = None
    if validation is not None and not _left_to_keras(validation):
        held_out = _reader(model, validation, cache.for_validation())
    call = train.training_call(call)
    if held_out is not None:
        call = held_out.validation_call(call)
    loop = call.loop
    by_step = StepCallbacks(
        call.callbacks,
        train_steps=train.keras_sees_steps,
        test_steps=held_out is None or held_out.keras_sees_steps,
        add_history=True,
        add_progbar=loop.verbose != 0,
        verbose=loop.verbose,
        epochs=loop.epochs,
        steps=train.steps,
        model=model,
    )
    fitting = FeatureFit(model, train, held_out, cache, by_step, loop.initial_epoch, run)
    with fitting.running():
        return call.replace(callbacks=by_step).on(model)


def _left_to_keras(validation: Batches) -> bool:
    """Whether Keras counts the batches of arrays."""
    return isinstance(validation, ArrayBatches) and validation.keras_steps is not None


def _is_dense(part: Any) -> bool:
    """Whether it is an array, a tensor, or the spec of one: nothing ragged or sparse."""
    return hasattr(part, "shape") and not type(part).__name__.startswith(("Ragged", "Sparse"))
