"""Do labels and arguments fit? Found before the first step, with the remedy in words."""

import inspect
import numbers
from typing import Any

import keras
import numpy as np

from finetunekit import _keras
from finetunekit.inputs import check_finite
from finetunekit.messages import closest, listed, warn
from finetunekit.metadata import Task
from finetunekit.tasks import CLASSIFYING, FAMILIES

# A class that a random split would leave out with less than this probability is not rare: the
# data are sorted.
_SORTED = 0.01


def check_labels(y: np.ndarray, model: keras.Model, task: Task | None) -> None:
    """Checks labels against the task.

    Raises:
        ValueError: If shapes or values do not fit.
    """
    check_finite(y, "y")
    if task is not None:
        FAMILIES[task.name].check_labels(y, task, model.output_shape)


def check_split(
    train: np.ndarray, held_out: np.ndarray, task: Task, output_shape: Any, split: float
) -> None:
    """Checks that a validation split, which Keras cuts off the end, has all classes on both sides.

    Raises:
        ValueError: If a class is on one side only though a random split would have it on both.
    """
    if task.name not in CLASSIFYING or task.name == "multilabel":
        return
    family = CLASSIFYING[task.name]
    sides = [family.class_ids(part, task, output_shape).ravel() for part in (train, held_out)]
    ids, counts = np.unique(np.concatenate(sides), return_counts=True)
    chance = {int(c): (1 - split) ** int(n) for c, n in zip(ids, counts, strict=True)}
    never_trained = [c for c in chance if c not in sides[0]]
    not_held_out = [c for c in chance if c not in sides[1]]
    if never_trained or any(chance[c] < _SORTED for c in not_held_out):
        raise ValueError(
            "`validation_split` takes the last samples as they come, and the data look sorted: "
            f"classes {never_trained} would be in the validation part only, {not_held_out} in the "
            "training part only. Shuffle first, `order = np.random.default_rng(0)"
            ".permutation(len(x)); x, y = x[order], y[order]`, or give `validation_data`. "
            f"Received: validation_split={split!r}"
        )
    if not_held_out:
        warn(
            f"validation_split={split}: classes {not_held_out} have so few samples that none is in "
            "the validation part; give `validation_data` to measure them too"
        )


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
    check_int(options["batch_size"], "batch_size", 1, optional=True)
    check_int(options["epochs"], "epochs", 1)
    check_int(options["initial_epoch"], "initial_epoch", 0)
    if options["initial_epoch"] >= options["epochs"]:
        raise ValueError(
            "`epochs` is the epoch at which to stop, not how many more to run, so it must be "
            "above `initial_epoch`. "
            f"Received: epochs={options['epochs']}, initial_epoch={options['initial_epoch']}"
        )
    _check_callbacks(options["callbacks"])


def check_seed(seed: Any) -> None:
    """Raises for a seed that is no int of at least 0.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is negative.
    """
    check_int(seed, "seed", 0, optional=True)


def check_int(value: Any, name: str, smallest: int, *, optional: bool = False) -> None:
    """Raises for what is no int of some size.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is too small.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an int of at least {smallest}. Received: {name}={value!r}"
        )
    if value < smallest:
        raise ValueError(f"`{name}` must be at least {smallest}. Received: {name}={value!r}")


def callback_list(callbacks: Any) -> list[Any]:
    """The callbacks as a list, of whatever form `fit` takes them in."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _check_callbacks(callbacks: Any) -> None:
    for callback in callback_list(callbacks):
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
    given = callback_list(callbacks)
    metrics = keras.tree.flatten(_keras.compile_arguments(model)["metrics"] or [])
    names = ["loss", *(m if isinstance(m, str) else getattr(m, "name", None) for m in metrics)]
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
