"""Reader of `model.json`, the graph alone as `model.to_json` gives it, with a file of weights."""

import json
import math
import os
from typing import Any

import keras

from finetunekit.backbones import keras2
from finetunekit.backbones.readers import LoadOptions, SourceReader
from finetunekit.backbones.weights import load_weights
from finetunekit.foundation import contents, file_kinds, hashing, keras_internals, paths
from finetunekit.foundation.causes import cause_of
from finetunekit.foundation.messages import listed
from finetunekit.models import file_configs, keras3_files, load_errors, metadata

_YAML = (".yaml", ".yml")
ENDINGS = (".json", *_YAML)
_LARGEST = 256 * 2**20
# What weights may take of memory: the bytes of their file, packed at most so much.
_MOST_PACKED = 50
_FREE_BYTES = 64 * 2**20


def read(source: str, options: LoadOptions) -> keras.Model:
    """Rebuilds a model of its config and fills in its weights, all of them.

    Raises:
        ValueError: If it is no config of a model, or the weights do not belong to it.
        OSError: If one of the files is not there or cannot be read.
    """
    path = paths.check_source(source, "source")
    config = _config(path)
    weights = _weights_path(path, options.weights)
    if "keras_version" in config or "module" not in config:
        model, context = keras2.read_parts(
            config,
            path,
            weights,
            custom_objects=options.custom_objects,
            safe_mode=options.safe_mode,
        )
        version = context.keras_version
        changes = {"dropped": context.dropped, "converted": context.converted}
    else:
        model, version, changes = _of_keras3(path, config, weights, options), "", {}
    written = f"Keras {version}" if version else None
    origin = {
        "source": os.path.basename(path),
        "sha256": hashing.file_digest(path),
        "format": "JSON and weights of Keras",
        "weights": os.path.basename(weights),
        "written_by": written,
        **changes,
    }
    metadata.remember(model, origin=origin)
    return model


def _parsed(path: str) -> Any:
    try:
        with open(path, encoding="utf-8-sig") as file:
            config = json.load(file)
        if isinstance(config, str):  # Scripts that wrote `json.dump(model.to_json(), file)`.
            config = json.loads(config)
        return config
    except (ValueError, RecursionError) as error:
        fault = contents.mistaken(path)
        remedy = (
            f"`source` {fault}."
            if fault
            else (f"`source` is not JSON ({error}). Write it anew: `model.to_json()`.")
        )
        raise ValueError(f"{remedy} Received: source={path!r}") from error


def _config(path: str) -> dict[str, Any]:
    if path.lower().endswith(_YAML):
        raise ValueError(
            "`source` is YAML, which could run code as Keras read it, and is not read any more. "
            "Load it in the program that wrote it and write `model.to_json()`. "
            f"Received: source={path!r}"
        )
    if os.path.getsize(path) > _LARGEST:
        raise ValueError(
            f"`source` is JSON of {os.path.getsize(path):,} bytes, which no model's config has. "
            f"Received: source={path!r}"
        )
    config = _parsed(path)
    if isinstance(config, dict) and {"class_name", "config"} <= set(config):
        return config
    keys = listed(list(config), 6) if isinstance(config, dict) else type(config).__name__
    raise ValueError(
        "`source` is JSON, but not what `model.to_json()` writes, which has 'class_name' and "
        f"'config'; it holds {keys}. If it is the config.json of Hugging Face, timm or KerasHub, "
        f"give its folder. Received: source={path!r}"
    )


def _weights_path(path: str, weights: Any) -> str:
    if not isinstance(weights, (str, os.PathLike)) or weights == "pretrained":
        folder = os.path.dirname(path) or "."
        there = sorted(name for name in os.listdir(folder) if name.endswith((".h5", ".hdf5")))
        raise ValueError(
            "`weights` must be the path of a file, as a config holds none: "
            f"`load_backbone({os.path.basename(path)!r}, weights='weights.h5')`. In its folder "
            f"there are {listed(there, 6) or 'no HDF5 files'}. Received: weights={weights!r}"
        )
    return paths.check_source(weights, "weights")


def _deserialized(path: str, config: Any, options: LoadOptions) -> Any:
    safe_mode = options.safe_mode
    given = file_configs.under_all_names(config, options.custom_objects)
    given |= file_configs.name_functions(config, given, path, "source", safe_mode=safe_mode)
    needs = load_errors.lacking(config, given)  # Keras empties the config as it reads it.
    try:
        with keras_internals.deferred_variables():
            return keras.saving.deserialize_keras_object(
                config, custom_objects=given, safe_mode=safe_mode
            )
    except Exception as error:  # Keras raises almost any type for a foreign config.
        raise ValueError(
            f"`source` cannot be loaded as the config of a model. {needs}{' ' * bool(needs)}Keras "
            f"says: {type(error).__name__}: {cause_of(error, 600)}. Received: source={path!r}"
        ) from error


def _of_keras3(path: str, config: Any, weights: str, options: LoadOptions) -> keras.Model:
    model = _deserialized(path, keras3_files.unlisted({**config, "compile_config": None}), options)
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "`source` must be the config of a built model; it is of a "
            f"{type(model).__name__}. Received: source={path!r}"
        )
    needed = sum(4 * math.prod(variable.shape) for variable in model.variables)
    held = os.path.getsize(weights)
    if needed > _MOST_PACKED * held + _FREE_BYTES:
        raise ValueError(
            f"`weights` is a file of {held:,} bytes, and the model needs {needed:,}. Give the file "
            f"that was written with the config. Received: weights={weights!r}"
        )
    for variable in model.variables:
        keras_internals.initialize_itself(variable)
    _fill(model, weights)
    return model


def _fill(model: keras.Model, weights: str) -> None:
    try:
        load_weights(model, weights)
    except (OSError, ValueError) as error:
        words = str(error).replace("`path`", "`weights`").replace("path=", "weights=")
        raise type(error)(words) from error


READER = SourceReader(
    kind="a config in JSON",
    accepts=lambda source: source.lower().endswith(ENDINGS) and not file_kinds.kind_of(source),
    options=frozenset({"custom_objects", "reference", "safe_mode", "weights"}),
    read=read,
)
