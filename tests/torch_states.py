"""State dicts of torchvision's models with numbers of a formula: the same here and in torch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np


def numbers(key: str, shape: tuple[int, ...], is_norm: bool) -> np.ndarray:
    """The tensor of one key: of a size that keeps a deep network's values near 1."""
    random = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return random.uniform(0.5, 1.5, shape).astype("float32")
    if key.endswith("running_mean") or key.endswith("bias"):
        return random.normal(0, 0.1, shape).astype("float32")
    if is_norm:
        return random.uniform(0.3, 0.7, shape).astype("float32")
    fan_in = max(1, int(np.prod(shape[1:])))
    return random.normal(0, (2 / fan_in) ** 0.5, shape).astype("float32")


def state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A state dict of these keys and shapes."""
    return {
        key: numbers(key, shape, is_norm=key.endswith("weight") and len(shape) == 1)
        for key, shape in shapes.items()
        if not key.endswith("num_batches_tracked")
    }


def small_resnet(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A ResNet of one narrow block a stage, with a classifier."""
    wanted: dict[str, tuple[int, ...]] = {"conv1.weight": (8, 3, 7, 7)}

    def norm(key: str, width: int) -> None:
        for name in ("weight", "bias", "running_mean", "running_var"):
            wanted[f"{key}.{name}"] = (width,)

    norm("bn1", 8)
    for stage, (inner, width) in enumerate([(8, 8), (8, 12), (12, 16), (16, 20)], 1):
        key = f"layer{stage}.0"
        wanted[f"{key}.conv1.weight"] = (width, inner, 3, 3)
        norm(f"{key}.bn1", width)
        wanted[f"{key}.conv2.weight"] = (width, width, 3, 3)
        norm(f"{key}.bn2", width)
        if inner != width:
            wanted[f"{key}.downsample.0.weight"] = (width, inner, 1, 1)
            norm(f"{key}.downsample.1", width)
    wanted |= {"fc.weight": (5, 20), "fc.bias": (5,)}
    found = state(wanted) | {key.replace("__", "."): v for key, v in changes.items()}  # type: ignore[operator]
    return {key: array for key, array in found.items() if array is not None}


def cropped(image: np.ndarray) -> np.ndarray:
    """The square in the middle."""
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def images(size: int) -> np.ndarray:
    """Two inputs `(2, size, size, 3)`, normalised already."""
    return np.random.default_rng(1).normal(0, 1, (2, size, size, 3)).astype("float32")


def behind(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, with a prefix in front of their keys."""
    return {f"{prefix}{key}": array for key, array in arrays.items()}
