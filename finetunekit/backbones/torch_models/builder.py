"""Layers of torch as layers of Keras: sizes from the weights, padding as in torch."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.channels import adapted
from finetunekit.foundation.messages import listed

_L = keras.layers
_IGNORED = ("num_batches_tracked", "position_ids", "relative_position_index")


class Unfit(Exception):
    """Why a state dict does not fit an architecture; half a sentence."""


class Builder:
    """Makes the layers of a state dict, and assigns its weights at the end.

    Args:
        state: Key -> array.
    """

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        self.state = state
        self._poured: list[tuple[Any, list[np.ndarray]]] = []
        self._used: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether there is a tensor of that key."""
        return key in self.state

    def take(self, key: str, rank: int) -> np.ndarray:
        """A tensor, which counts as used.

        Raises:
            Unfit: If it is not there, or has another number of axes.
        """
        if key not in self.state:
            raise Unfit(f"{key!r} is missing")
        found = self.state[key]
        if found.ndim != rank:
            raise Unfit(f"{key!r} has the shape {found.shape}")
        self._used.add(key)
        return found

    def shape(self, key: str, rank: int = 4) -> tuple[int, ...]:
        """The shape of a tensor."""
        return self.take(key, rank).shape

    def numbers(self, prefix: str) -> list[int]:
        """The numbers that follow a prefix in the keys, such as those of its blocks."""
        rest = (key.removeprefix(prefix) for key in self.state if key.startswith(prefix))
        return sorted({int(part) for key in rest if (part := key.split(".")[0]).isdigit()})

    def adapt(self, key: str, channels: int) -> None:
        """Makes a first kernel take another number of channels."""
        kernel = self.take(f"{key}.weight", 4)
        self.state = {**self.state, f"{key}.weight": adapted(kernel, channels, axis=1)}

    def later(self, layer: Any, arrays: list[np.ndarray]) -> None:
        """Records the weights of a layer."""
        self._poured.append((layer, arrays))

    def conv(self, x: Any, key: str, *, stride: int = 1, padding: str = "torch") -> Any:
        """A convolution of the kernel's size, padded by half of it, or as TensorFlow pads."""
        kernel = self.take(f"{key}.weight", 4)
        out, inner, *size = kernel.shape
        channels = x.shape[-1]
        if not inner or channels % inner or out % max(1, channels // inner):
            raise Unfit(f"{key!r} takes {inner} channels, where there are {channels}")
        groups, name = channels // inner, named(key)
        symmetric = padding == "torch" and stride > 1 and max(size) > 1
        if symmetric:
            # "same" would pad only below and on the right at stride 2, unlike torch.
            x = _L.ZeroPadding2D(tuple(side // 2 for side in size), name=f"{name}_pad")(x)
        bias = self.has(f"{key}.bias")
        options = {
            "strides": stride,
            "padding": "valid" if symmetric else "same",
            "use_bias": bias,
            "name": name,
        }
        if inner == 1 and groups == channels == out and channels > 1:
            layer: Any = _L.DepthwiseConv2D(tuple(size), **options)
            arrays = [kernel.transpose(2, 3, 0, 1)]
        else:
            layer = _L.Conv2D(out, tuple(size), groups=groups, **options)
            arrays = [kernel.transpose(2, 3, 1, 0)]
        self.later(layer, arrays + ([self.take(f"{key}.bias", 1)] if bias else []))
        return layer(x)

    def norm(self, x: Any, key: str, epsilon: float = 1e-5, momentum: float = 0.1) -> Any:
        """BatchNormalization; torch's momentum is the share of the new batch."""
        names = ("weight", "bias", "running_mean", "running_var")
        layer = _L.BatchNormalization(momentum=1 - momentum, epsilon=epsilon, name=named(key))
        self.later(layer, [self.take(f"{key}.{name}", 1) for name in names])
        return layer(x)

    def layer_norm(self, x: Any, key: str, epsilon: float) -> Any:
        """LayerNormalization."""
        layer = _L.LayerNormalization(epsilon=epsilon, name=named(key))
        self.later(layer, [self.take(f"{key}.{name}", 1) for name in ("weight", "bias")])
        return layer(x)

    def dense(self, x: Any, key: str, *, kernel: np.ndarray | None = None, **options: Any) -> Any:
        """A Dense layer; `kernel` instead of the one in the state dict."""
        found = self.take(f"{key}.weight", 2)
        bias = self.has(f"{key}.bias")
        layer = _L.Dense(found.shape[0], use_bias=bias, name=named(key), **options)
        arrays = [found.T if kernel is None else kernel]
        self.later(layer, arrays + ([self.take(f"{key}.bias", 1)] if bias else []))
        return layer(x)

    def assign_weights(self, skipped: Iterable[str] = ()) -> list[str]:
        """Gives each layer its weights; what is left over must be of the parts skipped.

        Returns:
            The keys that are left over.

        Raises:
            Unfit: If shapes differ, or weights are left over.
        """
        parts = tuple(f"{part}." for part in skipped)
        left = [key for key in self.state if key not in self._used and not key.endswith(_IGNORED)]
        foreign = [key for key in left if not key.startswith(parts)]
        if foreign:
            raise Unfit(f"nothing takes {listed(foreign, 4)}")
        for layer, arrays in self._poured:
            shapes = [tuple(variable.shape) for variable in layer.weights]
            if shapes != [array.shape for array in arrays]:
                raise Unfit(f"the weights of {layer.name!r} have other shapes than {shapes}")
        for layer, arrays in self._poured:
            layer.set_weights(arrays)
        return left


def named(key: str) -> str:
    """The name of a layer: its key, without dots, which would match any character in a selector."""
    return key.replace(".", "_").strip("_")


def image_shape(given: Any, default: tuple[int | None, ...], smallest: int = 32) -> tuple[Any, ...]:
    """An input shape that is asked for, checked, or the default.

    Raises:
        ValueError: If it is none.
    """
    if given is None:
        return default
    fits = (
        isinstance(given, (tuple, list))
        and len(given) == 3
        and type(given[2]) is int
        and given[2] > 0
        and all(side is None or (type(side) is int and side >= smallest) for side in given[:2])
    )
    if not fits:
        raise ValueError(
            f"`input_shape` must be (height, width, channels), of at least {smallest} pixels "
            f"a side or None for any, such as (224, 224, {default[2]}). "
            f"Received: input_shape={given!r}"
        )
    return tuple(given)
