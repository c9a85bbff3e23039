"""`load_backbone`: the reader of a source is selected, and what it read is described."""

import os
from typing import Any

import keras

from finetunekit.backbones import (
    config_files,
    contract,
    files,
    hub,
    hub_names,
    names,
    readers,
    report,
)
from finetunekit.backbones.readers import LoadOptions
from finetunekit.backbones.saved_model import reader as saved_models
from finetunekit.backbones.torch_models import reader as torch_checkpoints
from finetunekit.foundation.messages import closest, listed, say
from finetunekit.models.metadata import of, remember

# In the order in which they are asked, after all that others may have registered already.
for _row in (
    readers.MODEL,
    hub.READER,
    torch_checkpoints.READER,
    names.READER,
    saved_models.READER,
    config_files.READER,
    files.READER,
):
    readers.register(_row, last=True)


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
    state_dict: str | None = None,
    name: str | None = None,
) -> keras.Model:
    """Loads a pretrained model, as a new model, from a file, a SavedModel or by its name.

    Files are loaded as a whole, as by `keras.models.load_model`, those of Keras 2 rebuilt in Keras
    3; a file that `finetunekit.save` wrote gives its backbone; a SavedModel becomes one layer that
    trains; named models have no classifier and take raw RGB pixels of 0 to 255, whatever the
    family. What was loaded is logged, with the inputs that it expects; `load_report` has the
    details.

    Args:
        source: A `.keras`, `.h5` or `.hdf5` file of any Keras, or the `.json` of `model.to_json`,
            with `weights=`; a SavedModel folder, a
            `.tar.gz` of one, its http(s) URL, or a handle on tfhub.dev or Kaggle; a folder with
            a config.json, of Hugging Face, timm or KerasHub, `"kerashub:PRESET"` or
            `"hf:ORGANISATION/NAME"`, which need `finetunekit[hub]`; a torch checkpoint
            (`.pth`, `.pt`, `.bin`, `.safetensors`) of an architecture of torchvision; a name of
            keras.applications, such as `"resnet50"`; `"builtin:mobilenet_v2"`, which needs no
            download; or a `keras.Model`, which is returned as it is.
        include_top: Whether to include the classifier: `"auto"` means no for names, and yes for
            files, checkpoints and models that end in one. Presets and SavedModels have no choice.
        input_shape: For names and checkpoints, height, width and channels; None for any size.
            For other channels than RGB, the first kernel is summed (1) or repeated and scaled.
        weights: For names, `"pretrained"`, None for random ones, or the path of a weight file; for
            a `.json` file, the path of its weights.
        preprocessing: For names and checkpoints, `"inside"` if the model is to take raw pixels,
            `"outside"` if you normalise them.
        dtype: For names and presets, a dtype policy such as `"mixed_bfloat16"`.
        custom_objects: For files, name -> class or function that the file needs; the function of
            a Lambda layer by the name of the layer.
        safe_mode: For files and SavedModels, whether to refuse those that hold code, or take
            what is in another file: Lambda layers, and ops that are not known to be harmless.
        signature: For SavedModels, which function or signature to call; None for the model's own.
        reference: A batch and its known outputs, `(inputs, outputs)`, to compare the loaded
            model with.
        state_dict: For torch checkpoints that hold several state dicts, the key of one, or of a
            part of it, such as `"state_dict"` or `"model.student.backbone"`. By default the only
            one; of raw and averaged weights of the same model, the averaged ones.
        name: A name for the model, such as where two copies are to stand in one model; None for
            its own. A `keras.Model` keeps its name.

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
    options = LoadOptions(
        include_top=include_top,
        input_shape=input_shape,
        weights=weights,
        preprocessing=preprocessing,
        dtype=dtype,
        custom_objects=custom_objects,
        safe_mode=safe_mode,
        signature=signature,
        reference=reference,
        state_dict=state_dict,
    )
    given = os.fspath(source) if isinstance(source, os.PathLike) else source
    reader = readers.reader_of(given)
    if reader is None:
        raise _unknown(source)
    reader.refuse_others(options)
    _check_name(name, source)
    model = reader.read(given, options)
    if model is source:
        return model
    model.name = name or model.name
    if not of(model).origin:
        report.note(model, **reader.origin(given))
    if of(model).contract is None:
        remember(model, contract=contract.infer(model))
    if reference is not None:
        report.note(model, parity=report.check_parity(model, reference))
    say(report.line(report.load_report(model)))
    return model


def _check_name(name: Any, source: Any) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(
            "`name` must be a name without slashes, such as 'left', or None. "
            f"Received: name={name!r}"
        )
    if isinstance(source, keras.Model):
        raise ValueError(
            "`name` has no effect when the source is a model, which is never renamed; leave it "
            f"out. Received: name={name!r}"
        )


def _unknown(source: Any) -> Exception:
    if not isinstance(source, (str, os.PathLike)):
        return TypeError(
            "`source` must be a path, a name or a keras.Model. "
            f"Received: source={source!r} (a {type(source).__name__})"
        )
    name = os.fspath(source)
    hint = hub_names.hint(name) or closest(name, names.known())
    return ValueError(
        f"`source` is neither an existing file nor a known name. {hint}"
        f"Names are {listed(names.known(), 6)}; files end in {listed(files.ENDINGS)}. "
        f"Received: source={name!r}"
    )
