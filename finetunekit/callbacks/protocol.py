"""What a callback says about itself: whether it changes frozen weights, and what it must be told.

A callback says so by attributes or properties of these names: `changes_frozen_weights`,
`needs_batches`, `training_settings`. Keras' own callbacks, which say nothing, have a row below. A
subclass that brings methods of its own has to say it anew: what was said of its base need not hold.
"""

from collections.abc import Callable
from typing import Any

import keras

BatchOf = Callable[[int, int], Any]

_TRAIN_EVENTS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
_TEST_EVENTS = ("on_test_batch_begin", "on_test_batch_end")
# Keras' callbacks that leave frozen weights alone -> whether one needs its calls at each batch.
_OF_KERAS: dict[type, Callable[[Any], bool]] = {
    keras.callbacks.CSVLogger: lambda callback: True,
    keras.callbacks.EarlyStopping: lambda callback: True,
    keras.callbacks.History: lambda callback: False,
    keras.callbacks.LearningRateScheduler: lambda callback: True,
    keras.callbacks.ModelCheckpoint: lambda callback: bool(callback.save_freq != "epoch"),
    keras.callbacks.ProgbarLogger: lambda callback: False,
    keras.callbacks.ReduceLROnPlateau: lambda callback: True,
    keras.callbacks.TensorBoard: lambda callback: True,
    keras.callbacks.TerminateOnNaN: lambda callback: True,
}


def changes_frozen_weights(callback: Any) -> bool:
    """Whether a callback might change weights that are frozen, so that features go stale."""
    return bool(_said(callback, "changes_frozen_weights", type(callback) not in _OF_KERAS))


def needs_batches(callback: Any, training: bool) -> bool:
    """Whether a callback has to be called at each batch, of training or of a validation.

    One without a method for batches need not be; one that has some may say that it does well with
    one call for many batches.
    """
    row = _OF_KERAS.get(type(callback), lambda callback: True)
    return _hears_batches(callback, training) and bool(
        _said(callback, "needs_batches", row(callback))
    )


def training_settings(callback: Any) -> dict[str, Any] | None:
    """What a resumed run must share with the run before: names -> plain values; None if unsaid.

    A subclass inherits it: more methods do not undo what the callback does to training.
    """
    said = getattr(callback, "training_settings", None)
    return None if said is None else dict(said)


def attach_validation(callback: Any, validated: bool) -> None:
    """Tells a callback that asks for it whether the fit to come has validation data."""
    hears = getattr(callback, "attach_validation", None)
    if hears is not None:
        hears(validated)


def attach_batches(callback: Any, batch_of: BatchOf, *, first: int) -> None:
    """Tells a callback that asks for it how to get a batch of the running epoch once more.

    Args:
        callback: The callback.
        batch_of: Numbers of epoch and batch -> the numbers of its samples, and inputs, labels and
            weights; None if that batch cannot be had again.
        first: How many batches of the first epoch were done before, in a run that is resumed.
    """
    hears = getattr(callback, "attach_batches", None)
    if hears is not None:
        hears(batch_of, first=first)


def _hears_batches(callback: Any, training: bool) -> bool:
    base = keras.callbacks.Callback
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
        for name in (_TRAIN_EVENTS if training else _TEST_EVENTS)
    )


def _said(callback: Any, name: str, unsaid: Any) -> Any:
    """What a callback says, unless a class between it and the one that says so adds methods."""
    if name in vars(callback):
        return vars(callback)[name]
    for kind in type(callback).__mro__:
        if name in vars(kind):
            return getattr(callback, name)
        if any(callable(value) for key, value in vars(kind).items() if key[:2] != "__"):
            break
    return unsaid
