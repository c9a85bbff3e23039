"""All that decides the bits of a run beside data and weights, in plain values."""

from typing import Any

import keras

from finetunekit.callbacks import protocol
from finetunekit.foundation import keras_internals
from finetunekit.models import graph, rate_multipliers
from finetunekit.resuming.describing import describe

# What Keras' own callbacks do to training; ours say it by `training_settings`.
_SETTINGS = {
    keras.callbacks.EarlyStopping: ("monitor", "mode"),
    keras.callbacks.LearningRateScheduler: ("schedule",),
    keras.callbacks.ModelCheckpoint: ("monitor",),
    keras.callbacks.ReduceLROnPlateau: (
        *("monitor", "mode", "factor", "patience", "min_delta", "cooldown", "min_lr"),
    ),
    keras.callbacks.SwapEMAWeights: ("swap_on_epoch",),
}
# Keras' own that only watch: with them or without, the same numbers come out.
WATCHERS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.History,
    keras.callbacks.LambdaCallback,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TensorBoard,
)
_WATCHERS = {kind.__name__ for kind in WATCHERS}
_MANY = ("data", "callbacks", "metrics", "weights", "rates", "multipliers", "settings", "stages")


def describe_compilation(model: keras.Model) -> dict[str, Any]:
    """What the model is compiled with, and what its layers are set to, by words.

    Args:
        model: A compiled and built model, at the beginning of a run.

    Returns:
        Word -> numbers, texts, lists and dicts of them, the same in each process.
    """
    given = keras_internals.compile_arguments(model)
    given |= {"jit_compile": bool(model.jit_compile), "run_eagerly": bool(model.run_eagerly)}
    optimizer = model.optimizer
    given.pop("optimizer", None)
    return {
        "optimizer": describe(optimizer),
        "learning rate": learning_rate(model),
        **{name.replace("_", " "): describe(value) for name, value in given.items()},
        "trainable variables": {key: bool(v.trainable) for key, v in _variables(model).items()},
        "learning-rate multipliers": rate_multipliers.described(optimizer, _variables(model)),
        "layer settings": {
            f"{number} {type(place.layer).__name__}": describe(place.layer)
            for number, place in enumerate(graph.walk(model))
            if not isinstance(place.layer, keras.Model)
        },
    }


def learning_rate(model: keras.Model) -> Any:
    """The rate as it is now: a number, or the config of a schedule."""
    return describe(rate_multipliers.innermost(model.optimizer).get_config()["learning_rate"])


def _variables(model: keras.Model) -> dict[str, Any]:
    """The weights by names that no other model made before them has any part in."""
    return {f"{number} {v.name}": v for number, v in enumerate(model.weights)}


def describe_callbacks(callbacks: list[Any]) -> list[Any]:
    """A row for each callback but watchers: its class, and what it does to training."""
    return [_callback(callback) for callback in callbacks if type(callback) not in WATCHERS]


def _without_watchers(facts: Any) -> Any:
    """Facts of a file without rows of watchers, which files of earlier versions have."""
    if isinstance(facts, list):
        return [_without_watchers(part) for part in facts]
    if not isinstance(facts, dict):
        return facts
    rows = {key: _without_watchers(part) for key, part in facts.items()}
    if isinstance(rows.get("callbacks"), list):
        rows["callbacks"] = [
            row
            for row in rows["callbacks"]
            if not (isinstance(row, dict) and row.get("class") in _WATCHERS)
        ]
    return rows


def _callback(callback: Any) -> dict[str, Any]:
    said = protocol.training_settings(callback)
    if said is None:
        names = _SETTINGS.get(type(callback), ())
        said = {name: getattr(callback, name, None) for name in names}
        if "min_delta" in said:  # Keras turns its sign when it finds out what is better.
            said["min_delta"] = abs(said["min_delta"])
    return {"class": type(callback).__name__, **describe(said)}


def differences(known: Any, mine: Any, name: str = "") -> list[str]:
    """Where two descriptions differ, in words: `loss: 'mae' instead of 'mse'`; empty if nowhere."""
    if isinstance(known, dict) and isinstance(mine, dict):
        keys: list[Any] = list(dict.fromkeys([*known, *mine]))
        rows = [(f"{name} {key}", known.get(key), mine.get(key)) for key in keys]
    elif isinstance(known, list) and isinstance(mine, list) and len(known) == len(mine):
        pairs = zip(known, mine, strict=True)
        rows = [(f"{name} {n}", a, b) for n, (a, b) in enumerate(pairs, start=1)]
    else:
        what = f"{name.strip()}: {_short(mine)} instead of {_short(known)}"
        return [] if known == mine else [what]
    return [row for key, a, b in rows for row in differences(a, b, key)]


def check_same(known: dict[str, Any], mine: dict[str, Any], name: str, of: Any) -> None:
    """Raises if a run would go on with other settings than it began with.

    Args:
        known: What the run began with, by words.
        mine: What it would go on with.
        name: The argument that the run came by.
        of: What was given there.

    Raises:
        ValueError: If anything differs; the message has what.
    """
    known = _without_watchers(known)
    found = differences(known, mine)
    if not found:
        return
    word = next(k for k in dict.fromkeys([*known, *mine]) if differences(known.get(k), mine.get(k)))
    other = "other" if word.endswith(_MANY) else "another"
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    raise ValueError(
        f"`{name}` is of a run with {other} {word}. Give what that run had, or begin anew without "
        f"`{name}`. Received: {name}={of!r}, with {'; '.join(found[:3])}{more}"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
