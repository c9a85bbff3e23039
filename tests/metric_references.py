"""Metrics by plain formulas, on labels and probabilities in one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Reference = Callable[[np.ndarray, np.ndarray], Any]  # Rows of labels and of probabilities.


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def by_class(y: np.ndarray, p: np.ndarray) -> float:
    return float((y.argmax(-1) == p.argmax(-1)).mean())


def by_label(y: np.ndarray, p: np.ndarray, threshold: float = 0.5) -> float:
    return float((y == (p > threshold)).mean())


def top(k: int) -> Reference:
    return lambda y, p: float(
        np.mean([true in np.argsort(-row)[:k] for true, row in zip(y.argmax(-1), p, strict=True)])
    )


def area(y: np.ndarray, p: np.ndarray) -> float:
    """The share of pairs of a positive and a negative that are in order; half for ties."""
    y, p = y.ravel(), p.ravel()
    differences = p[y == 1][:, None] - p[y == 0][None, :]
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def mean_area(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean([area(y[:, k], p[:, k]) for k in range(y.shape[1])]))


def counts(y: np.ndarray, guess: np.ndarray, axis: Any = None) -> tuple[Any, Any, Any]:
    """True positives, false positives, false negatives."""
    yes, said = y == 1, guess.astype(bool)
    return (yes & said).sum(axis), (~yes & said).sum(axis), (yes & ~said).sum(axis)


def precision(threshold: float = 0.5, column: Any = slice(None)) -> Reference:
    def found(y: np.ndarray, p: np.ndarray) -> float:
        right, wrong, _ = counts(y[:, column], p[:, column] > threshold)
        return float(right / (right + wrong))

    return found


def recall(threshold: float = 0.5, column: Any = slice(None)) -> Reference:
    def found(y: np.ndarray, p: np.ndarray) -> float:
        right, _, missed = counts(y[:, column], p[:, column] > threshold)
        return float(right / (right + missed))

    return found


def number(which: int, threshold: float = 0.5) -> Reference:
    return lambda y, p: float(counts(y, p > threshold)[which])


def true_negatives(y: np.ndarray, p: np.ndarray) -> float:
    return float(((y == 0) & (p <= 0.5)).sum())


def top_precision(k: int) -> Reference:
    return lambda y, p: by_rank(y, p, k) / (k * len(y))


def top_recall(k: int) -> Reference:
    return lambda y, p: by_rank(y, p, k) / float(y.sum())


def by_rank(y: np.ndarray, p: np.ndarray, k: int) -> float:
    best = np.argsort(-p, axis=-1)[:, :k]
    return float(np.take_along_axis(y, best, -1).sum())


def f_beta(
    beta: float = 1.0, average: str | None = "macro", threshold: float | None = None
) -> Reference:
    """F-score; without a threshold the largest output is the guess."""

    def found(y: np.ndarray, p: np.ndarray) -> Any:
        guess = p == p.max(-1, keepdims=True) if threshold is None else p > threshold
        axis = None if average == "micro" else 0
        right, wrong, missed = counts(y, guess, axis)
        many = beta**2
        scores = (1 + many) * right / ((1 + many) * right + many * missed + wrong)
        if average == "weighted":
            return float((scores * y.sum(0)).sum() / y.sum())
        return scores if average is None else float(np.mean(scores))

    return found


def mean_iou(y: np.ndarray, p: np.ndarray, only: Any = slice(None)) -> float:
    true, guess = y.argmax(-1), p.argmax(-1)
    rows = [
        ((true == k) & (guess == k)).sum() / ((true == k) | (guess == k)).sum()
        for k in range(y.shape[-1])
    ]
    return float(np.mean(rows[only]))


def binary_iou(threshold: float = 0.5, sides: tuple[int, ...] = (0, 1)) -> Reference:
    def found(y: np.ndarray, p: np.ndarray) -> float:
        guess = p >= threshold
        rows = [((y == k) & (guess == k)).sum() / ((y == k) | (guess == k)).sum() for k in sides]
        return float(np.mean(rows))

    return found


def cross_entropy(smoothing: float = 0.0) -> Reference:
    def found(y: np.ndarray, p: np.ndarray) -> float:
        smooth = y * (1 - smoothing) + smoothing / y.shape[-1]
        return float(-(smooth * np.log(p)).sum(-1).mean())

    return found


def binary_cross_entropy(y: np.ndarray, p: np.ndarray) -> float:
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def squared(y: np.ndarray, p: np.ndarray) -> float:
    return float(((y - p) ** 2).mean())


def of_keras(make: Callable[[], keras.metrics.Metric]) -> Reference:
    """A metric of Keras on what it is made for: one-hot labels and probabilities."""
    return lambda y, p: np.asarray(make()(y.astype("float32"), p.astype("float32")))
