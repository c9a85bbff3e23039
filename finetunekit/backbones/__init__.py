"""Where does the pretrained model come from? `load_backbone` selects the reader."""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import keras

from finetunekit.backbones import (
    applications,
    builtin,
    checkpoints,
    contract,
    files,
    handles,
    hub,
    report,
    saved_model,
    torch_models,
)
from finetunekit.backbones.handles import download
from finetunekit.foundation import hashing
from finetunekit.foundation.messages import closest, listed, say
from finetunekit.models.metadata import InputContract, of, remember

_BUILTIN = "builtin:mobilenet_v2"
_FILE_ENDINGS = (".keras", ".h5", ".hdf5")


def load_backbone(
    source: str | os.PathLike[str] | keras.Model,
    *,
    include_top: bool | str = "auto",
    input_shape: tuple[int | None, ...] | None = None,
    weights: Any = "pretrained",
    preprocessing: str = "inside",
    dtype: str | None = None,
    custom_objects: dict[str, Any] | None = None,
    safe_mode: bool = True,
    signature: str | None = None,
    reference: tuple[Any, Any] | None = None,
) -> keras.Model:
    """Loads a pretrained model, as a new model, from a file, a SavedModel or by its name.

    Files are loaded as a whole, as by `keras.models.load_model`, those of Keras 2 rebuilt in Keras
    3; a file that `finetunekit.save` wrote gives its backbone; a SavedModel becomes one layer that
    trains; named models have no classifier and take raw RGB pixels of 0 to 255, whatever the
    family. What was loaded is logged, with the inputs that it expects; `load_report` has the
    details.

    Args:
        source: A `.keras`, `.h5` or `.hdf5` file of Keras 2 or 3; a SavedModel folder, a
            `.tar.gz` of one, its http(s) URL, or a handle on tfhub.dev or Kaggle; a folder with
            a config.json, of Hugging Face, timm or KerasHub, `"kerashub:PRESET"` or
            `"hf:ORGANISATION/NAME"`, which need `finetunekit[hub]`; a torch checkpoint
            (`.pth`, `.pt`, `.bin`, `.safetensors`) of an architecture of torchvision; a name of
            keras.applications, such as `"resnet50"`; `"builtin:mobilenet_v2"`, which needs no
            download; or a `keras.Model`, which is returned as it is.
        include_top: For names and checkpoints, whether to include the classifier; `"auto"` means
            no for names, and if it is there for checkpoints.
        input_shape: For names and checkpoints, height, width and channels; None for any size.
            For other channels than RGB, the first kernel is summed (1) or repeated and scaled.
        weights: For names, `"pretrained"`, None for random ones, or the path of a weight file.
        preprocessing: For names and checkpoints, `"inside"` if the model is to take raw pixels,
            `"outside"` if you normalise them.
        dtype: For names and presets, a dtype policy such as `"mixed_bfloat16"`.
        custom_objects: For files, name -> class or function that the file needs.
        safe_mode: For files and SavedModels, whether to refuse those that hold code: Lambda
            layers, and ops that are not known to be harmless.
        signature: For SavedModels, which function or signature to call; None for the model's own.
        reference: A batch and its known outputs, `(inputs, outputs)`, to compare the loaded
            model with.

    Returns:
        A `keras.Model`, not compiled; of spatial features `(batch, rows, columns, channels)` for
        named models without top.

    Raises:
        ValueError: If the source is unknown or corrupt, or does not accept a given option.
        OSError: If a file is missing or cannot be read, or weights cannot be downloaded.
        ImportError: If a preset or a folder with a config.json is given without KerasHub.
        TypeError: If the source is neither a path, a name nor a model.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(96, 96, 3))
        assert backbone.output_shape == (None, 3, 3, 1280)
        from_file = ftk.load_backbone("pretrained_model.h5")
        ```
    """
    named = {
        "include_top": include_top,
        "input_shape": input_shape,
        "weights": weights,
        "preprocessing": preprocessing,
        "dtype": dtype,
    }
    for_files = {"custom_objects": custom_objects, "safe_mode": safe_mode}
    for_saved = {"signature": signature}
    _check_options(include_top, preprocessing)
    if isinstance(source, keras.Model):
        _refuse(named | for_files | for_saved | {"reference": reference}, "a model")
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "`source` must be a path, a name or a keras.Model. "
            f"Received: source={source!r} (a {type(source).__name__})"
        )
    text = os.fspath(source)
    if hub.is_preset(text):
        others = {name: value for name, value in named.items() if name != "dtype"}
        _refuse(others | for_files | for_saved, "a preset or a folder with a config.json")
        model = hub.read(text, dtype=dtype)
    elif text.lower().endswith(checkpoints.ENDINGS):
        others = {name: named[name] for name in ("weights", "dtype")}
        _refuse(others | for_files | for_saved, "a torch checkpoint")
        model = _checkpoint(text, named)
    elif handles.is_handle(text) or (os.path.isdir(text) and not _is_name(text)):
        _refuse(named | {"custom_objects": custom_objects}, "a SavedModel")
        model = _saved_model(text, safe_mode, signature)
    elif text.lower().endswith(_FILE_ENDINGS) or (os.path.exists(text) and not _is_name(text)):
        _refuse(named | for_saved, "a file")
        model = files.read(text, custom_objects=custom_objects, safe_mode=safe_mode)
    else:
        _refuse(for_files | for_saved, "a name")
        model = _named(text, named)
    if of(model).contract is None:
        remember(model, contract=contract.infer(model))
    if reference is not None:
        report.note(model, parity=report.check_parity(model, reference))
    say(report.line(report.load_report(model)))
    return model


