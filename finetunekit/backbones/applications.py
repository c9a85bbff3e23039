"""The models of keras.applications, and how raw pixels are preprocessed for each.

Half of the families normalise pixels inside the model, half leave it to the caller; here all take
raw RGB pixels of 0 to 255, unless asked otherwise.
"""

import dataclasses
import inspect
import os
import warnings
from typing import Any

import keras

from finetunekit.backbones import channels
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import plural
from finetunekit.models import data_formats, metadata

# How a family wants its pixels, by the beginning of the name; the first match counts. "inside"
# means that the model of Keras does it itself.
_MODES = (
    ("mobilenetv3", "inside"),
    ("efficientnet", "inside"),
    ("convnext", "inside"),
    ("resnet50v2", "tf"),
    ("resnet101v2", "tf"),
    ("resnet152v2", "tf"),
    ("resnet", "caffe"),
    ("vgg", "caffe"),
    ("densenet", "torch"),
    ("mobilenet", "tf"),
    ("inception", "tf"),
    ("xception", "tf"),
    ("nasnet", "tf"),
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
RANGES = {"inside": (0.0, 255.0), "tf": (-1.0, 1.0), "torch": (-2.2, 2.7), "caffe": (-124.0, 152.0)}
# How those that normalise inside do it, by the beginning of the name; the first match counts.
# EfficientNet, which divides by more than a deviation, has no option to leave it out.
_MODES_INSIDE = (
    ("mobilenetv3", "tf"),
    ("efficientnetv2b", "torch"),
    ("efficientnetv2", "tf"),
    ("convnext", "torch"),
)


def constructors() -> dict[str, Any]:
    """`mobilenetv2` -> `keras.applications.MobileNetV2`, for all of them."""
    found = vars(keras.applications)
    return {
        _plain(name): function
        for name, function in found.items()
        if name[0].isupper() and callable(function)
    }


def constructor(source: str) -> Any | None:
    """The constructor that a name such as `"MobileNetV2"` or `"mobilenet_v2"` means, or None."""
    return constructors().get(_plain(source))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def mode(function: Any) -> str:
    """How the family expects its pixels: `"inside"`, `"tf"`, `"torch"` or `"caffe"`.

    Raises:
        ValueError: For a family that Keras has added since this table was made.
    """
    name = _plain(function.__name__)
    for start, how in _MODES:
        if name.startswith(start):
            return how
    raise ValueError(
        f"How keras.applications.{function.__name__} expects its pixels is unknown. Build it "
        "with Keras and pass the model itself as `source`. "
        f"Received: source={function.__name__!r}"
    )


def outer_mode(function: Any) -> str:
    """How the family expects its pixels if no layer of the model normalises them."""
    how = mode(function)
    if how != "inside":
        return how
    name = _plain(function.__name__)
    return next((row[1] for row in _MODES_INSIDE if name.startswith(row[0])), how)


def contract(
    how: str, preprocessing: str, size: tuple[int, int] | None = None
) -> metadata.InputContract:
    """The contract of a model that normalises pixels in this way."""
    inside = preprocessing == "inside"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    if how == "tf":
        mean = std = (127.5,) * 3
    elif how == "torch":
        mean, std = (tuple(255 * v for v in row) for row in (_IMAGENET_MEAN, _IMAGENET_STD))
    elif how == "caffe":
        # As the user passes them: a model that has it inside turns RGB into BGR itself.
        mean, std = _CAFFE_MEAN_BGR[:: -1 if inside else 1], (1.0,) * 3
    order = "bgr" if how == "caffe" and not inside else "rgb"
    return metadata.InputContract(
        value_range=(0.0, 255.0) if inside else RANGES[how],
        size=size,
        channel_order=order,
        preprocessing=preprocessing,
        note=(
            "raw RGB pixels of 0 to 255"
            if inside
            else f"{order.upper()} pixels that you normalise, (pixels - mean) / std, mean "
            f"{_rounded(mean)}, std {_rounded(std)}"
        ),
        dtype="float32",
        mean=mean,
        std=std,
    )


def for_channels(known: metadata.InputContract, count: int) -> metadata.InputContract:
    """The contract of a model that was built for another number of channels than three."""
    mean, std = (
        None if row is None else tuple(channels.averaged(row, count))
        for row in (known.mean, known.std)
    )
    note = (
        f"raw pixels of 0 to 255, of {plural(count, 'channel')}"
        if known.preprocessing == "inside"
        else f"pixels of {plural(count, 'channel')} that you normalise, (pixels - mean) / std, "
        f"mean {_rounded(mean)}, std {_rounded(std)}"
    )
    return dataclasses.replace(known, mean=mean, std=std, note=note, channel_order="")


def _rounded(row: Any) -> list[float]:
    return [round(value, 3) for value in row]


def build(
    function: Any,
    *,
    include_top: bool,
    input_shape: tuple[int | None, ...] | None,
    weights: Any,
    preprocessing: str,
) -> keras.Model:
    """Builds a new model of keras.applications, flat, with its preprocessing in front.

    Raises:
        ValueError: If the options do not fit the family.
        OSError: If its weights cannot be downloaded or read.
    """
    _check(function, input_shape, weights)
    how = mode(function)
    options = {"include_top": include_top, "input_shape": input_shape}
    others = input_shape is not None and data_formats.split_shape(input_shape)[1] != 3
    if how == "inside" and (preprocessing == "outside" or others):
        if "include_preprocessing" not in inspect.signature(function).parameters:
            given = ("input_shape", input_shape) if others else ("preprocessing", preprocessing)
            raise ValueError(
                f"keras.applications.{function.__name__} always normalises inside, for three "
                f"channels. Leave `{given[0]}` out. Received: {given[0]}={given[1]!r}"
            )
        options["include_preprocessing"] = False
        how = outer_mode(function)
    if others and weights is not None:
        model = _for_channels(function, weights, options, bgr=how == "caffe")
    else:
        model = _constructed(function, weights, options)
    if how == "inside" or preprocessing == "outside":
        return model
    inputs = keras.Input(model.input_shape[1:], name="image")
    outputs = keras_internals.run_through_graph(
        model, preprocess(inputs, how), lambda layer, *args, **kwargs: layer(*args, **kwargs)
    )
    return keras.Model(inputs, outputs, name=model.name)


def _for_channels(
    function: Any, weights: Any, options: dict[str, Any], *, bgr: bool
) -> keras.Model:
    """A pretrained model for other channels than RGB."""
    sides, wanted = data_formats.split_shape(options["input_shape"])

    def make(depth: int, pretrained: bool) -> keras.Model:
        shape = data_formats.join_shape(sides, depth)
        given = weights if pretrained else None
        return _constructed(function, given, options | {"input_shape": shape})

    return channels.with_channels(make, wanted, bgr=bgr)


def _check(function: Any, input_shape: Any, weights: Any) -> None:
    """Finds errors that Keras would report late, or as a failed download."""
    if input_shape is not None:
        is_shape = isinstance(input_shape, (tuple, list)) and len(input_shape) == 3
        sides, depth = data_formats.split_shape(input_shape) if is_shape else ((), None)
        fits = type(depth) is int and depth > 0
        if not fits or any(side is not None and not side >= 32 for side in sides):
            raise ValueError(
                f"`input_shape` must be {data_formats.order_text()}, with sides of at least 32 "
                f"pixels or None for any, such as {data_formats.join_shape((224, 224), 3)}. "
                f"Received: input_shape={input_shape!r}"
            )
    if weights not in ("pretrained", None) and not os.path.exists(weights):
        raise FileNotFoundError(
            "`weights` must be 'pretrained' (those of ImageNet), None for random ones, or the path "
            f"of a weight file for keras.applications.{function.__name__}. "
            f"Received: weights={weights!r}"
        )


def preprocess(pixels: Any, how: str) -> Any:
    """RGB pixels of 0 to 255 as the family expects them, by stock layers and ops.

    Of other channels nothing is known but what a pixel is on average.
    """
    axis = 1 if keras.config.image_data_format() == data_formats.FIRST else 3
    count = pixels.shape[axis]
    if how == "tf":
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(pixels)
    if how == "torch":
        mean, std = (channels.averaged(row, count) for row in (_IMAGENET_MEAN, _IMAGENET_STD))
        scale = data_formats.per_channel([1 / (255 * s) for s in std])
        offset = data_formats.per_channel([-m / s for m, s in zip(mean, std, strict=True)])
        return keras.layers.Rescaling(scale, offset, name="preprocessing")(pixels)
    bgr = pixels if count != 3 else pixels[:, ::-1] if axis == 1 else pixels[..., ::-1]
    offset = data_formats.per_channel([-mean for mean in channels.averaged(_CAFFE_MEAN_BGR, count)])
    scale = data_formats.per_channel([1.0] * count)
    return keras.layers.Rescaling(scale, offset, name="preprocessing")(bgr)


def _constructed(function: Any, weights: Any, options: dict[str, Any]) -> keras.Model:
    if weights == "pretrained":
        weights = "imagenet"
    try:
        with warnings.catch_warnings():
            # Four channels are meant: they are asked for.
            warnings.filterwarnings("ignore", message="This model usually expects")
            return function(weights=weights, **options)
    except ValueError:
        raise
    except Exception as error:  # `get_file` raises a bare Exception when a download fails.
        folder = os.path.join(
            os.environ.get("KERAS_HOME", os.path.join(os.path.expanduser("~"), ".keras")), "models"
        )
        raise OSError(
            f"The weights of keras.applications.{function.__name__} are not in {folder!r} and "
            f"cannot be downloaded ({str(error)[:200]}). Put the weight file into that folder on "
            "a machine with a connection, give its path as `weights`, or use "
            "'builtin:mobilenet_v2', which needs no download. "
            f"Received: source={function.__name__!r}, weights={weights!r}"
        ) from error
