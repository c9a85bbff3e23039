"""Do labels and arguments fit? Found before the first step, with the remedy in words."""

import inspect
from typing import Any

import keras

from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import closest, listed


def check_fit_options(options: dict[str, Any]) -> None:
    """Checks the plain arguments of `fit` before anything is done.

    Raises:
        TypeError: If there is an unknown one, or one of the wrong type.
        ValueError: If a number is out of range.
    """
    known = inspect.signature(keras.Model.fit).parameters
    for name in options:
        if name not in known:
            remedy = (
                "The learning rate goes to `compile_for_task(model, learning_rate=...)`. "
                if name in ("lr", "learning_rate", "optimizer", "loss", "metrics")
                else closest(name, known)
            )
            raise TypeError(
                f"`{name}` is no argument of `fit`. {remedy}Received: {name}={options[name]!r}"
            )
    arguments.check_int(options["batch_size"], "batch_size", 1, optional=True)
    arguments.check_int(options["epochs"], "epochs", 1)
    arguments.check_int(options["initial_epoch"], "initial_epoch", 0)
    if options["initial_epoch"] >= options["epochs"]:
        raise ValueError(
            "`epochs` is the epoch at which to stop, not how many more to run, so it must be "
            "above `initial_epoch`. "
            f"Received: epochs={options['epochs']}, initial_epoch={options['initial_epoch']}"
        )
    _check_callbacks(options["callbacks"])


def _check_callbacks(callbacks: Any) -> None:
    for callback in arguments.callback_list(callbacks):
        if isinstance(callback, type):
            raise TypeError(
                "`callbacks` must hold callback objects, not classes: write "
                f"`{callback.__name__}(...)`. Received: callbacks with {callback.__name__}"
            )
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "`callbacks` must be a list of Keras callback objects, such as "
                "`finetunekit.callbacks.EarlyStopping()`. "
                f"Received: callbacks with {callback!r}"
            )


def check_monitors(model: keras.Model, callbacks: Any, *, validated: bool) -> None:
    """Checks before training that what callbacks watch will be logged, where it can be known.

    Raises:
        ValueError: If a watched value will not be there.
    """
    given = arguments.callback_list(callbacks)
    names = ["loss", *_metric_names(keras_internals.compile_arguments(model))]
    # A callback of the user's own may log more, and so may a model with several outputs.
    known = None not in names and len(getattr(model, "outputs", [None])) == 1
    known = known and all(type(c).__module__.startswith(("keras.", "finetunekit.")) for c in given)
    logged = [*names, *(f"val_{name}" for name in names)] if validated else names
    for callback in given:
        wanted = getattr(callback, "monitor", "auto")
        # ModelCheckpoint has a monitor even if it saves every epoch.
        watches = getattr(callback, "save_best_only", True)
        if not watches or wanted == "auto" or wanted in logged:
            continue
        if known or (wanted.startswith("val_") and not validated):
            raise ValueError(
                f"`monitor` must be one of the values that are logged: {listed(logged)}. "
                "Validation values need `validation_data` or `validation_split`. "
                f"Received: monitor={wanted!r}"
            )


def _metric_names(compiled: dict[str, Any]) -> list[str | None]:
    """The names under which a model of one output logs its metrics; None for unknown ones."""
    names: list[str | None] = []
    for kind, prefix in (("metrics", ""), ("weighted_metrics", "weighted_")):
        own: list[str | None] = []
        for metric in keras.tree.flatten(compiled[kind] or []):
            name = metric if isinstance(metric, str) else getattr(metric, "name", None)
            if name is not None and name in names:
                name = f"{prefix}{name}"  # As Keras calls a weighted one beside a plain one.
            count = own.count(name)
            own.append(name)
            names.append(f"{name}_{count}" if count and name is not None else name)
    return names
