"""Sizes that a file's configuration declares, checked before memory is taken."""

import math
import os
import random
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.models import file_configs

# A look at the config alone may be wrong by this much: kernels larger than a layer's inputs, say.
_DOUBT = 16
# Beyond this a config is absurd, even where the model cannot be built to count exactly.
_ABSURD = 10_000
# What a model's weights may take of memory: the bytes of its file, packed at most so much.
_MOST_PACKED = 50
_FREE_BYTES = 64 * 2**20
_SIZES = ("units", "filters", "output_dim", "input_dim", "num_heads", "key_dim", "value_dim")


def check(path: str, name: str, *, custom_objects: Any, safe_mode: bool) -> None:
    """Raises for a whole-model file of Keras 3 whose model needs far more memory than it holds.

    The model is built without memory for its weights, but only if its config looks suspicious:
    that costs about a tenth of the loading.

    Args:
        path: A `.keras` or `.h5` file.
        name: The argument that the path came by, for the errors.
        custom_objects: As for loading.
        safe_mode: As for loading.

    Raises:
        ValueError: If the weights would take up far more than the file holds.
    """
    held = os.path.getsize(path)
    config = file_configs.read(path)
    if config is None:
        return
    guess = _guess(config)
    if guess <= _DOUBT * held:
        return
    needed = _needed(config, custom_objects, safe_mode)
    if needed is None and guess > _ABSURD * held + _FREE_BYTES:
        needed = 4 * guess
    if needed is not None and needed > _MOST_PACKED * held + _FREE_BYTES:
        raise ValueError(
            f"`{name}` is refused: its model needs {needed:,} bytes of memory, and the file holds "
            f"{held:,}. It is damaged or hostile: get it from its maker again. "
            f"Received: {name}={path!r}"
        )


def _needed(config: dict[str, Any], custom_objects: Any, safe_mode: bool) -> int | None:
    """The bytes of the weights; None if the model cannot be built, which Keras then says."""
    state = random.getstate()  # Building draws seeds; loading draws them again.
    try:
        with keras_internals.deferred_variables(), keras_internals.safe_mode_scope(safe_mode):
            model = _built(config, custom_objects, safe_mode)
        return sum(math.prod(v.shape) * _bytes(v.dtype) for v in model.variables)
    except Exception:  # A config may be wrong in any way.
        return None
    finally:
        random.setstate(state)


def _built(config: dict[str, Any], custom_objects: Any, safe_mode: bool) -> Any:
    if "module" not in config:  # HDF5 files of Keras 3 have the model's class by its name alone.
        sequential = config.get("class_name") == "Sequential"
        cls = keras.Sequential if sequential else keras.Model
        return cls.from_config(config["config"], custom_objects=custom_objects)
    uncompiled = {key: value for key, value in config.items() if key != "compile_config"}
    return keras.saving.deserialize_keras_object(
        uncompiled, custom_objects=custom_objects, safe_mode=safe_mode
    )


def _bytes(dtype: str) -> int:
    return 8 if "64" in dtype else 4


def _guess(config: Any) -> int:
    """About how many numbers the layers hold, by the sizes in the config alone."""
    own: list[int] = []
    widest = 1
    flattens = any(
        inner.get("class_name") in ("Flatten", "Reshape") for inner in file_configs.dicts(config)
    )
    for inner in file_configs.dicts(config):
        kernel = inner.get("kernel_size")
        factor = _product(kernel) if isinstance(kernel, (list, tuple)) else 1
        own += [_size(inner.get(key)) * factor for key in _SIZES]
        for key in ("batch_shape", "batch_input_shape"):
            shape = inner.get(key)
            if isinstance(shape, (list, tuple)) and shape:
                # All of a image meets one kernel only if it is flattened.
                widest = max(widest, _product(shape if flattens else shape[-1:]))
    return sum(own) * max([widest, *own])


def _size(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _product(values: Any) -> int:
    return math.prod(value for value in values if isinstance(value, int) and value > 0)
