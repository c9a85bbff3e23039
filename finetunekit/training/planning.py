"""From the arguments of `fit` to a plan: everything read and checked, nothing changed."""

from typing import Any

import keras

from finetunekit.caching.options import read as read_cache
from finetunekit.data import mixing, reading
from finetunekit.execution.loop_options import LoopOptions, check_names
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import obeys_verbose
from finetunekit.resuming.run import Run
from finetunekit.training import checks, label_form
from finetunekit.training.plan import FitPlan


@obeys_verbose
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
        x: Inputs `(n, ...)` as arrays, or a dict or list of them; texts, or pairs of texts
            `(first, second)`, if the model has a tokenizer; or a tf.data pipeline or PyDataset
            of `(inputs, labels)`, whose samples keep their order.
        y: Labels, if `x` is arrays.
        batch_size: Samples a step. Defaults to 32.
        epochs: The epoch at which to stop.
        verbose: As for `model.fit`.
        callbacks: As for `model.fit`.
        validation_split: Share of the samples, from the end, to validate on.
        validation_data: `(x, y)` or a dataset to validate on.
        shuffle: Whether to reorder arrays, and the batches of a PyDataset; False takes them as
            they come.
        class_weight: `"balanced"` weighs each class by how rare it is, for labels of any shape;
            or integer label -> weight.
        sample_weight: A weight for each sample; multiplied with the class weights.
        initial_epoch: The epoch at which to start.
        steps_per_epoch: As for `model.fit`; the order of arrays is then left to Keras.
        validation_steps: As for `model.fit`.
        validation_batch_size: As for `model.fit`.
        validation_freq: As for `model.fit`.
        seed: Seed of the order. Defaults to a number drawn from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        cache: `"auto"` computes the frozen part once where there is one and keeps its features in
            memory; True says why if that cannot be; False is `model.fit`. The path of an HDF5
            file keeps them there, for this run if it is interrupted and for later ones; those of
            validation samples go into `features.validation.h5` beside `features.h5`.
        engine: Who computes the features: `"auto"` takes what is fastest for this amount of work;
            `"keras"` gives what `model.fit` gives, bit for bit, unless it shuffles or the model is
            compiled with `jit_compile=True`; `"graph"`, `"xla"`, and `"litert"`, which needs
            `finetunekit[fast]`, agree with Keras to 1e-4.
        frozen_dropout: Whether Dropout inside frozen layers stays active, as in Keras; those
            layers cannot be computed once then.
        deterministic: Whether a pipeline is known to give the same batches in each epoch, so that
            it need not be read again.
        mix: `keras.layers.MixUp` or `CutMix`, or a list of them, to mix the images and labels of
            each training batch; nothing can be computed once then, and training metrics compare
            with mixed labels.
        memory_limit: Bytes, or a text such as `"2 GB"`, that features may take in memory; beyond,
            they go to a temporary file. Defaults to half of what is free.
        resume: The file of a `callbacks.Checkpoint`, to go on where that run was interrupted, with
            the same data and settings; if there is none yet, training starts from the beginning.
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
