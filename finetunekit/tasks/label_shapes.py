"""Shapes and values that labels may have beside the model's output: one per sample or pixel."""

from typing import Any, TypeAlias

import keras
import numpy as np

Shape: TypeAlias = tuple[int | None, ...]


def fits(found: Shape, wanted: Shape) -> bool:
    """Whether labels of one shape are of the other, None standing for any size in both."""
    return len(found) == len(wanted) and all(
        one is None or other is None or one == other
        for one, other in zip(found, wanted, strict=True)
    )


def one_each(found: Shape, output_shape: Shape) -> bool:
    """One number for each place of the output, with or without a last axis of length 1."""
    places = output_shape[:-1]
    return fits(found, places) or fits(found, (*places, 1))


def all_between(labels: Any, low: float, high: float) -> Any:
    """Whether a tensor of labels lies in this interval, as a bool tensor; NaN does not."""
    if not keras.backend.is_float_dtype(labels.dtype):
        labels = keras.ops.cast(labels, "int64")  # A limit may be beyond what a byte holds.
    return keras.ops.all(keras.ops.logical_and(labels >= low, labels <= high))


def all_finite(labels: Any) -> Any:
    """Whether a tensor of labels holds neither NaN nor infinity, as a bool tensor."""
    if not keras.backend.is_float_dtype(labels.dtype):
        return keras.ops.convert_to_tensor(True)
    return keras.ops.all(keras.ops.isfinite(labels))


def all_whole(labels: Any) -> Any:
    """Whether a tensor of labels holds whole numbers, as a bool tensor."""
    if not keras.backend.is_float_dtype(labels.dtype):
        return keras.ops.convert_to_tensor(True)
    return keras.ops.all(keras.ops.equal(labels, keras.ops.floor(labels)))


def text(shape: Shape) -> str:
    """`(n, 10)` for `(None, 10)`."""
    inner = ", ".join("n" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def is_wide(labels: np.ndarray) -> bool:
    """Whether there are several numbers a sample, in the last axis."""
    return labels.ndim > 1 and labels.shape[-1] > 1


def has_rows_of_0_and_1(labels: np.ndarray) -> bool:
    """Whether there are several numbers a sample, all of them 0 or 1."""
    return is_wide(labels) and set(np.unique(labels).tolist()) <= {0, 1}
