"""How is the model trained? `model.fit`, with the data checked and their order owned."""

import dataclasses
import os
from typing import Any

import keras

from finetunekit.averaging import ema
from finetunekit.averaging.ema import Averages
from finetunekit.caching.cut import flat_inputs
from finetunekit.caching.options import Settings
from finetunekit.caching.options import read as read_cache_options
from finetunekit.callbacks.nan_watch import NaNWatch
from finetunekit.data import arrays, batch_checks, pipelines
from finetunekit.data.class_weights import check_class_weight
from finetunekit.data.order import Order
from finetunekit.execution import feature_fit
from finetunekit.execution.samples import Samples
from finetunekit.execution.streams import Stream
from finetunekit.foundation import arguments, hashing
from finetunekit.foundation.messages import say
from finetunekit.models import compiled, inputs
from finetunekit.models.metadata import Task
from finetunekit.models.temporary_injection import TemporaryInjection
from finetunekit.resuming.run import Run
from finetunekit.tasks.multiclass import is_one_hot
from finetunekit.training import checks, feeding, mixing
from finetunekit.training.compiling import recompile_for_labels, warn_of_rate


def fit(
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
    seed: int | None = None,
    cache: Any = "auto",
    engine: str = "auto",
    frozen_dropout: bool = False,
    deterministic: bool = False,
    mix: Any = None,
    memory_limit: int | str | None = None,
    resume: Any = None,
    **fit_options: Any,
) -> keras.callbacks.History:
    """Trains a compiled model in place: `model.fit`, with nothing computed twice.

    The part of the model that is frozen gives the same in every epoch: it is computed once for
    each sample, and the rest trains on these features, with the model's own loss, metrics,
    optimizer and callbacks. `explain` says beforehand what that saves.

    Before the first step it checks inputs and labels as `check_batch` does, and renews
    train functions that have gone stale since layers were frozen or thawed. Arrays are shuffled
    by an order that depends on `seed` and the epoch alone and differs in every epoch; Keras on
    TensorFlow repeats one order once it is seeded.

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
            or class number -> weight.
        sample_weight: A weight for each sample; multiplied with the class weights.
        initial_epoch: The epoch at which to start.
        seed: Seed of the order. Defaults to a number drawn from Python's `random`, which
            `keras.utils.set_random_seed` seeds.
        cache: `"auto"` computes the frozen part once where there is one and keeps its features in
            memory; True says why if that cannot be; False is `model.fit`. The path of an HDF5
            file keeps them there, for this run if it is interrupted and for later ones; those of
            validation samples go into `features.validation.h5` beside `features.h5`.
        engine: Who computes the features: `"auto"` takes what is fastest for this amount of work;
            `"keras"` gives what `model.fit` gives, bit for bit, unless it shuffles; `"graph"`,
            `"xla"`, and `"litert"`, which needs `finetunekit[fast]`, agree with Keras to 1e-4.
        frozen_dropout: Whether Dropout inside frozen layers stays active, as in Keras; those
            layers cannot be computed once then.
        deterministic: Whether a pipeline is known to give the same batches in each epoch, so that
            it need not be read again.
        mix: `keras.layers.MixUp` or `CutMix`, or a list of them, to mix the pictures and labels of
            each training batch; nothing can be computed once then, and training metrics compare
            with mixed labels.
        memory_limit: Bytes, or a text such as `"2 GB"`, that features may take in memory; beyond,
            they go to a temporary file. Defaults to half of what is free.
        resume: The file of a `callbacks.Checkpoint`, to go on where that run was interrupted, with
            the same data and settings; if there is none yet, the run begins at its beginning.
        **fit_options: The other arguments of `model.fit`.

    Returns:
        The `History` that `model.fit` returns.

    Raises:
        ValueError: If model, data and options do not fit together; the message has the remedy.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        ftk.compile_for_task(model)
        history = ftk.fit(model, x_train, y_train, epochs=2, validation_split=0.25, verbose=0)
        assert len(history.history["val_loss"]) == 2
        ```
    """
    task = prepare(model)
    options = {
        "batch_size": batch_size,
        "epochs": epochs,
        "verbose": verbose,
        "callbacks": callbacks,
        "initial_epoch": initial_epoch,
        **fit_options,
    }
    checks.check_fit_options(options)
    arguments.check_seed(seed)
    if validation_split and validation_data is not None:
        raise ValueError(
            "`validation_split` and `validation_data` both say what to validate on; give one. "
            f"Received: validation_split={validation_split!r}"
        )
    settings = read_cache_options(
        cache, engine, frozen_dropout, deterministic, memory_limit, verbose
    )
    run = Run.of(arguments.callback_list(callbacks), resume)
    if run is not None:
        seed = run.seed(seed)
        settings = dataclasses.replace(
            settings, memory_limit=run.memory_limit(settings.memory_limit)
        )
    layers = [] if mix is None else mixing.layers_of(mix)
    if layers:
        steps = fit_options.get("steps_per_epoch")
        unfit = {"sample_weight": sample_weight, "class_weight": class_weight}
        mixing.check(model, x, task, {**unfit, "steps_per_epoch": steps})
        settings = settings.without_cache("mixed samples differ in each step")
    options["validation_data"] = arrays.read_validation(
        validation_data, model, task, fit_options.get("validation_steps")
    )
    if inputs.is_array_like(x) or isinstance(x, (str, bytes, os.PathLike)):
        given = arrays.read(x, y, sample_weight, model, task, compare=False)
        batch_checks.warn_of(model, given.x)
        if validation_split:
            given, held_out = arrays.split(given, validation_split, model, task)
            options["validation_data"] = held_out.parts()
        if layers and task is not None:
            given, options["validation_data"] = mixing.prepared(
                given, options["validation_data"], task, model
            )
        # After the split, since Keras does not weigh validation by class.
        weighted = arrays.weighted(given, class_weight, model, task)
        order = feeding.order_of(len(keras.tree.flatten(given.x)[0]), options, shuffle, seed)
        like, labels = given.x, given.y
    else:
        _check_pipeline(x, y, validation_split, sample_weight, model, task)
        _check_pipeline_weights(class_weight, task)
        pipelines.check_length(x, fit_options.get("steps_per_epoch"), "x", "steps_per_epoch")
        # Keras warns of `shuffle` for data whose order it cannot change.
        shuffle = shuffle and isinstance(x, keras.utils.PyDataset)
        options |= {"x": x, "class_weight": class_weight, "shuffle": shuffle}
        weighted, order = None, None
        like, labels = pipelines.batch_parts(x) or (None, None)
        batch_checks.warn_of(model, like)
    checks.check_monitors(model, callbacks, validated=options["validation_data"] is not None)
    if ema.needed(model, arguments.callback_list(callbacks)):
        callbacks = options["callbacks"] = [Averages(), *arguments.callback_list(callbacks)]
    _follow_label_form(model, task, labels, options["validation_data"])
    if run is not None:
        if weighted is None:
            settings = _uncached_pipeline(model, settings, like)
        facts = _facts(options, settings, shuffle, seed, deterministic, weighted)
        walked = x if weighted is None else None
        options = run.begin(model, options, walked, facts, layers)
        callbacks, settings = options["callbacks"], settings.kept_beside(run.features())
    source, whole = None, False
    if feature_fit.worth_it(model, settings, like):
        source = _source(model, x, weighted, order, options, settings)
    if weighted is not None and layers:
        size = options["batch_size"] or feature_fit.BATCH_SIZE
        options |= feeding.ordered(
            mixing.batches(layers, weighted, size, order, options["initial_epoch"]), options
        )
    elif weighted is not None and not isinstance(source, Samples):
        options |= feeding.array_options(model, weighted, options, shuffle, order, settings)
    for callback in arguments.callback_list(callbacks):
        if isinstance(callback, NaNWatch):
            callback.attach(feeding.batch_of(options, source), first=0 if run is None else run.skip)
    try:
        if source is not None:
            watching = arguments.callback_list(callbacks)
            history = feature_fit.fit(model, options, source, settings, watching, run)
        else:
            history = model.fit(**options) if run is None else run.fit(model, options)
        whole = True
        return history
    finally:
        if run is not None:
            run.end(whole=whole)
        if layers:
            mixing.put_back(model, task)
        for callback in arguments.callback_list(callbacks):
            if isinstance(callback, TemporaryInjection):
                callback.restore()


