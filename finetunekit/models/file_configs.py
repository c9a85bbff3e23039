"""Configs of whole-model files of Keras 3, and how they take what the caller gives by name.

Keras knows a class by the package that it was registered in, `my>Foo`, and a function of a Lambda
layer not at all. So both are looked up here, by the class's own name and by the layer's.
"""

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py
import keras

from finetunekit.foundation import archives, bytecode
from finetunekit.foundation.messages import listed
from finetunekit.models import lambdas

_MEMBER = "config.json"
# Where Keras keeps what it finds by name alone.
_NAMESPACES = (
    keras.layers,
    keras.activations,
    keras.constraints,
    keras.dtype_policies,
    keras.initializers,
    keras.losses,
    keras.metrics,
    keras.models,
    keras.ops,
    keras.optimizers,
    keras.quantizers,
    keras.regularizers,
    keras,
)
_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp")


def read(path: str) -> dict[str, Any] | None:
    """The model's config; None if it cannot be read, which Keras then says."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read(_MEMBER))
        else:
            with h5py.File(path, "r") as file:
                config = json.loads(file.attrs["model_config"])
    except (*archives.DAMAGED, OSError, KeyError, TypeError):
        return None
    return config if isinstance(config, dict) else None


def dicts(config: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries inside a config, itself included."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += reversed(value.values())
        elif isinstance(value, list):
            waiting += reversed(value)


def objects(config: Any) -> Iterator[dict[str, Any]]:
    """The objects that a config describes: layers, initializers, functions and so on, in order."""
    for value in dicts(config):
        if isinstance(value.get("class_name"), str) and "config" in value:
            yield value


def under_all_names(config: Any, given: dict[str, Any] | None) -> dict[str, Any]:
    """What was given, also under the registered names that the file has for the same classes."""
    if not given:
        return {}
    found = dict(given)
    shorts = {key.rpartition(">")[2]: value for key, value in given.items()}
    for entry in objects(config):
        for name in _names(entry):
            short = name.rpartition(">")[2]
            if (
                name not in found
                and short in shorts
                and keras.saving.get_registered_object(name) is None
            ):
                found[name] = shorts[short]
    return found


def _names(entry: dict[str, Any]) -> list[str]:
    """The names that Keras may look an object up by."""
    names = [entry["class_name"], entry.get("registered_name")]
    if entry["class_name"] == "function":
        names = [entry["config"], entry.get("registered_name")]
    return [name for name in names if isinstance(name, str) and name != "function"]


def unknown(config: Any, given: dict[str, Any] | None) -> list[str]:
    """The names of the classes and functions that neither Keras nor the caller has, in order."""
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key != "compile_config"}
    known = under_all_names(config, given)
    found = [entry for entry in objects(config) if not _is_known(entry, known)]
    return list(
        dict.fromkeys(_names(entry)[0].rpartition(">")[2] for entry in found if _names(entry))
    )


def _is_known(entry: dict[str, Any], given: dict[str, Any]) -> bool:
    names = _names(entry)
    if any(name in given or keras.saving.get_registered_object(name) for name in names):
        return True
    if entry["class_name"].startswith("__"):  # Tensors, slices and the like.
        return True
    module = entry.get("module")
    if isinstance(module, str) and module.partition(".")[0] in _PACKAGES:
        return True
    return any(hasattr(space, name) for name in names[:1] for space in _NAMESPACES)


def lambda_layers(config: Any) -> list[dict[str, Any]]:
    """The configs of a file's Lambda layers, each with its name and its function."""
    return [
        entry["config"]
        for entry in objects(config)
        if entry["class_name"] == "Lambda"
        and isinstance(entry["config"], dict)
        and isinstance(entry["config"].get("name"), str)
        and "function" in entry["config"]
    ]


def is_bytecode(stored: Any) -> bool:
    """Whether a function of a config is bytecode, rather than a name."""
    return isinstance(stored, list) or (
        isinstance(stored, dict) and stored.get("class_name") == "__lambda__"
    )


