"""How does a run that goes on in mid-epoch get there? The steps that are done are passed over."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import keras

from finetunekit.data import pipelines
from finetunekit.foundation import keras_internals
from finetunekit.resuming.events import Unseen


class Skipped(Protocol):
    """What has steps to be passed over; a `Run` is one."""

    skip: int

    def put_metrics_back(self, model: keras.Model) -> None:
        """Called once they are."""


def fit(model: keras.Model, options: dict[str, Any], run: Skipped) -> keras.callbacks.History:
    """`model.fit`, but that the first steps of the first epoch are drawn and passed over."""
    if not run.skip:
        return model.fit(**options)
    unseen = Unseen(
        options["callbacks"],
        run.skip,
        add_history=True,
        add_progbar=options["verbose"] != 0,
        verbose=options["verbose"],
        epochs=options["epochs"],
        steps=_steps(options),
        model=model,
    )
    with _skipping(model, run):
        return model.fit(**options | {"callbacks": unseen})


@contextlib.contextmanager
def _skipping(model: keras.Model, run: Skipped) -> Iterator[None]:
    def make(force: bool = False) -> None:
        type(model).make_train_function(model, force)
        if run.skip:
            own = model.train_function
            model.train_function = lambda iterator: _pass_over(model, iterator, own, run)

    model.train_function = None
    vars(model)["make_train_function"] = make
    try:
        yield
    finally:
        vars(model).pop("make_train_function", None)


def _pass_over(model: keras.Model, iterator: Any, own: Any, run: Skipped) -> Any:
    if not run.skip:
        model.train_function = own
        return own(iterator)
    for _ in range(min(int(model.steps_per_execution), run.skip)):
        x, y, _weights = keras.utils.unpack_x_y_sample_weight(next(iterator))
        run.skip -= 1
    keras_internals.build_metrics(model, y, model.compute_output_spec(x))
    run.put_metrics_back(model)
    return model.get_metrics_result()


def _steps(options: dict[str, Any]) -> int | None:
    """The number of steps in an epoch."""
    x = options["x"]
    if hasattr(x, "num_batches") or hasattr(x, "cardinality"):
        return pipelines.batch_count(x)
    return -(-len(keras.tree.flatten(x)[0]) // (options["batch_size"] or 32))