def _uncached_pipeline(model: keras.Model, settings: Settings, like: Any) -> Settings:
    """Settings for a pipeline of a run that may be interrupted.

    Features are found as batches come, so other batches after the interruption might round them
    otherwise.
    """
    reason = "a run with a checkpoint computes the frozen part of a pipeline in each epoch"
    plain = settings.without_cache(reason)
    if feature_fit.worth_it(model, settings, like):
        say(f"{reason}; arrays spare that", settings.verbose)
    return plain


def _facts(
    options: dict[str, Any],
    settings: Settings,
    shuffle: bool,
    seed: int | None,
    deterministic: bool,
    train: arrays.Arrays | None,
) -> dict[str, Any]:
    """What must be the same for a run to go on bit by bit, by words."""
    held_out = options["validation_data"]
    parts = keras.tree.flatten(held_out) if isinstance(held_out, tuple) else []
    facts = {
        "seed": seed,
        "batch_size": options["batch_size"],
        "shuffle": shuffle,
        "cache": settings.cache is not False,
        "engine": settings.engine,
        "memory limit": settings.memory_limit,
        "deterministic": deterministic,
        "frozen_dropout": settings.frozen_dropout,
        "validation data": hashing.arrays_digest(parts) if parts else type(held_out).__name__,
    }
    if train is not None:
        flat = keras.tree.flatten((train.x, train.y, train.weights))
        given = [part for part in flat if part is not None]
        facts["data"] = f"{len(given[0])} samples, {hashing.arrays_digest(given)}"
    return facts


