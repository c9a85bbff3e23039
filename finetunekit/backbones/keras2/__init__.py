"""The reader of whole models of Keras 1 and 2: rebuilt from the config, then given weights."""

import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import keras

from finetunekit.backbones import hdf5
from finetunekit.backbones.keras2 import (
    archive_weights,
    graphs,
    keras1,
    keras1_weights,
    layers,
    theano,
    vocabularies,
    weights,
)
from finetunekit.backbones.keras2.context import CHANGED, Built, Context
from finetunekit.backbones.keras2.conversions import Written
from finetunekit.foundation import keras_internals
from finetunekit.models import file_configs, graph

__all__ = ["is_keras2", "read", "read_parts"]


def is_keras2(version: str) -> bool:
    """Whether a file that this version of Keras wrote is of Keras 1, 2 or tf_keras."""
    return not version or version.startswith(("1.", "2."))


def read(
    path: str, name: str, *, custom_objects: Any = None, safe_mode: bool = True
) -> tuple[keras.Model, Context]:
    """Rebuilds the model of a file of Keras 1 or 2, as a new model of stock Keras layers.

    Args:
        path: An `.h5`, `.hdf5` or tf_keras `.keras` file.
        name: The argument that the path came by, for the errors.
        custom_objects: Name -> class or function that the file needs; a Lambda layer by its name,
            a TensorFlow function as `"tf.math.erfinv"`.
        safe_mode: Whether to refuse Python bytecode and paths of other files.

    Returns:
        The model, not compiled, and what was dropped and converted.

    Raises:
        ValueError: If a part of it cannot be rebuilt, with the layer's name and the remedy.
        OSError: If the file is damaged.
    """
    context = Context(path, name, dict(custom_objects or {}), safe_mode)
    with keras_internals.safe_mode_scope(safe_mode):
        return _read(path, context), context


def _read(path: str, context: Context) -> keras.Model:
    if zipfile.is_zipfile(path):
        with _unpacked(path, context) as (config, file, archive):

            def fill(built: Built, group: h5py.Group, context: Context) -> None:
                vocabularies.load(built, archive, context)
                archive_weights.load(built, group, context)

            return _rebuilt(config, file, fill, context)
    name = context.name
    with hdf5.open_checked(path, name) as file:
        text = hdf5.attribute_text(file, "model_config", name=name)
        context.keras_version = hdf5.attribute_text(file, "keras_version", name=name) or ""
        group = hdf5.child(file, "model_weights", name=name) if _is_whole(file) else file
        return _rebuilt(_parsed(text or "", context), group, weights.load_hdf5, context)


def read_parts(
    config: Any,
    path: str,
    weights_path: str,
    *,
    custom_objects: Any = None,
    safe_mode: bool = True,
) -> tuple[keras.Model, Context]:
    """As `read`, of a model whose config and weights are in two files.

    Args:
        config: What `model.to_json()` gave in Keras 1 or 2, parsed.
        path: The file that it came from, for the errors.
        weights_path: The weights, or the whole model, as HDF5.
        custom_objects: As for `read`.
        safe_mode: As for `read`.
    """
    context = Context(path, "source", dict(custom_objects or {}), safe_mode)
    context.keras_version = str(config.get("keras_version") or "")
    context.written = (context.keras_version, config.get("backend"))
    with (
        keras_internals.safe_mode_scope(safe_mode),
        hdf5.open_checked(weights_path, "weights") as file,
    ):
        group = hdf5.child(file, "model_weights", name="weights") if _is_whole(file) else file
        tree = not any(key in group.attrs for key in ("layer_names", "layer_names0"))
        load = archive_weights.load if tree else weights.load_hdf5

        def fill(built: Built, group: h5py.Group, context: Context) -> None:
            context.name, context.path = "weights", weights_path
            load(built, group, context)

        return _rebuilt(config, group, fill, context), context


def _is_whole(file: h5py.File) -> bool:
    return "model_weights" in file


def _rebuilt(config: Any, group: h5py.Group, fill: Any, context: Context) -> keras.Model:
    context.keras1 = keras1.is_keras1(context.keras_version, config)
    if not isinstance(config, dict) or not layers.is_model(config, context):
        kind = config.get("class_name") if isinstance(config, dict) else config
        raise context.error(
            f"it holds a {kind!r}, not a Functional or Sequential model",
            "Build the model in Keras 3 and load its weights: `ftk.load_weights(model, path)`.",
        )
    context.by_theano = _is_by_theano(group, context)
    built = _built(config, group, context)
    model = built.layer
    if not model.built:
        raise context.error(
            f"the chain {model.name!r} was never called, so its input shape is not known",
            "Call it on a batch in tf_keras and save it again.",
        )
    try:
        fill(built, group, context)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise context.error(
            f"its weights are not stored as Keras stores them ({type(error).__name__}: {error})",
            CHANGED,
        ) from error
    _complete(model, built, context)
    _check_sizes(model, context)
    return model


