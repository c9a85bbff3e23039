"""`model.fit` on features: whether it saves work, and the fit itself."""

from typing import Any

import keras

from finetunekit.caching import cut
from finetunekit.caching.cut import flat_inputs
from finetunekit.caching.options import Settings
from finetunekit.data import pipelines
from finetunekit.data.arrays import Arrays
from finetunekit.execution.feature_steps import FeatureFit
from finetunekit.execution.readers import Reader
from finetunekit.execution.samples import Samples
from finetunekit.execution.step_callbacks import StepCallbacks
from finetunekit.execution.streams import Stream
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import graph
from finetunekit.resuming.run import Run

__all__ = ["BATCH_SIZE", "Samples", "Settings", "Stream", "fit", "stream", "worth_it"]

BATCH_SIZE = 32  # Keras' own.

# What a step on features does not call, so that it must be Keras' own.
_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "make_train_function",
    "make_test_function",
)


def worth_it(model: keras.Model, settings: Settings, like: Any) -> bool:
    """Whether a part of the model can be computed once; if it was asked for, says why not."""
    if settings.cache is False:
        return False
    trained = {id(variable) for variable in model.trainable_variables}
    made = [
        v
        for place in graph.leaves(model)
        for v in keras_internals.own_trainable_variables(place.layer)
    ]
    frozen = any(id(variable) not in trained for variable in made)
    reason = excluded(model)
    if not frozen:
        reason = "nothing in it is frozen"
    elif not reason:
        split = cut.split_frozen(model, frozen_dropout=settings.frozen_dropout, like=like)
        if split.pays:
            if settings.engine == "keras" and model.jit_compile is True:
                say(
                    "under `jit_compile=True` training on features agrees with `model.fit` to "
                    "rounding, not bit for bit: XLA compiles another step",
                    settings.verbose,
                )
            return True
        reason = cut.describe(split)
    # With nothing frozen there is nothing to be said, unless a cache was asked for.
    if settings.insists or frozen:
        say(f"{model.name!r} is computed as a whole in each epoch: {reason}", settings.verbose)
    return False


def excluded(model: keras.Model) -> str:
    """Why the model's steps cannot be taken over, if they cannot."""
    own = [n for n in _STEPS if getattr(type(model), n) is not getattr(keras.Model, n)]
    own += [n for n in _STEPS if n in vars(model)]
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
    options: dict[str, Any],
    train: Reader,
    settings: Settings,
    callbacks: list[Any],
    run: Run | None = None,
) -> keras.callbacks.History:
    """`model.fit` on features.

    Args:
        model: A compiled model of which a part is frozen.
        options: What `model.fit` would be given.
        train: The samples.
        settings: Where the features are kept, and who computes them.
        callbacks: The user's.
        run: A run that is kept, or goes on where it was interrupted.
    """
    validation = _validation(model, options, settings)
    options = options | train.training_options(options)
    if validation is not None:
        options |= validation.validation_options()
    by_step = StepCallbacks(
        callbacks,
        train_steps=train.keras_sees_steps,
        test_steps=validation is None or validation.keras_sees_steps,
        add_history=True,
        add_progbar=options["verbose"] != 0,
        verbose=options["verbose"],
        epochs=options["epochs"],
        steps=train.steps,
        model=model,
    )
    options["callbacks"] = by_step
    first = options["initial_epoch"]
    with FeatureFit(model, train, validation, settings, by_step, first, run).running():
        return model.fit(**options)


def _validation(model: keras.Model, options: dict[str, Any], settings: Settings) -> Reader | None:
    """The samples to validate on; None to leave them to Keras."""
    given, steps = options.get("validation_data"), options.get("validation_steps")
    settings = settings.for_validation()
    if isinstance(given, tuple):
        held_out = Arrays(*given)
        if steps is not None or flat_inputs(model, held_out.x) is None:
            return None
        size = options.get("validation_batch_size") or options.get("batch_size") or BATCH_SIZE
        return Samples(held_out, model, size, settings, name="validation samples")
    return stream(given, steps, settings, "validation samples")


def _is_dense(part: Any) -> bool:
    """Whether it is an array, a tensor, or the spec of one: nothing ragged or sparse."""
    return hasattr(part, "shape") and not type(part).__name__.startswith(("Ragged", "Sparse"))


def stream(x: Any, steps: int | None, settings: Settings, name: str) -> Stream | None:
    """A pipeline as a stream of batches; None if it is walked once, or holds no arrays."""
    batches = steps or pipelines.batch_count(x)
    parts = pipelines.batch_parts(x)
    if parts is None or not batches or not all(map(_is_dense, keras.tree.flatten(parts[0]))):
        return None
    return Stream(parts[0], batches, settings, name)