@contextlib.contextmanager
def with_given(
    path: str, name: str, custom_objects: dict[str, Any] | None, *, safe_mode: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A file, or a temporary copy, whose config refers to what the caller gave by other names.

    Args:
        path: The file.
        name: The argument that the path came by, for the errors.
        custom_objects: Name -> class or function; a Lambda's function by the name of its layer.
        safe_mode: Whether bytecode is left to Keras, which refuses it; else it is checked first.

    Yields:
        The path to load from, and the objects to load with.

    Raises:
        ValueError: If it holds bytecode that this Python cannot run, or a name fits two layers.
    """
    config = read(path) if custom_objects or not safe_mode else None
    if config is None:
        yield path, dict(custom_objects or {})
        return
    known = under_all_names(config, custom_objects)
    functions = name_functions(config, known, path, name, safe_mode=safe_mode)
    if not functions:
        yield path, known
        return
    with tempfile.TemporaryDirectory(prefix="finetunekit-") as folder:
        place = os.path.join(folder, os.path.basename(path))
        copy(path, place, config)
        yield place, known | functions


def name_functions(
    config: Any, known: dict[str, Any], path: str, name: str, *, safe_mode: bool
) -> dict[str, Any]:
    """Puts names into the config in place of functions, and gives the functions by these names.

    Args:
        config: The config, which is changed.
        known: What `under_all_names` gave.
        path: The file that it is of, for the errors.
        name: The argument that the path came by.
        safe_mode: As for `with_given`.

    Raises:
        ValueError: As `with_given` does.
    """
    found = {}
    layers = lambda_layers(config)
    _check_nameless(layers, known, path, name)
    for layer in layers:
        function = known.get(layer["name"])
        stored = layer["function"]
        if function is None and not safe_mode and is_bytecode(stored):
            function = _trusted(stored, layer["name"], known, path, name)
        if callable(function) and not isinstance(function, type):
            key = f"finetunekit.lambda.{layer['name']}"
            found[key] = function
            layer["function"] = {
                "module": "builtins",
                "class_name": "function",
                "config": key,
                "registered_name": key,
            }
            if is_bytecode(layer.get("output_shape")) and not _is_shape(layer["output_shape"]):
                layer["output_shape"] = None
    return found


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(part is None or isinstance(part, int) for part in value)


def _trusted(stored: Any, layer: str, known: dict[str, Any], path: str, name: str) -> Any:
    try:
        return lambdas.function_from(
            stored.get("config") if isinstance(stored, dict) else stored, known
        )
    except bytecode.Foreign as error:
        raise ValueError(
            f"`{name}` holds Python bytecode for layer {layer!r}, a Lambda, which cannot be run: "
            f"{error}. Give the function by the layer's name: "
            f"custom_objects={{{layer!r}: lambda x: ...}}. Received: {name}={path!r}"
        ) from error


def _check_nameless(
    layers: list[dict[str, Any]], known: dict[str, Any], path: str, name: str
) -> None:
    """Raises where one function would stand for several that have no name of their own."""
    for nameless in set(lambdas.NAMELESS) & set(known):
        meant = [
            layer["name"]
            for layer in layers
            if isinstance(layer["function"], dict)
            and layer["function"].get("config") == nameless
            and layer["name"] not in known
        ]
        if len(meant) > 1:
            raise ValueError(
                f"`{name}` has {len(meant)} Lambda layers whose functions are all called "
                f"{nameless!r}. Give each by the name of its layer, of {listed(meant)}: "
                f"custom_objects={{{meant[0]!r}: lambda x: ..., ...}}. Received: {name}={path!r}"
            )


def copy(path: str, place: str, config: dict[str, Any]) -> None:
    """A copy of a `.keras` or HDF5 file, with another config."""
    text = json.dumps(config)
    if not zipfile.is_zipfile(path):
        shutil.copyfile(path, place)
        with h5py.File(place, "r+") as file:
            file.attrs["model_config"] = text
        return
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(place, "w") as sink:
        for member in source.infolist():
            if member.filename == _MEMBER:
                sink.writestr(_MEMBER, text)
                continue
            with source.open(member) as old, sink.open(member, "w", force_zip64=True) as new:
                shutil.copyfileobj(old, new, 2**20)
