"""From where does the pretrained model come? `load_backbone` picks the reader."""

import os
from typing import Any

import keras

from finetunekit.backbones import applications, builtin, files
from finetunekit.messages import closest, listed, plural, say
from finetunekit.metadata import InputContract, of, remember

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
) -> keras.Model:
    """Loads a pretrained model, as a new model, from a file or by its name.

    Files come whole, as in `keras.models.load_model`; a file that `finetunekit.save` wrote gives
    its backbone; named models come without their classifier and take raw RGB pixels of 0 to 255,
    whatever the family. What was loaded is logged, with what to feed it.

    Args:
        source: A `.keras`, `.h5` or `.hdf5` file in Keras 3 format; a name of keras.applications,
            such as `"resnet50"`; `"builtin:mobilenet_v2"`, which needs no download; or a
            `keras.Model`, which is returned as it is.
        include_top: For names, whether the classifier comes too; `"auto"` means no.
        input_shape: For names, height, width and channels; None for any size.
        weights: For names, `"pretrained"`, None for random ones, or the path of a weight file.
        preprocessing: For names, `"inside"` if the model shall take raw pixels, `"outside"` if
            you normalise them.
        dtype: For names, a dtype policy such as `"mixed_bfloat16"`.
        custom_objects: For files, name -> class or function that the file needs.
        safe_mode: For files, whether to refuse those that hold code (Lambda layers).

    Returns:
        A `keras.Model`, not compiled; of spatial features `(batch, rows, columns, channels)` for
        named models without top.

    Raises:
        ValueError: If the source is unknown, damaged or does not take an option given.
        OSError: If a file is not there or cannot be read, or weights cannot be downloaded.
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
    _check_options(include_top, preprocessing)
    if isinstance(source, keras.Model):
        _refuse(named | {"custom_objects": custom_objects, "safe_mode": safe_mode}, "a model")
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "`source` must be a path, a name or a keras.Model. "
            f"Received: source={source!r} (a {type(source).__name__})"
        )
    text = os.fspath(source)
    if text.lower().endswith(_FILE_ENDINGS) or (os.path.exists(text) and not _is_name(text)):
        _refuse(named, "a file")
        model = files.read(text, custom_objects=custom_objects, safe_mode=safe_mode)
    else:
        _refuse({"custom_objects": custom_objects, "safe_mode": safe_mode}, "a name")
        model = _named(text, named)
    _report(model, text)
    return model


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
}


def _refuse(options: dict[str, Any], kind: str) -> None:
    """An option without effect is an error, not silence."""
    given = {name: value for name, value in options.items() if value != _DEFAULTS[name]}
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
            f"`source` is no file that is there and no known name. {closest(name, names)}"
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
        "weights": options["weights"] and builtin.SOURCE_FILE,
        "sha256": options["weights"] and builtin.WEIGHTS_SHA256,
    }
    _describe(model, origin, options["preprocessing"], (-2.2, 2.7), (224, 224))
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
        "weights": options["weights"] and str(options["weights"]),
        "keras_version": keras.__version__,
    }
    _describe(
        model, origin, options["preprocessing"], applications.RANGES[applications.mode(function)]
    )
    return model


def _describe(
    model: keras.Model,
    origin: dict[str, Any],
    preprocessing: str,
    outside_range: tuple[float, float],
    size: tuple[int, int] | None = None,
) -> None:
    inside = preprocessing == "inside"
    contract = InputContract(
        value_range=(0.0, 255.0) if inside else outside_range,
        size=size,
        preprocessing=preprocessing,
        note="raw RGB pixels of 0 to 255" if inside else "pixels normalised by yourself",
    )
    ours = [layer.name for layer in model.layers if layer.name == "preprocessing"]
    remember(model, contract=contract, origin=origin, preprocessing_layers=tuple(ours))


def _report(model: keras.Model, source: str) -> None:
    known = of(model)
    feed = f"; feed it {known.contract.note}" if known.contract else ""
    digest = known.origin.get("sha256")
    say(
        f"loaded {model.name!r} from {source}"
        + (f" (sha256 {digest[:12]}...)" if digest else "")
        + f": {plural(model.count_params(), 'parameter')}, input {_shapes(model.inputs)}, "
        f"output {_shapes(model.outputs)}{feed}"
        if getattr(model, "inputs", None)
        else f"loaded {model.name!r} from {source}: {plural(model.count_params(), 'parameter')}"
    )


def _shapes(tensors: Any) -> str:
    return " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
