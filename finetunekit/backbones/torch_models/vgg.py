"""VGG 11 to 19, with and without BatchNormalization, as torchvision has them.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2014.
"""

from typing import Any

import keras

from finetunekit.backbones.torch_models.builder import Builder, Unfit, image_shape, named

TOP = ("classifier.0", "classifier.3", "classifier.6")
_L = keras.layers
_SIDE = 7


def recognises(builder: Builder) -> bool:
    """Whether the keys are those of a VGG."""
    first = builder.state.get("features.0.weight")
    return first is not None and first.ndim == 4 and not builder.has("features.0.0.weight")


def stem(builder: Builder) -> str:
    """The key of the first convolution."""
    return "features.0"


def checked_shape(builder: Builder, given: Any, top: bool) -> tuple[Any, ...]:
    """The shape of its images; its classifier takes one size only."""
    channels = builder.shape("features.0.weight")[1]
    whole = (224, 224, channels)
    shape = image_shape(given, whole if top else (None, None, channels))
    if top and shape[:2] != whole[:2]:
        raise ValueError(
            f"`input_shape` must be {whole} for VGG with its classifier; leave it out with "
            f"`include_top=False`. Received: input_shape={given!r}"
        )
    return shape


def build(builder: Builder, x: Any, top: bool) -> tuple[Any, str]:
    """Features or logits, and the name."""
    places = [n for n in builder.numbers("features.") if _is_conv(builder, n)]
    normed = builder.has("features.1.running_mean")
    step = 3 if normed else 2  # Convolution, normalisation, ReLU.
    for place, following in zip(places, [*places[1:], None], strict=True):
        key = f"features.{place}"
        x = builder.conv(x, key)
        if normed:
            x = builder.norm(x, f"features.{place + 1}")
        x = _L.ReLU(name=named(f"{key}.relu"))(x)
        # A number that is left out, and the end, is a pooling layer.
        if following is None or following == place + step + 1:
            x = _L.MaxPooling2D(2, 2, name=named(f"{key}.pool"))(x)
        elif following != place + step:
            raise Unfit(f"there is an unknown layer before 'features.{following}'")
    if top:
        x = _classifier(builder, x)
    return x, f"vgg{len(places) + 3}{'_bn' if normed else ''}"


def _is_conv(builder: Builder, number: int) -> bool:
    kernel = builder.state.get(f"features.{number}.weight")
    return kernel is not None and kernel.ndim == 4


def _classifier(builder: Builder, x: Any) -> Any:
    first = builder.take("classifier.0.weight", 2)
    channels = x.shape[-1]
    if first.shape[1] != channels * _SIDE * _SIDE:
        raise Unfit(f"'classifier.0.weight' has the shape {first.shape}")
    # torch flattens channels first.
    cubes = first.reshape(-1, channels, _SIDE, _SIDE).transpose(2, 3, 1, 0)
    kernel = cubes.reshape(-1, len(first))
    x = _L.Flatten(name="flatten")(x)
    x = builder.dense(x, TOP[0], kernel=kernel, activation="relu")
    x = builder.dense(_L.Dropout(0.5, name="classifier_2")(x), TOP[1], activation="relu")
    return builder.dense(_L.Dropout(0.5, name="classifier_5")(x), TOP[2])
