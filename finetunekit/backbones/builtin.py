"""The built-in backbone: MobileNetV2 for ImageNet, so that no download is needed.

`mobilenet_v2.npz` beside this file holds torchvision's weights without the top (BSD 3-Clause
License, Copyright (c) Soumith Chintala 2016): kernels as float16, BatchNormalization as float32.
`tools/make_builtin_backbone.py` makes it from the original file.
"""

import hashlib
import io
from importlib import resources
from typing import Literal

import keras
import numpy as np

from finetunekit.backbones import channels
from finetunekit.models import data_formats

MEAN = (0.485, 0.456, 0.406)
"""Mean of the RGB channels that the weights were trained with, in units of 0..1."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of the RGB channels that the weights were trained with, in units of 0..1."""

SOURCE_FILE = "mobilenet_v2-b0353104.pth"
"""Name of the file of torchvision that the shipped weights were made from."""
SOURCE_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
WEIGHTS_FILE = "mobilenet_v2.npz"
WEIGHTS_SHA256 = "ad7c3c37029c12a6d0a61b94e0b1b18756a1e1bc7451252453c5185a573905bd"

# Table 2 of the paper: expansion, filters, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_SMALLEST = 32
_FIRST = "Conv1/kernel"
_REINSTALL = (
    "Reinstall the package: pip install --force-reinstall --no-deps finetunekit, "
    'or use weights=None for random weights. Received: weights="pretrained"'
)


def build_mobilenet_v2(
    *,
    input_shape: tuple[int | None, ...] | None = None,
    weights: Literal["pretrained"] | None = "pretrained",
    preprocessing: Literal["inside", "outside"] = "inside",
    include_top: bool = False,
    name: str = "mobilenet_v2",
) -> keras.Model:
    """Builds the built-in MobileNetV2 as a new, flat Functional model of stock Keras layers.

    The layers are named as in `keras.applications.MobileNetV2`. The graph is torchvision's, which
    differs in two ways that its weights need: padding by one pixel on every side where the stride
    is 2, and a BatchNormalization epsilon of 1e-5.

    Args:
        input_shape: Height, width and channels of an image, or channels, height and width where
            Keras' own setting is `"channels_first"`. Height and width are at least 32 pixels, or
            `None` for any size; 3 channels are in the order RGB. For another number the first
            kernel is summed (1) or repeated and scaled. `None` is three channels of any size.
        weights: `"pretrained"` for the ImageNet weights of the package, `None` for random ones.
        preprocessing: `"inside"`: the model takes pixels of 0..255 and normalises them itself.
            `"outside"`: it takes `(pixels / 255 - MEAN) / STD`.
        include_top: Whether to add the classifier of 1000 classes. The package has no weights for
            it, so this needs `weights=None`.
        name: Name of the model.

    Returns:
        A model from images `(batch, height, width, channels)` to features
        `(batch, ceil(height / 32), ceil(width / 32), 1280)`, or to logits `(batch, 1000)` with
        `include_top=True`. Its input is named `"image"`.

    Raises:
        ValueError: An argument has another value than those above.
        OSError: The weight file of the package is missing or damaged.

    Example:
        ```python
        import numpy as np
        from finetunekit.backbones.builtin import build_mobilenet_v2

        backbone = build_mobilenet_v2(input_shape=(64, 64, 3))
        photos = np.full((2, 64, 64, 3), 127, dtype="uint8")
        assert backbone.predict(photos, verbose=0).shape == (2, 2, 2, 1280)
        ```

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        arXiv:1801.04381; weights and graph of torchvision's `mobilenet_v2`, `IMAGENET1K_V1`.
    """
    if input_shape is None:
        input_shape = data_formats.join_shape((None, None), 3)
    _check_arguments(input_shape, weights, preprocessing, include_top)
    _, depth = data_formats.split_shape(input_shape)
    image = keras.Input(shape=input_shape, name="image")
    inside = preprocessing == "inside"
    outputs = _features(_preprocessing(depth)(image) if inside else image)
    if include_top:
        outputs = keras.layers.GlobalAveragePooling2D(name="avg_pool")(outputs)
        outputs = keras.layers.Dense(1000, name="predictions")(outputs)
    model = keras.Model(image, outputs, name=name)
    if weights == "pretrained":
        arrays = _packaged_weights()
        if depth != 3:
            arrays[_FIRST] = channels.adapted(arrays[_FIRST], depth, axis=2)
        _assign_weights(model, arrays)
    return model


