"""Recurrent layers in NumPy, written from their formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x: Array) -> Array:
    """That of Keras 1 and 2."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm(
    x: Array,
    w: Sequence[Array],
    u: Sequence[Array],
    b: Sequence[Array],
    *,
    backwards: bool = False,
    gate: Callable[[Array], Any] = sigmoid,
) -> Array:
    """All outputs; weights of the gates i, f, c, o, each applied as `x @ w`."""
    h = c = np.zeros((len(x), len(u[0])))
    steps = range(x.shape[1])
    found = {}
    for step in reversed(steps) if backwards else steps:
        i, f, z, o = (x[:, step] @ w[n] + h @ u[n] + b[n] for n in range(4))
        c = gate(f) * c + gate(i) * np.tanh(z)
        h = found[step] = gate(o) * np.tanh(c)
    return np.stack([found[step] for step in steps], axis=1)


def gru(
    x: Array,
    w: Sequence[Array],
    u: Sequence[Array],
    b: Sequence[Array],
    *,
    after: Sequence[Array] | None = None,
    gate: Callable[[Array], Any] = sigmoid,
) -> Array:
    """The last output; gates z, r, h. `after` is a second bias, with the reset applied after."""
    h = np.zeros((len(x), len(u[0])))
    for step in range(x.shape[1]):
        given = [x[:, step] @ w[n] + b[n] for n in range(3)]
        a = after if after is not None else np.zeros(3)
        z, r = (gate(given[n] + h @ u[n] + a[n]) for n in range(2))
        past = r * (h @ u[2] + a[2]) if after is not None else (r * h) @ u[2]
        h = z * h + (1 - z) * np.tanh(given[2] + past)
    return h