def _is_by_theano(group: h5py.Group, context: Context) -> bool:
    """Whether Keras ran on Theano when it wrote the file."""
    written = Written.read([group, group.file], context.name, context.written)
    if written.backend is not None or not context.keras1:
        return written.backend == "theano"
    names = [
        key
        for layer in hdf5.attribute_list(group, "layer_names", name=context.name)
        for key in hdf5.attribute_list(
            hdf5.child(group, layer, name=context.name), "weight_names", name=context.name
        )
    ]
    return keras1_weights.by_theano(names)


def _built(config: dict[str, Any], group: h5py.Group, context: Context) -> Built:
    """The model with its graph, its variables without values."""
    try:
        if "layer_names" in group.attrs:
            names = hdf5.attribute_list(group, "layer_names", name=context.name)
            keras1.name_chains(config, names)
        if context.keras1:
            config = keras1.modern(config, context)
        _note_what_is_needed(config, context)
        with keras_internals.deferred_variables():
            return graphs.build_model(config, context)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise context.error(
            f"its configuration is not that of a Keras model ({type(error).__name__}: {error})",
            CHANGED,
        ) from error


def _note_what_is_needed(config: dict[str, Any], context: Context) -> None:
    """What the caller has given, under the names of this file, and what is missing."""
    context.custom_objects = file_configs.under_all_names(config, context.custom_objects)
    context.missing = layers.missing(config, context)
    context.bytecode = [
        layer["name"]
        for layer in file_configs.lambda_layers(config)
        if layer["name"] not in context.custom_objects
        and file_configs.is_bytecode(layer["function"])
    ]


def _complete(model: keras.Model, built: Built, context: Context) -> None:
    """Initializes the states of random layers and the like; no weight keeps a random value."""
    needed = {id(variable) for variable in weights.variables_of(model)}
    fixed = {id(v) for part in _all(built) for v in _of_config(part)}
    for variable in model.variables:
        if not keras_internals.is_initialized(variable):
            if id(variable) in needed - fixed:
                raise context.error(
                    f"it holds no value of the weight {variable.path!r}",
                    CHANGED,
                )
            keras_internals.initialize_itself(variable)
    for part in _all(built):
        if part.frozen:  # Its inner layers did not exist, or not yet with weights.
            part.layer.trainable = False
        if isinstance(part.layer, keras.layers.Normalization):
            part.layer.finalize_state()
    vocabularies.tell_empty(built)


def _check_sizes(model: keras.Model, context: Context) -> None:
    """Raises where other pixels come out than in the program that wrote the file."""
    if context.by_theano:
        theano.check_padding(model, context)
    for layer in graph.with_descendants([model]):
        # A chain that pads or crops stands before the layer of its name that is in it.
        wanted = context.output_shapes.pop(layer.name, None)
        if wanted and wanted[1:] != _sizes(layer):
            raise context.error(
                f"layer {layer.name!r}, a transposed convolution, gives {_sizes(layer)}, and gave "
                f"{wanted[1:]} in Keras 1",
                "Build the model in Keras 3 with `output_padding=` and load the weights: "
                "`ftk.load_weights(model, path)`.",
            )


def _sizes(layer: Any) -> tuple[int | None, ...]:
    """The sizes of a layer's output, without the batch's; none if it was called several times."""
    try:
        return tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):
        return ()


def _of_config(part: Built) -> list[Any]:
    """Variables whose values are in the config: the statistics of a Normalization layer."""
    return part.layer.weights if isinstance(part.layer, keras.layers.Normalization) else []


def _all(built: Built) -> Iterator[Built]:
    yield built
    for part in built.below:
        yield from _all(part)


def _parsed(text: str | bytes, context: Context) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise context.error(
            f"its configuration is not JSON ({error})",
            CHANGED,
        ) from error


@contextmanager
def _unpacked(path: str, context: Context) -> Iterator[tuple[Any, h5py.File, zipfile.ZipFile]]:
    """The config and weights of a `.keras` archive, the latter through a temporary file; and it."""
    folder = tempfile.mkdtemp(prefix="finetunekit-")
    target = os.path.join(folder, "model.weights.h5")
    try:
        with zipfile.ZipFile(path) as archive:
            config = _parsed(archive.read("config.json"), context)
            context.keras_version = _parsed(archive.read("metadata.json"), context)["keras_version"]
            with archive.open("model.weights.h5") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            with hdf5.open_checked(target, context.name) as file:
                yield config, file, archive
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError) as error:
        raise context.error(
            f"the archive is damaged ({error})", "Get it again, or save it again."
        ) from error
    except (OSError, ValueError) as error:
        if target not in str(error):
            raise
        # The caller knows the archive, not the temporary file.
        raise type(error)(str(error).replace(target, path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