def _source(
    model: keras.Model,
    x: Any,
    weighted: arrays.Arrays | None,
    order: Order | None,
    options: dict[str, Any],
    settings: Settings,
) -> Samples | Stream | None:
    """The data as features are computed from; None if they can be walked only once."""
    steps = options.get("steps_per_epoch")
    if weighted is not None and steps is None:
        if flat_inputs(model, weighted.x) is None:
            return None
        size = options["batch_size"] or feature_fit.BATCH_SIZE
        return Samples(weighted, model, size, settings, order=order)
    if weighted is not None and steps is not None:
        return Stream(weighted.x, steps, settings, "samples")
    found = feature_fit.stream(x, steps, settings, "samples")
    if found is None:
        say(
            f"`x`, a {type(x).__name__}, can be walked only once, or holds no plain arrays, so the "
            "frozen part is computed in each epoch; arrays, and tf.data pipelines and PyDatasets "
            "of arrays, spare that",
            options["verbose"],
        )
    return found


def prepare(model: Any) -> Task | None:
    """Checks that the model can train and renews it; the task, if the model has one."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not model.compiled:
        raise ValueError(
            "`model` is not compiled. Call `compile_for_task(model)` or `model.compile(...)` "
            f"first. Received: model={model!r}"
        )
    if not model.trainable_variables and model.built:
        raise ValueError(
            f"Nothing in {model.name!r} is trainable, so there is nothing to fit. Thaw something "
            f"with `unfreeze_layers`. Received: model={model!r}"
        )
    if compiled.renew_if_stale(model):
        say(f"{model.name!r} has changed since it was compiled: its functions are traced anew")
    warn_of_rate(model)
    # Of a model with a loss of its own, only what holds for all data is checked.
    return batch_checks.known_task(model)


def _follow_label_form(
    model: keras.Model, task: Task | None, labels: Any, validation_data: Any
) -> None:
    """Compiles for one-hot rows or class numbers, whichever the labels are, if the loss is ours."""
    if task is None or task.name != "multiclass":
        return
    one_hot = _is_one_hot(labels, task, model)
    if one_hot is None:
        return
    if isinstance(validation_data, tuple):
        held_out = _is_one_hot(validation_data[1], task, model)
        if held_out is not None and held_out != one_hot:
            raise ValueError(
                "`validation_data` must have labels of the same form as the training data: class "
                "numbers or one-hot rows. Turn rows into numbers with `y.argmax(axis=-1)`. "
                f"Received: validation_data with {'rows' if held_out else 'class numbers'}"
            )
    changed = dataclasses.replace(task, one_hot=one_hot)
    if one_hot != bool(task.one_hot) and recompile_for_labels(model, changed):
        say(f"the labels are {'one-hot rows' if one_hot else 'class numbers'}: loss chosen anew")


def _is_one_hot(labels: Any, task: Task, model: keras.Model) -> bool | None:
    shape = pipelines.known_shape(labels)
    return None if shape is None else is_one_hot(shape, task, model.output_shape)


def _check_pipeline(
    x: Any, y: Any, split: float, sample_weight: Any, model: keras.Model, task: Task | None
) -> None:
    if x is None:
        raise ValueError("`x` is missing: give arrays or a dataset. Received: x=None")
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"`x` is a {type(x).__name__}, which brings its own {name}: leave `{name}` out. "
                f"Received: {name} of type {type(value).__name__}"
            )
    if split:
        raise ValueError(
            "`validation_split` needs arrays, since other data cannot be cut; give "
            f"`validation_data`. Received: validation_split={split!r}"
        )
    pipelines.check(x, model, "x", labelled=task is not None)


def _check_pipeline_weights(class_weight: Any, task: Task | None) -> None:
    if isinstance(class_weight, str):
        raise ValueError(
            f"`class_weight={class_weight!r}` needs arrays, to count the classes. Give a dict of "
            "class number -> weight, or the data as arrays. "
            f"Received: class_weight={class_weight!r}"
        )
    if class_weight is not None and task is not None:
        check_class_weight(class_weight, task)
