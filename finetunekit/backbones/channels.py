"""First kernels adapted to another number of channels."""

from collections.abc import Callable, Sequence

import keras
import numpy as np


def adapted(kernel: np.ndarray, channels: int, axis: int) -> np.ndarray:
    """A first kernel for another number of channels, of equal effect on average.

    It is summed for one channel; otherwise it is repeated and scaled.

    Args:
        kernel: The kernel.
        channels: The number that it is to take.
        axis: Which of its axes counts the channels.

    Source: `adapt_input_conv` of timm.
    """
    known = kernel.shape[axis]
    if channels == 1:
        return kernel.sum(axis=axis, keepdims=True).astype(kernel.dtype)
    rows = np.arange(channels) % known
    return (kernel.take(rows, axis=axis) * (known / channels)).astype(kernel.dtype)


def averaged(row: Sequence[float], channels: int) -> list[float]:
    """One value per channel; for other channels than RGB, their average."""
    return list(row) if channels == len(row) else [float(np.mean(row))] * channels


def with_channels(
    make: Callable[[int, bool], keras.Model], channels: int, *, bgr: bool = False
) -> keras.Model:
    """A pretrained model for another number of channels: only its first kernel changes.

    Args:
        make: Number of channels, and whether pretrained -> the model.
        channels: The number wanted.
        bgr: Whether the kernel knows its channels as blue, green, red. More channels are given as
            red, green, blue and others.

    Raises:
        ValueError: If anything but one kernel depends on the number of channels.
    """
    known, model = make(3, True), make(channels, False)
    arrays = [keras.ops.convert_to_numpy(variable) for variable in known.weights]
    shapes = [tuple(variable.shape) for variable in model.weights]
    changed = [n for n, shape in enumerate(shapes) if arrays[n].shape != shape]
    for number in changed[:1]:
        kernel = arrays[number][:, :, ::-1] if bgr else arrays[number]
        arrays[number] = adapted(kernel, channels, axis=-2)
    if [array.shape for array in arrays] != shapes:
        raise ValueError(
            f"`input_shape` of {known.name!r} must have 3 channels: more than its first kernel "
            f"depends on them. Received: input_shape with {channels} channels"
        )
    model.set_weights(arrays)
    return model
