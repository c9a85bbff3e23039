"""Layers of Keras as modules of torch: what their tensors are called, and how they are laid out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.torch_models.builder import named
from finetunekit.models import graph

_L = keras.layers
_IGNORED = ("num_batches_tracked", "position_ids")
_NORMS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class Order:
    """Where a layer's features stand in torch, which flattens channels first.

    `inputs[k]` is the place in torch of feature k that the layer takes, `outputs[k]` of the one
    that it gives; None where both have the same order.
    """

    inputs: np.ndarray | None = None
    outputs: np.ndarray | None = None


@dataclass(frozen=True)
class Slot:
    """A layer of the model, and what its weights look like in torch: names and shapes."""

    path: str
    names: tuple[str, ...]
    layer: Any
    shapes: dict[str, tuple[int, ...]]

    @property
    def signature(self) -> tuple[Any, ...]:
        """Names and shapes, to be compared with those of a group."""
        return tuple(sorted(self.shapes.items()))

    @property
    def count(self) -> int:
        """How many numbers it takes."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


@dataclass(frozen=True)
class Group:
    """The tensors of one module of torch."""

    prefix: str
    tensors: dict[str, np.ndarray] = field(repr=False)

    @property
    def signature(self) -> tuple[Any, ...]:
        """Names and shapes, to be compared with those of a slot."""
        return tuple(sorted((name, array.shape) for name, array in self.tensors.items()))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names of its tensors with their shapes."""
        return {name: array.shape for name, array in self.tensors.items()}


def groups(state: dict[str, np.ndarray]) -> list[Group]:
    """The modules of a state dict, in its order."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in state.items():
        prefix, _, name = key.rpartition(".")
        if name not in _IGNORED:
            found.setdefault(prefix, {})[name] = array
    return [Group(prefix, tensors) for prefix, tensors in found.items()]


def slots(model: keras.Model) -> list[Slot]:
    """The layers of a model that have weights, in its order.

    Raises:
        ValueError: If one is of a kind that has no plain counterpart in torch.
    """
    found = []
    for place in graph.leaves(model):
        shapes = _shapes(place.layer)
        if shapes is None:
            raise ValueError(
                f"`model` has the layer {place.path!r}, a {type(place.layer).__name__}, which has "
                "no plain counterpart in torch. Set its weights yourself, "
                "`layer.set_weights(arrays)`. "
                f"Received: model={model!r}"
            )
        names = tuple(map(named, place.names))
        found.append(Slot(place.path, names, place.layer, shapes))
    return found


# --- Shapes and arrays of each kind -----------------------------------------------------------


def _conv(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-1], shape[-2], *shape[:-2])


def _depthwise(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[-2] * shape[-1], 1, *shape[:-2])


def _moved(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(weight, (0, 1), (-1, -2))


def _multiplied(weight: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    cube = weight.reshape(*shape[-2:], *weight.shape[2:])
    return np.moveaxis(cube, (0, 1), (-2, -1))


_Kernel = tuple[
    Callable[[tuple[int, ...]], tuple[int, ...]],
    Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
]
# The exact class -> the kernel's shape in torch, and the kernel made of torch's tensor. Transposed
# convolutions have (in, out, ...) there and (..., out, in) here, so the same axes move.
_KERNELS: dict[type, _Kernel] = {
    _L.Dense: (_conv, _moved),
    _L.Conv1D: (_conv, _moved),
    _L.Conv2D: (_conv, _moved),
    _L.Conv3D: (_conv, _moved),
    _L.Conv1DTranspose: (_conv, _moved),
    _L.Conv2DTranspose: (_conv, _moved),
    _L.Conv3DTranspose: (_conv, _moved),
    _L.DepthwiseConv1D: (_depthwise, _multiplied),
    _L.DepthwiseConv2D: (_depthwise, _multiplied),
}


def is_norm(layer: Any) -> bool:
    """Whether its weights are one vector each, over the features."""
    return isinstance(
        layer, (_L.BatchNormalization, _L.LayerNormalization, _L.GroupNormalization)
    ) and all(len(variable.shape) == 1 for variable in layer.weights)


def _shapes(layer: Any) -> dict[str, tuple[int, ...]] | None:
    if is_norm(layer):
        return {_NORMS[v.name]: tuple(v.shape) for v in layer.weights if v.name in _NORMS}
    if isinstance(layer, _L.Embedding):
        return {"weight": tuple(layer.embeddings.shape)}
    if type(layer) not in _KERNELS:
        return None
    shape, _ = _KERNELS[type(layer)]
    weight = shape(tuple(layer.kernel.shape))
    return {"weight": weight} | ({"bias": tuple(layer.bias.shape)} if layer.use_bias else {})


def arrays(layer: Any, tensors: dict[str, np.ndarray], order: Order) -> list[np.ndarray]:
    """The tensors of a module in the order and form of the layer's weights."""
    if is_norm(layer):
        found = [tensors[_NORMS[v.name]] for v in layer.weights if v.name in _NORMS]
        return [array if order.inputs is None else array[order.inputs] for array in found]
    weight = tensors["weight"]
    if isinstance(layer, _L.Embedding):
        return [weight]
    kernel = _KERNELS[type(layer)][1](weight, tuple(layer.kernel.shape))
    bias = [tensors["bias"]] if "bias" in tensors else []
    if order.inputs is not None:
        kernel = kernel[order.inputs]
    if order.outputs is not None:
        kernel, bias = kernel[:, order.outputs], [array[order.outputs] for array in bias]
    return [kernel, *bias]
