"""Checks of the arguments of `fit` before the first step, with the remedy in words."""

from typing import Any

import keras

from finetunekit.data import output_names
from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import listed
from finetunekit.models.metadata import Task
from finetunekit.tasks import known_task
from finetunekit.training.compiling import warn_of_rate


def check_model(model: Any) -> Task | None:
    """Checks that a model can train; its task, or None if it has a loss of its own.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If it is not compiled, or nothing in it trains.
    """
    arguments.check_model(model)
    check_trains(model)
    output_names.check_compiled(model)
    warn_of_rate(model)
    # Of a model with a loss of its own, only what holds for all data is checked.
    return known_task(model)


def check_trains(model: keras.Model) -> None:
    """Raises for a model that is not compiled, or in which all is frozen.

    Raises:
        ValueError: If so.
    """
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


def check_callbacks(callbacks: Any) -> list[Any]:
    """The callbacks as a list, of whatever form `fit` takes them in.

    Raises:
        TypeError: If one is not a callback object.
    """
    given = arguments.callback_list(callbacks)
    for callback in given:
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
    return given


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
