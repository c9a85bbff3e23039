"""From the arguments of `fit` to a plan: everything read and checked, nothing changed."""

from typing import Any

import keras

from finetunekit.caching.options import read as read_cache
from finetunekit.data import mixing, reading
from finetunekit.execution.loop_options import LoopOptions, check_names
from finetunekit.foundation import arguments
from finetunekit.resuming.run import Run
from finetunekit.training import checks, label_form
from finetunekit.training.plan import FitPlan


def plan_fit(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: Any = 1,
    seed: int | None = None,
    cache: Any = "auto",
    engine: str = "auto",
    frozen_dropout: bool = False,
    deterministic: bool = False,
    mix: Any = None,
    memory_limit: int | str | None = None,
    resume: Any = None,
    **unknown: Any,
) -> FitPlan:
    """Plans a `fit` without changing model, optimizer or data: a new `FitPlan`.

    The data are read, checked and tokenized here, once. `print(plan)` says what will happen,
    `plan.estimate()` measures one batch, `plan.run()` trains.

    Args:
        model: A compiled model.
        x: As for `fit`.
        y: As for `fit`.
        batch_size: As for `fit`.
        epochs: As for `fit`.
        verbose: As for `fit`.
        callbacks: As for `fit`.
        validation_split: As for `fit`.
        validation_data: As for `fit`.
        shuffle: As for `fit`.
        class_weight: As for `fit`.
        sample_weight: As for `fit`.
        initial_epoch: As for `fit`.
        steps_per_epoch: As for `fit`.
        validation_steps: As for `fit`.
        validation_batch_size: As for `fit`.
        validation_freq: As for `fit`.
        seed: As for `fit`.
        cache: As for `fit`.
        engine: As for `fit`.
        frozen_dropout: As for `fit`.
        deterministic: As for `fit`.
        mix: As for `fit`.
        memory_limit: As for `fit`.
        resume: As for `fit`.
        **unknown: Nothing else is an argument of `fit`; a misspelt one is an error.

    Returns:
        A `FitPlan`.

    Raises:
        ValueError: If model, data and options do not fit together; the message has the remedy.
        TypeError: If an argument is of the wrong type, or there is no such argument.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        plan = ftk.plan_fit(model, x_train, y_train, epochs=2)
        print(plan)
        ```
    """
    task = checks.check_model(model)
    check_names(unknown)
    loop = LoopOptions(
        batch_size=batch_size,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=verbose,
        steps_per_epoch=steps_per_epoch,
        validation_steps=validation_steps,
        validation_batch_size=validation_batch_size,
        validation_freq=validation_freq,
    ).checked()
    given = checks.check_callbacks(callbacks)
    arguments.check_seed(seed)
    kept = read_cache(cache, engine, frozen_dropout, deterministic, memory_limit, verbose)
    run = Run.of(given, resume)
    if run is not None:
        seed = run.seed(seed)
        kept = run.cache(kept)
    layers = () if mix is None else mixing.layers_of(mix)
    if layers:
        kept = kept.without_cache("mixed samples differ in each step")
    data = reading.Given(
        x=x,
        y=y,
        sample_weight=sample_weight,
        class_weight=class_weight,
        split=validation_split,
        validation=validation_data,
        mix=tuple(layers),
        shuffle=shuffle,
        seed=seed,
        size=loop.batch_size,
        steps=loop.steps_per_epoch,
        validation_size=loop.evaluation_size,
        validation_steps=loop.validation_steps,
        by_length=kept.cache is not False,
        deterministic=kept.deterministic,
    )
    batches, validation = reading.read(data, model, task)
    checks.check_monitors(model, given, validated=validation is not None)
    return FitPlan(
        model=model,
        task=task,
        labels=label_form.of_batches(model, task, batches, validation),
        batches=batches,
        validation=validation,
        cache=kept,
        loop=loop,
        callbacks=tuple(given),
        seed=seed,
        resume=run,
    )
