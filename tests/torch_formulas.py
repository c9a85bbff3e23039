"""What modules of torch compute, in NumPy: channels first, as the documentation of torch says."""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def conv(x: np.ndarray, w: Arrays, key: str) -> np.ndarray:
    """A convolution of any rank without padding: `(batch, channels, ...)`."""
    kernel = w[f"{key}.weight"]
    axes = tuple(range(2, x.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=axes)
    inner = [1, *range(x.ndim, 2 * x.ndim - 2)]
    found = np.moveaxis(np.tensordot(windows, kernel, (inner, range(1, x.ndim))), -1, 1)
    bias: np.ndarray = w[f"{key}.bias"]
    return found + bias.reshape(-1, *(1 for _ in axes))


def transposed(x: np.ndarray, w: Arrays, key: str, stride: int) -> np.ndarray:
    """A transposed convolution, as torch defines it: each value adds its multiple of the kernel."""
    kernel = w[f"{key}.weight"]  # In, out, rows, columns.
    rows, columns = (
        (n - 1) * stride + k for n, k in zip(x.shape[2:], kernel.shape[2:], strict=True)
    )
    found = np.zeros((len(x), kernel.shape[1], rows, columns))
    for i, j in np.ndindex(*x.shape[2:]):
        part = np.einsum("nc,coab->noab", x[:, :, i, j], kernel)
        a, b = i * stride, j * stride
        found[:, :, a : a + kernel.shape[2], b : b + kernel.shape[3]] += part
    return found + w[f"{key}.bias"].reshape(-1, 1, 1)


def by_channel(x: np.ndarray, w: Arrays, key: str) -> np.ndarray:
    """A convolution with as many groups as channels: each gives `out / channels` in a row."""
    each = len(w[f"{key}.weight"]) // x.shape[1]
    found = [
        conv(x[:, n : n + 1], {k: v[n * each : (n + 1) * each] for k, v in w.items()}, key)
        for n in range(x.shape[1])
    ]
    return np.concatenate(found, axis=1)


def linear(x: np.ndarray, w: Arrays, key: str) -> np.ndarray:
    return x @ w[f"{key}.weight"].T + w[f"{key}.bias"]


def norm(x: np.ndarray, w: Arrays, key: str) -> np.ndarray:
    scale = w[f"{key}.weight"] / np.sqrt(w[f"{key}.running_var"] + 1e-5)
    return (x - w[f"{key}.running_mean"]) * scale + w[f"{key}.bias"]


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def pool(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1)
