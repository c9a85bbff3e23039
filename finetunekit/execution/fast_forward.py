"""A run that is resumed in mid-epoch: the steps that are done are fast-forwarded."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import keras

from finetunekit.execution.fit_call import FitCall
from finetunekit.foundation import keras_internals, patches
from finetunekit.resuming.events import Unseen


class Skipped(Protocol):
    """What has steps to be skipped; a `Run` is one."""

    skip: int

    def put_metrics_back(self, model: keras.Model) -> None:
        """Called once they are."""


def fit(
    model: keras.Model, call: FitCall, run: Skipped, steps: int | None
) -> keras.callbacks.History:
    """`model.fit`, but that the first steps of the first epoch are drawn and not trained on.

    Args:
        model: The compiled model.
        call: What `model.fit` is called with.
        run: The run that is resumed, or has nothing to skip.
        steps: The number of steps in an epoch, if it is known.
    """
    if not run.skip:
        return call.on(model)
    loop = call.loop
    unseen = Unseen(
        call.callbacks,
        run.skip,
        add_history=True,
        add_progbar=loop.verbose != 0,
        verbose=loop.verbose,
        epochs=loop.epochs,
        steps=steps,
        model=model,
    )
    with _skipping(model, run):
        return call.replace(callbacks=unseen).on(model)


@contextlib.contextmanager
def _skipping(model: keras.Model, run: Skipped) -> Iterator[None]:
    ours: Any = None

    def skipping(make_own: Any) -> Any:
        def make(force: bool = False) -> None:
            nonlocal ours
            make_own(force)
            if run.skip:
                own = model.train_function
                ours = model.train_function = lambda iterator: _skip(model, iterator, own, run)

        return make

    model.train_function = None
    try:
        with patches.patch(model, "make_train_function", skipping):
            yield
    finally:
        # The run has ended or was interrupted before the first step that trains.
        if ours is not None and model.train_function is ours:
            model.train_function = None


def _skip(model: keras.Model, iterator: Any, own: Any, run: Skipped) -> Any:
    if not run.skip:
        model.train_function = own
        return own(iterator)
    for _ in range(min(int(model.steps_per_execution), run.skip)):
        x, y, _weights = keras.utils.unpack_x_y_sample_weight(next(iterator))
        run.skip -= 1
    keras_internals.build_metrics(model, y, model.compute_output_spec(x))
    run.put_metrics_back(model)
    return model.get_metrics_result()