def _check_arguments(
    input_shape: tuple[int | None, ...],
    weights: str | None,
    preprocessing: str,
    include_top: bool,
) -> None:
    if not _is_image_shape(input_shape):
        raise ValueError(
            "The input shape does not suit MobileNetV2. Expected "
            f"{data_formats.order_text()}, height and width None or at least {_SMALLEST}. Use "
            f"{data_formats.join_shape((None, None), 3)} for images of any size. "
            f"Received: input_shape={input_shape!r}"
        )
    if weights not in ("pretrained", None):
        raise ValueError(
            'The weights are unknown. Expected "pretrained" (those of ImageNet) or None. To use '
            "weights of your own, build with weights=None and call load_weights(path) on the "
            "model. "
            f"Received: weights={weights!r}"
        )
    if preprocessing not in ("inside", "outside"):
        raise ValueError(
            'The preprocessing is unknown. Expected "inside" (the model takes pixels of 0..255) or '
            '"outside" (it takes normalised ones). Choose one of them. '
            f"Received: preprocessing={preprocessing!r}"
        )
    if include_top and weights is not None:
        raise ValueError(
            "The package ships no weights for the top of 1000 classes. Expected weights=None with "
            "include_top=True. Leave the top out, or build it with weights=None. "
            f"Received: include_top={include_top!r}, weights={weights!r}"
        )


def _is_image_shape(shape: object) -> bool:
    if not isinstance(shape, tuple | list) or len(shape) != 3:
        return False
    sides, depth = data_formats.split_shape(shape)
    fits = all(side is None or (isinstance(side, int) and side >= _SMALLEST) for side in sides)
    return fits and type(depth) is int and depth > 0


def _preprocessing(depth: int) -> keras.layers.Rescaling:
    mean, std = channels.averaged(MEAN, depth), channels.averaged(STD, depth)
    # Lists of floats, which the JSON of a .keras file gives back exactly as they are.
    return keras.layers.Rescaling(
        scale=data_formats.per_channel([1 / (255 * value) for value in std]),
        offset=data_formats.per_channel(
            [-centre / width for centre, width in zip(mean, std, strict=True)]
        ),
        name="preprocessing",
    )


def _features(x: keras.KerasTensor) -> keras.KerasTensor:
    x = keras.layers.ZeroPadding2D(1, name="Conv1_pad")(x)
    x = keras.layers.Conv2D(32, 3, strides=2, use_bias=False, name="Conv1")(x)
    x = _normalised(x, name="bn_Conv1", relu="Conv1_relu")
    block = 0
    for expansion, filters, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            stride = 1 if repeat else first_stride
            prefix = f"block_{block}" if block else "expanded_conv"
            x = _inverted_residual(x, expansion, filters, stride, prefix)
            block += 1
    x = keras.layers.Conv2D(1280, 1, use_bias=False, name="Conv_1")(x)
    return _normalised(x, name="Conv_1_bn", relu="out_relu")


def _inverted_residual(
    inputs: keras.KerasTensor, expansion: int, filters: int, stride: int, prefix: str
) -> keras.KerasTensor:
    x, channels = inputs, inputs.shape[_channel_axis()]
    if expansion > 1:
        x = keras.layers.Conv2D(expansion * channels, 1, use_bias=False, name=f"{prefix}_expand")(x)
        x = _normalised(x, name=f"{prefix}_expand_BN", relu=f"{prefix}_expand_relu")
    if stride == 2:
        # "same" would pad only below and on the right at stride 2, unlike torch.
        x = keras.layers.ZeroPadding2D(1, name=f"{prefix}_pad")(x)
    x = keras.layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        name=f"{prefix}_depthwise",
    )(x)
    x = _normalised(x, name=f"{prefix}_depthwise_BN", relu=f"{prefix}_depthwise_relu")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{prefix}_project")(x)
    x = _normalised(x, name=f"{prefix}_project_BN")
    if stride == 1 and filters == channels:
        x = keras.layers.Add(name=f"{prefix}_add")([inputs, x])
    return x


def _normalised(x: keras.KerasTensor, *, name: str, relu: str | None = None) -> keras.KerasTensor:
    # torch's momentum of 0.1 is the share of the new batch, Keras' that of the old value.
    layer = keras.layers.BatchNormalization(_channel_axis(), 0.9, epsilon=1e-5, name=name)
    x = layer(x)
    return x if relu is None else keras.layers.ReLU(6.0, name=relu)(x)


def _channel_axis() -> int:
    return 1 if keras.config.image_data_format() == data_formats.FIRST else -1


def _packaged_weights() -> dict[str, np.ndarray]:
    """The shipped arrays by `"layer/variable"`, from a file with the right hash."""
    file = resources.files("finetunekit.backbones") / WEIGHTS_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OSError(
            f"The weight file {file} of finetunekit cannot be read: {error}. "
            f"Expected the file that the package ships. {_REINSTALL}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != WEIGHTS_SHA256:
        raise OSError(
            f"The weight file {file} of finetunekit is damaged: it has {len(content)} bytes and "
            f"sha256 {found}. Expected sha256 {WEIGHTS_SHA256}. {_REINSTALL}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return dict(archive)


def _assign_weights(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Assigns every variable its array, in place; none may be left over."""
    variables = {f"{layer.name}/{v.name}": v for layer in model.layers for v in layer.weights}
    expected = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        different = sorted(name for name, _ in found.items() ^ expected.items())
        raise ValueError(
            f"The weights do not fit the model at {different}. Expected the same names and shapes "
            "on both sides. Make the weight file again with tools/make_builtin_backbone.py. "
            f"Received: arrays with {len(arrays)} entries for {len(variables)} variables"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
