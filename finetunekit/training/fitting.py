"""`fit`: a plan that is run at once."""

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import keras

from finetunekit.training.plan import FitPlan
from finetunekit.training.planning import plan_fit

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _same_arguments(
    other: Callable[_Arguments, FitPlan],
) -> Callable[[Callable[..., _Result]], Callable[_Arguments, _Result]]:
    """Gives a function the signature of another one, for people, editors and type checkers."""

    def sign(function: Callable[..., _Result]) -> Callable[_Arguments, _Result]:
        returned = inspect.signature(function).return_annotation
        own = inspect.signature(other).replace(return_annotation=returned)
        function.__signature__ = own  # type: ignore[attr-defined]
        return function

    return sign


@_same_arguments(plan_fit)
def fit(model: keras.Model, x: Any, y: Any = None, **options: Any) -> keras.callbacks.History:
    """Trains a compiled model in place: `model.fit`, with nothing computed twice.

    The part of the model that is frozen gives the same in every epoch: it is computed once for
    each sample, and the rest trains on these features, with the model's own loss, metrics,
    optimizer and callbacks. `explain` says beforehand what that saves.

    Before the first step it checks inputs and labels as `check_batch` does, and renews
    train functions that have gone stale since layers were frozen or unfrozen. Arrays are shuffled
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
            or integer label -> weight.
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
        mix: `keras.layers.MixUp` or `CutMix`, or a list of them, to mix the images and labels of
            each training batch; nothing can be computed once then, and training metrics compare
            with mixed labels.
        memory_limit: Bytes, or a text such as `"2 GB"`, that features may take in memory; beyond,
            they go to a temporary file. Defaults to half of what is free.
        resume: The file of a `callbacks.Checkpoint`, to go on where that run was interrupted, with
            the same data and settings; if there is none yet, the run begins at its beginning.
        **options: The other arguments of `model.fit`.

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
    return plan_fit(model, x, y, **options).run()
