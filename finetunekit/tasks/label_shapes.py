"""Shapes that labels may have beside the model's output: one per sample or per pixel."""

from typing import TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int | None, ...]


def fits(labels: np.ndarray, shape: Shape) -> bool:
    """Whether the labels have the shape, None standing for any size."""
    return labels.ndim == len(shape) and all(
        wanted is None or wanted == found for wanted, found in zip(shape, labels.shape, strict=True)
    )


def one_each(labels: np.ndarray, output_shape: Shape) -> bool:
    """One number for each place of the output, with or without a last axis of length 1."""
    places = output_shape[:-1]
    return fits(labels, places) or fits(labels, (*places, 1))


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