def _checkpoint(source: str, options: dict[str, Any]) -> keras.Model:
    state = checkpoints.read(source)
    how = {name: options[name] for name in ("include_top", "input_shape", "preprocessing")}
    model, architecture = torch_models.build(state, source, **how)
    origin = {
        "source": os.path.basename(source),
        "sha256": hashing.file_digest(source),
        "format": f"torch checkpoint, {architecture}",
    }
    _describe(model, origin, torch_models.contract(state, options["preprocessing"]))
    return model


def _saved_model(source: str, safe_mode: bool, signature: str | None) -> keras.Model:
    found = handles.resolve(source, "source")
    model = saved_model.read(
        found.folder, safe_mode=safe_mode, signature=signature, name=_short_name(source)
    )
    shown = download.shown(source) if "://" in source else os.path.basename(source.rstrip("/"))
    report.note(model, source=shown, format="SavedModel")
    if found.sha256:
        report.note(model, sha256=found.sha256)
    return model


def _short_name(source: str) -> str:
    """What to call the model of a SavedModel: the last part of its handle, numbers with a word."""
    parts = [part for part in urlsplit(source).path.rstrip("/").split("/") if part]
    parts = parts or [os.path.basename(os.path.abspath(source))]
    name = "_".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])
    return re.sub(r"(\.tar\.gz|\.tgz|\.tar)$", "", name, flags=re.IGNORECASE)


def _is_name(source: str) -> bool:
    return source == _BUILTIN or applications.constructor(source) is not None


def _check_options(include_top: Any, preprocessing: Any) -> None:
    if include_top not in ("auto", True, False):
        raise ValueError(
            f"`include_top` must be 'auto', True or False. Received: include_top={include_top!r}"
        )
    if preprocessing not in ("inside", "outside"):
        raise ValueError(
            "`preprocessing` must be 'inside' (raw pixels in) or 'outside'. "
            f"Received: preprocessing={preprocessing!r}"
        )


_DEFAULTS = {
    "include_top": "auto",
    "input_shape": None,
    "weights": "pretrained",
    "preprocessing": "inside",
    "dtype": None,
    "custom_objects": None,
    "safe_mode": True,
    "signature": None,
    "reference": None,
}


def _refuse(options: dict[str, Any], kind: str) -> None:
    """Raises for an option that would have no effect."""
    given = {
        name: value
        for name, value in options.items()
        if type(value) is not type(_DEFAULTS[name]) or value != _DEFAULTS[name]
    }
    if given:
        name, value = next(iter(given.items()))
        raise ValueError(
            f"`{name}` has no effect when the source is {kind}; leave it out. "
            f"Received: {name}={value!r}"
        )


def _named(name: str, options: dict[str, Any]) -> keras.Model:
    function = applications.constructor(name)
    if name != _BUILTIN and function is None:
        names = [_BUILTIN, *(f.__name__ for f in applications.constructors().values())]
        raise ValueError(
            f"`source` is neither an existing file nor a known name. {closest(name, names)}"
            f"Names are {listed(names, 6)}; files end in {listed(_FILE_ENDINGS)}. "
            f"Received: source={name!r}"
        )
    policy = keras.config.dtype_policy()
    try:
        if options["dtype"] is not None:
            keras.config.set_dtype_policy(_policy(options["dtype"]))
        model = _builtin(options) if function is None else _application(function, options)
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def _policy(dtype: Any) -> Any:
    try:
        return keras.dtype_policies.get(dtype)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`dtype` must be the name of a dtype policy, such as 'float32' or 'mixed_bfloat16'. "
            f"Received: dtype={dtype!r}"
        ) from error


def _builtin(options: dict[str, Any]) -> keras.Model:
    model = builtin.build_mobilenet_v2(
        input_shape=options["input_shape"] or (None, None, 3),
        weights=options["weights"],
        preprocessing=options["preprocessing"],
        include_top=options["include_top"] is True,
    )
    origin = {
        "source": _BUILTIN,
        "format": "built-in",
        "weights": options["weights"] and builtin.SOURCE_FILE,
        "sha256": options["weights"] and builtin.WEIGHTS_SHA256,
    }
    _describe(model, origin, applications.contract("torch", options["preprocessing"], (224, 224)))
    return model


def _application(function: Any, options: dict[str, Any]) -> keras.Model:
    model = applications.build(
        function,
        include_top=options["include_top"] is True,
        input_shape=options["input_shape"],
        weights=options["weights"],
        preprocessing=options["preprocessing"],
    )
    origin = {
        "source": f"keras.applications.{function.__name__}",
        "format": "keras.applications",
        "weights": options["weights"] and str(options["weights"]),
        "keras_version": keras.__version__,
    }
    how = applications.outer_mode(function)
    _describe(model, origin, applications.contract(how, options["preprocessing"]))
    return model


def _describe(model: keras.Model, origin: dict[str, Any], contract: InputContract) -> None:
    depth = model.input_shape[-1]
    if depth != 3:
        contract = applications.for_channels(contract, depth)
    ours = [layer.name for layer in model.layers if layer.name == "preprocessing"]
    remember(model, contract=contract, origin=origin, preprocessing_layers=tuple(ours))
