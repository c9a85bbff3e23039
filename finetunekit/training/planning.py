"""From the arguments of `fit` to a plan: everything read and checked, nothing changed."""

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.caching.options import CacheOptions
from finetunekit.caching.options import read as read_cache
from finetunekit.data import arrays, batch_checks, mixing, pipeline_batches
from finetunekit.data.array_batches import ArrayBatches, MixedArrayBatches, TextBatches
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import Batches
from finetunekit.data.order import drawn_seed
from finetunekit.execution.loop_options import LoopOptions, check_names
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import say
from finetunekit.models import inputs
from finetunekit.models.metadata import Task
from finetunekit.resuming.run import Run
from finetunekit.tasks import known_task
from finetunekit.text import lengths as text_lengths
from finetunekit.training import checks, label_form
from finetunekit.training.compiling import warn_of_rate
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
    task = check_model(model)
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
        kept = dataclasses.replace(kept, memory_limit=run.memory_limit(kept.memory_limit))
    layers = () if mix is None else mixing.layers_of(mix)
    if layers:
        kept = kept.without_cache("mixed samples differ in each step")
    reader = _Reader(model=model, task=task, loop=loop, cache=kept, layers=tuple(layers))
    batches, validation = reader.read(
        _Given(
            x=x,
            y=y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            split=validation_split,
            validation=validation_data,
        ),
        shuffle=shuffle,
        seed=seed,
    )
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


def check_model(model: Any) -> Task | None:
    """Checks that a model can train; its task, or None if it has a loss of its own.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If it is not compiled, or nothing in it trains.
    """
    arguments.check_model(model)
    if not model.compiled:
        raise ValueError(
            "`model` is not compiled. Call `compile_for_task(model)` or `model.compile(...)` "
            f"first. Received: model={model!r}"
        )
    if not model.trainable_variables and model.built:
        raise ValueError(
            f"Nothing in {model.name!r} is trainable, so there is nothing to fit. Unfreeze "
            f"something with `unfreeze_layers`. Received: model={model!r}"
        )
    warn_of_rate(model)
    # Of a model with a loss of its own, only what holds for all data is checked.
    return known_task(model)


@dataclass(frozen=True, kw_only=True)
class _Given:
    """The data as the user gave them."""

    x: Any
    y: Any
    sample_weight: Any
    class_weight: Any
    split: Any
    validation: Any


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads data for one model and one set of options."""

    model: keras.Model
    task: Task | None
    loop: LoopOptions
    cache: CacheOptions
    layers: tuple[Any, ...]

    def read(
        self, given: _Given, *, shuffle: bool, seed: int | None
    ) -> tuple[Batches, Batches | None]:
        """Training and validation data."""
        if given.split and given.validation is not None:
            raise ValueError(
                "`validation_split` and `validation_data` both say what to validate on; give one. "
                f"Received: validation_split={given.split!r}"
            )
        if self.layers:
            unfit = {
                "sample_weight": given.sample_weight,
                "class_weight": given.class_weight,
                "steps_per_epoch": self.loop.steps_per_epoch,
            }
            mixing.check(self.model, given.x, self.task, unfit)
        held_out = arrays.read_validation(
            given.validation, self.model, self.task, self.loop.validation_steps
        )
        if inputs.is_array_like(given.x) or isinstance(given.x, (str, bytes, os.PathLike)):
            return self._arrays(given, held_out, shuffle=shuffle, seed=seed)
        return self._pipeline(given, shuffle=shuffle), self._validation(held_out, by_length=False)

    def _arrays(
        self, given: _Given, held_out: Any, *, shuffle: bool, seed: int | None
    ) -> tuple[Batches, Batches | None]:
        model, task = self.model, self.task
        train = arrays.read(given.x, given.y, given.sample_weight, model, task, compare=False)
        batch_checks.warn_of(model, train.x)
        if given.split:
            train, last = arrays.split(train, given.split, model, task)
            held_out = last.parts()
        if self.layers and task is not None:
            train, held_out = mixing.prepared(train, held_out, task, model)
        # After the split, since Keras does not weight validation by class.
        train = arrays.weighted(train, given.class_weight, model, task)
        batches = self._cut(train, shuffle=shuffle, seed=seed)
        return batches, self._validation(held_out, by_length=isinstance(batches, TextBatches))

    def _cut(self, train: Arrays, *, shuffle: bool, seed: int | None) -> ArrayBatches:
        """Batches of arrays: mixed, of texts of like length, or as they come."""
        steps = self.loop.steps_per_epoch
        if shuffle and steps is not None:
            say("with steps_per_epoch the order of arrays is left to Keras, which may repeat it")
        options: dict[str, Any] = {
            "seed": drawn_seed(seed) if shuffle and steps is None else None,
            "keras_steps": steps,
            "shuffle": shuffle,
        }
        size = self.loop.batch_size
        if self.layers:
            return MixedArrayBatches(train, self.layers, size, **options)
        lengths = self._lengths(train.x) if steps is None else None
        if lengths is not None:
            return TextBatches(train, lengths, size, **options)
        return ArrayBatches(train, size, **options)

    def _lengths(self, x: Any) -> Any:
        return text_lengths.of(self.model, x) if self.cache.cache is not False else None

    def _pipeline(self, given: _Given, *, shuffle: bool) -> Batches:
        checks.check_pipeline(given.x, given.y, given.split, given.sample_weight)
        checks.check_pipeline_weights(given.class_weight, self.task)
        batches = pipeline_batches.read(
            given.x,
            self.model,
            self.task,
            name="x",
            steps=self.loop.steps_per_epoch,
            steps_name="steps_per_epoch",
            shuffle=shuffle,
            class_weight=given.class_weight,
        )
        batch_checks.warn_of(self.model, batches.spec[0])
        return batches

    def _validation(self, held_out: Any, *, by_length: bool) -> Batches | None:
        """Validation data that `arrays.read_validation` has read already."""
        if held_out is None:
            return None
        kind, steps = "validation samples", self.loop.validation_steps
        if not isinstance(held_out, tuple):
            return pipeline_batches.of(held_out, steps=steps, kind=kind)
        read, size = Arrays(*held_out), self.loop.evaluation_size
        lengths = self._lengths(read.x) if by_length and steps is None else None
        if lengths is not None:
            return TextBatches(read, lengths, size, kind=kind)
        return ArrayBatches(read, size, keras_steps=steps, kind=kind)
