"""A check of images against the statistics of the model's first BatchNormalization.

The first BatchNormalization remembers mean and variance of what the first convolution gave in
training. A batch in another scale, or with red and blue swapped, gives different ones.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import input_transforms
from finetunekit.models import data_formats, graph
from finetunekit.models.metadata import InputContract

SAMPLES = 32
"""The number of images that are checked."""

# Measured on real images, see docs/guide/input_contract.md. Distances are in nats a channel:
# healthy batches have 0.1 to 1.3, batches in a wrong scale 1.1 and more, mostly above 2.5.
_FAR = 1.8
_NEAR = 1.3
# How much better the other order of channels must fit. Healthy batches reach 1.15.
_SWAPPED = 1.25
_CLEARLY = 0.04
# Fewer images may happen to be blue.
_ENOUGH = 8
_LAYERS_BEFORE = 3
_WEIGHTS_OF_A_LAYER = 4

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def doubts(
    model: keras.Model,
    x: np.ndarray,
    name: str,
    contract: InputContract | None = None,
    *,
    scale: bool = True,
) -> Iterator[str]:
    """Findings of the statistics about a batch of images; none if the model has no such statistics.

    Args:
        model: A model with one input.
        x: Images.
        name: What the user calls them.
        contract: What is known of the model's input.
        scale: Whether to look at the scale, too, rather than at the order of channels only.
    """
    if x.ndim != 4 or not graph.is_graph(model):
        return
    first = data_formats.of_input(model) == data_formats.FIRST
    x = np.moveaxis(x, 1, -1) if first else x  # Here channels come last, in `_distance` as fed.
    if x.shape[-1] not in (1, 3):
        return
    whole = x.dtype.kind in "biu"  # Whole numbers are pixels, however dark.
    x = np.asarray(x[:: max(1, len(x) // SAMPLES)][:SAMPLES], "float32")
    if x.min() == x.max() or len(model.inputs) != 1:
        return
    own = _distance(model, x)
    if own is None:
        return
    if scale and own > _FAR and not (whole and x.max() <= 2):
        yield from _other_scale(model, x, name, own)
    swapped = _swapped(x, contract) if len(x) >= _ENOUGH and x.shape[-1] == 3 else None
    other = None if swapped is None else _distance(model, swapped)
    if other is None or other > _NEAR:
        return
    if own > _SWAPPED * other and own > other + _CLEARLY:
        yield (
            f"the channels of `{name}` seem to be in the wrong order: with red and blue swapped "
            f"they fit the statistics that {model.name!r} keeps of its training images "
            f"{own / other:.1f} times better. OpenCV reads BGR: turn the pixels with "
            f"`pixels[{':' if first else '...'}, ::-1]`. If the images really are blue, ignore this"
        )


def _swapped(x: np.ndarray, contract: InputContract | None) -> np.ndarray | None:
    """The batch as it would be with red and blue of the pixels swapped; None if that is unknown.

    Where each channel has been normalised by numbers of its own, these stay where they are.
    """
    if x.min() >= 0:
        return x[..., ::-1]
    if contract is None or contract.preprocessing != "outside" or contract.mean is None:
        return None
    mean, std = np.array(contract.mean), np.array(contract.std)
    pixels = x * std + mean
    return np.asarray((pixels[..., ::-1] - mean) / std, "float32")


def _other_scale(model: keras.Model, x: np.ndarray, name: str, own: float) -> Iterator[str]:
    best = None
    for formula, changed in _other_forms(x, name):
        distance = _distance(model, changed)
        if distance is not None and distance < _NEAR and (best is None or distance < best[0]):
            best = distance, formula
    if best is not None:
        yield (
            f"`{name}` lies between {x.min():.3g} and {x.max():.3g}, which is not the scale that "
            f"{model.name!r} was trained on, by the statistics of its first BatchNormalization. "
            f"`{best[1]}` would fit: scale the values so"
        )


def _other_forms(x: np.ndarray, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Possible intended scales of the values, with their formulas."""
    low, high = float(x.min()), float(x.max())
    mean, std = _MEAN.tolist(), _STD.tolist()
    unit, text = x, name
    if low >= 0 and high > 2:
        found, unit, text = "pixels", x / 255, f"{name} / 255"
    elif low >= 0 and high <= 1:
        found = "unit"
    elif low >= -1 and high <= 1:
        found, unit, text = "centred", (x + 1) / 2, f"({name} + 1) / 2"
    elif -3 < low < 0 and high < 3 and x.shape[-1] == 3:
        found, unit, text = "normalised", x * _STD + _MEAN, f"({name} * {std} + {mean})"
    else:
        return
    forms = {
        "pixels": (f"{text} * 255", unit * 255),
        "unit": (text, unit),
        "centred": (f"{text} * 2 - 1", unit * 2 - 1),
    }
    if x.shape[-1] == 3:
        forms["normalised"] = (f"({text} - {mean}) / {std}", (unit - _MEAN) / _STD)
    yield from (form for kind, form in forms.items() if kind != found)


