"""Scores of features: LogME, and a linear probe on held-out samples."""

from dataclasses import dataclass

import numpy as np

_FOLDS = 5
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_ROUNDS = 100
_NEAR = 1e-6


@dataclass(frozen=True)
class Probe:
    """The score of a linear probe on held-out samples.

    Args:
        score: Accuracy, or R2 for regression.
        error: Standard error of the score over the folds.
    """

    score: float
    error: float


def logme(features: np.ndarray, labels: np.ndarray, *, regression: bool = False) -> float:
    """The logarithm of the maximum evidence, per sample: higher is better.

    How probable the labels are under all linear models of the features, at the priors that make
    them most probable. Nothing is trained.

    Args:
        features: `(samples, features)`.
        labels: Integer labels `(samples,)`, or targets `(samples,)` or `(samples, values)`.
        regression: Whether labels are targets.

    Returns:
        The mean over classes (each against all others) or values.

    Source: You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning",
    ICML 2021.
    """
    x = np.asarray(features, "float64")
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    squares = singular**2
    targets = _targets(labels, regression)
    found = [_evidence(left, squares, x.shape, target) for target in targets.T]
    return float(np.mean(found))


def _targets(labels: np.ndarray, regression: bool) -> np.ndarray:
    y = np.asarray(labels)
    if regression:
        return y.reshape(len(y), -1).astype("float64")
    classes = np.unique(y)
    rows = classes[1:] if len(classes) == 2 else classes  # Of two, each says the same.
    return (y[:, None] == rows).astype("float64")


def _evidence(
    left: np.ndarray, squares: np.ndarray, shape: tuple[int, ...], target: np.ndarray
) -> float:
    """The evidence of one target: a fixed point of the two precisions, in the basis of the SVD."""
    samples, width = shape
    along = (left.T @ target) ** 2
    beyond = max(0.0, float(target @ target - along.sum()))
    alpha, beta = 1.0, 1.0
    for _ in range(_ROUNDS):
        ratio = alpha / beta
        gamma = float((squares / (squares + ratio)).sum())
        weights = float((along * squares / (squares + ratio) ** 2).sum())
        misfit = float((along * (ratio / (squares + ratio)) ** 2).sum()) + beyond
        new_alpha = gamma / max(weights, 1e-12)
        new_beta = max(samples - gamma, 1e-12) / max(misfit, 1e-12)
        settled = abs(new_alpha / new_beta - ratio) < _NEAR * ratio
        alpha, beta = new_alpha, new_beta
        if settled:
            break
    ratio = alpha / beta
    weights = float((along * squares / (squares + ratio) ** 2).sum())
    misfit = float((along * (ratio / (squares + ratio)) ** 2).sum()) + beyond
    determinant = float(np.log(alpha + beta * squares).sum())
    determinant += max(0, width - len(squares)) * np.log(alpha)
    total = width * np.log(alpha) + samples * np.log(beta) - determinant
    total -= beta * misfit + alpha * weights + samples * np.log(2 * np.pi)
    return float(total / 2 / samples)


def linear_probe(
    features: np.ndarray, labels: np.ndarray, *, regression: bool = False, seed: int = 0
) -> Probe:
    """The score of a ridge classifier, or ridge regression, over five held-out parts.

    The strength of the penalty is chosen inside what it is fitted on, by the error of leaving
    out each sample in turn.

    Args:
        features: `(samples, features)`.
        labels: Integer labels, or targets.
        regression: Whether labels are targets.
        seed: Seed of the folds.
    """
    x, y = np.asarray(features, "float64"), np.asarray(labels)
    parts = _folds(y, regression, seed)
    scores = []
    for part in range(parts.max() + 1):
        train, held_out = parts != part, parts == part
        if held_out.any() and train.any():
            scores.append(_fitted_score(x, y, train, held_out, regression))
    spread = np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else 0.0
    return Probe(float(np.mean(scores)), float(spread))


def _folds(labels: np.ndarray, regression: bool, seed: int) -> np.ndarray:
    """The part of each sample; classes are spread evenly."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    if not regression:
        order = order[np.argsort(labels[order], kind="stable")]
    parts = np.empty(len(labels), int)
    parts[order] = np.arange(len(labels)) % min(_FOLDS, len(labels))
    return parts


def _fitted_score(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, held_out: np.ndarray, regression: bool
) -> float:
    mean, deviation = x[train].mean(axis=0), x[train].std(axis=0) + 1e-8
    inner, outer = ((x[rows] - mean) / deviation for rows in (train, held_out))
    classes = np.unique(y[train])
    if regression:
        targets = y[train].reshape(train.sum(), -1).astype("float64")
    else:
        targets = 2.0 * (y[train][:, None] == classes) - 1
    predicted = _ridge(inner, targets, outer)
    if not regression:
        return float((classes[predicted.argmax(axis=1)] == y[held_out]).mean())
    wanted = y[held_out].reshape(held_out.sum(), -1)
    spread = ((wanted - targets.mean(axis=0)) ** 2).sum()
    return float(1 - ((wanted - predicted) ** 2).sum() / max(spread, 1e-12))


def _ridge(x: np.ndarray, targets: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Predictions for unseen samples, at the strength of least error with each sample left out."""
    offset = targets.mean(axis=0)
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    along = left.T @ (targets - offset)
    best: tuple[float, np.ndarray] | None = None
    for strength in _STRENGTHS:
        shrunk = singular**2 / (singular**2 + strength * x.size)
        fitted = left @ (shrunk[:, None] * along)
        leverage = (left**2 @ shrunk + 1 / len(x)).clip(max=1 - 1e-9)
        error = (((targets - offset - fitted) / (1 - leverage)[:, None]) ** 2).mean()
        if best is None or error < best[0]:
            scale = singular / (singular**2 + strength * x.size)
            best = float(error), right.T @ (scale[:, None] * along)
    weights = best[1] if best is not None else np.zeros((x.shape[1], targets.shape[1]))
    predicted: np.ndarray = unseen @ weights + offset
    return predicted
