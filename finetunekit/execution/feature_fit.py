"""Can a fit be spared work? If a part of the model is frozen, it is computed once."""

from typing import Any

import keras

from finetunekit.caching import cut
from finetunekit.caching.cut import flat_inputs
from finetunekit.caching.options import Settings
from finetunekit.data import pipelines
from finetunekit.data.arrays import Arrays
from finetunekit.execution.feature_steps import Redirected, marker
from finetunekit.execution.samples import Samples
from finetunekit.execution.step_callbacks import StepCallbacks
from finetunekit.execution.streams import Stream
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import graph
from finetunekit.resuming.run import Run

__all__ = ["BATCH_SIZE", "Samples", "Settings", "Stream", "fit", "stream", "worth_it"]

BATCH_SIZE = 32  # Keras' own.

_OWN_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics", "make_train_function")


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
    reason = _excluded(model)
    if not frozen:
        reason = "nothing in it is frozen"
    elif not reason:
        split = cut.split_frozen(model, frozen_dropout=settings.frozen_dropout, like=like)
        if split.pays:
            return True
        reason = cut.describe(split)
    # With nothing frozen there is nothing to be said, unless a cache was asked for.
    if settings.insists or frozen:
        say(f"{model.name!r} is computed as a whole in each epoch: {reason}", settings.verbose)
    return False


def _excluded(model: keras.Model) -> str:
    """Why the model's steps cannot be taken over, if they cannot."""
    own = [n for n in _OWN_STEPS if getattr(type(model), n) is not getattr(keras.Model, n)]
    if own:
        return f"{type(model).__name__} has a `{own[0]}` of its own"
    if model.run_eagerly:
        return "it runs eagerly"
    if keras.backend.backend() != "tensorflow":
        return "features are kept on the TensorFlow backend only"
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "it is distributed over several devices"
    return ""


def fit(
    model: keras.Model,
    options: dict[str, Any],
    train: Samples | Stream,
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
    options = dict(options)
    if isinstance(train, Samples):
        size = options.get("validation_batch_size") or train.size
        options |= {"x": marker(), "y": None, "sample_weight": None, "class_weight": None}
        options |= {"batch_size": None, "shuffle": False, "validation_batch_size": size}
    if isinstance(validation, Samples):
        options |= {"validation_data": marker(), "validation_batch_size": None}
    by_step = StepCallbacks(
        callbacks,
        passes={True: isinstance(train, Stream), False: not isinstance(validation, Samples)},
        add_history=True,
        add_progbar=options["verbose"] != 0,
        verbose=options["verbose"],
        epochs=options["epochs"],
        steps=train.steps,
        model=model,
    )
    options["callbacks"] = by_step
    redirected = Redirected(model, train, validation, settings, by_step, run)
    with redirected.running(options["initial_epoch"]):
        return model.fit(**options)


def _validation(
    model: keras.Model, options: dict[str, Any], settings: Settings
) -> Samples | Stream | None:
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
