"""The states of all generators of random numbers that a run may draw from."""

import random
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import keras_internals
from finetunekit.resuming.training_state import values_of


def of_random(mixers: list[Any]) -> dict[str, Any]:
    """The states of the process' generators, and of layers that mix batches."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "mixers": [values_of(keras_internals.seed_states(layer)) for layer in mixers],
        "global": of_global(),
    }


def put_into_random(state: dict[str, Any], mixers: list[Any]) -> None:
    """Puts back what `of_random` took."""
    for layer, values in zip(mixers, state["mixers"], strict=True):
        for variable, value in zip(keras_internals.seed_states(layer), values, strict=True):
            variable.assign(value)
    put_into_global(state["global"])  # It may draw from Python's to make a generator.
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])


def of_global() -> dict[str, Any]:
    """The states of the generators that steps draw from without a seed of their own."""
    keras_state, other = keras_internals.global_seed_state(), _tensorflow_generator()
    return {
        "keras": None if keras_state is None else values_of([keras_state])[0],
        "tensorflow": None if other is None else values_of([other.state])[0],
    }


def put_into_global(state: dict[str, Any]) -> None:
    """Puts back what `of_global` took, in place: traced functions hold the generators."""
    if state["keras"] is not None:
        keras_internals.global_seed_state(make=True).assign(state["keras"])
    other = _tensorflow_generator()
    if other is not None and state["tensorflow"] is not None:
        other.state.assign(state["tensorflow"])


def _tensorflow_generator() -> Any:
    """`tf.random`'s global generator; None without one."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    try:
        return tf.random.get_global_generator()
    except RuntimeError:  # Where operations must be deterministic, the user has to make it.
        return None