class _Reached(Exception):
    """Ends the run at the first BatchNormalization, with its input."""

    def __init__(self, layer: Any = None, tensor: Any = None) -> None:
        super().__init__()
        self.layer, self.tensor = layer, tensor


def _distance(model: keras.Model, x: np.ndarray) -> float | None:
    """Mean Kullback-Leibler divergence from the stored statistics, per channel."""
    found = _first_normalised(model, x)
    if found is None:
        return None
    layer, tensor = found
    mean, variance = (_numbers(row) for row in (layer.moving_mean, layer.moving_variance))
    if (mean == 0).all() and (variance == 1).all():
        return None  # Never trained.
    channel = (layer.axis if isinstance(layer.axis, int) else layer.axis[0]) % len(tensor.shape)
    axes = [axis for axis in range(len(tensor.shape)) if axis != channel]
    batch = keras.ops.moments(keras.ops.cast(tensor, "float32"), axes)
    found_mean, found_variance = (_numbers(row) for row in batch)
    used = variance > 1e-12
    if not used.any():
        return None
    ratio = (found_variance / np.where(used, variance, 1.0))[used]
    shift = ((found_mean - mean)[used]) ** 2 / variance[used]
    # A channel without any variance would be infinitely far.
    return float(np.mean(ratio + shift - 1 - np.log(ratio + 1e-3)) / 2)


def _numbers(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def _first_normalised(model: keras.Model, x: np.ndarray) -> tuple[Any, Any] | None:
    """The first BatchNormalization and its input; None if there is none near the input."""
    kind = keras.layers.BatchNormalization
    if not any(isinstance(place.layer, kind) for place in graph.walk(model)):
        return None
    passed = 0

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal passed
        if isinstance(operation, kind):
            raise _Reached(operation, args[0])
        if graph.is_graph(operation):
            return graph.run(operation, args[0] if len(args) == 1 else args, call)
        if type(operation).__name__.startswith(input_transforms.RANDOM):
            return args[0]
        weights = getattr(operation, "weights", ())
        if weights and not isinstance(operation, keras.layers.Normalization):
            passed += 1
        if passed > _LAYERS_BEFORE or len(weights) > _WEIGHTS_OF_A_LAYER:
            raise _Reached  # Too deep, or a whole network in one layer: it would cost too much.
        if "training" in inspect.signature(operation.call).parameters:
            kwargs["training"] = False
        return operation(*args, **kwargs)

    if data_formats.of_input(model) == data_formats.FIRST:
        x = np.moveaxis(x, -1, 1)
    tensor = keras.ops.convert_to_tensor(x, dtype=model.inputs[0].dtype)
    try:
        graph.run(model, tensor, call)
    except _Reached as end:
        return None if end.layer is None else (end.layer, end.tensor)
    return None
