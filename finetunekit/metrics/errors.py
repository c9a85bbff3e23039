"""Errors of predicted numbers: mean absolute, root mean squared, and the share explained (R2)."""

from collections.abc import Sequence

import numpy as np

from finetunekit.metrics import intervals
from finetunekit.metrics.intervals import Interval
from finetunekit.metrics.score import Score

_DRAWS, _SEED = 1000, 0
_RESAMPLED = 10_000  # From more samples on, means are normally distributed.
_AT_ONCE = 100  # Draws, each of them a row of counts.


def score_numbers(
    labels: np.ndarray, predicted: np.ndarray, names: Sequence[str], samples: int
) -> Score:
    """How near predicted numbers are; the baseline predicts the mean of the labels.

    Mean absolute and root mean squared error are taken over all targets, R2 is the mean of
    theirs. Intervals are percentiles of a bootstrap over the samples.

    Args:
        labels: True numbers, `(rows, targets)`.
        predicted: Predicted ones, of the same shape.
        names: A name for each target.
        samples: How many independent samples the rows come from.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    parts = _parts(labels, predicted)
    drawn = _bootstrap(parts, samples)
    found, bounds = _with_intervals(parts, drawn, slice(None))
    means = np.broadcast_to(labels.mean(axis=0), labels.shape)
    rows = {} if len(names) == 1 else {name: number for number, name in enumerate(names)}
    each = {name: _with_intervals(parts, drawn, slice(n, n + 1)) for name, n in rows.items()}
    return Score(
        metrics=found,
        intervals=bounds,
        baseline=_errors(_parts(labels, means).mean(axis=0)),
        baseline_is="always the mean of these labels",
        per_class={name: figures for name, (figures, _) in each.items()},
        per_class_intervals={name: ends for name, (_, ends) in each.items()},
        notes=_notes(labels, names),
    )


def _notes(labels: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    same = [name for name, column in zip(names, labels.T, strict=True) if np.ptp(column) == 0]
    if not same:
        return ()
    which = "" if len(names) == 1 else f" of {', '.join(same)}"
    return (f"the labels{which} are all equal, so R2 says nothing",)


def _parts(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What the errors are means of, `(rows, 4, targets)`."""
    wrong = predicted - labels
    # Not centred, the squares of large labels would lose their digits.
    centred = np.where(np.ptp(labels, axis=0) == 0, 0.0, labels - labels.mean(axis=0))
    return np.stack([np.abs(wrong), wrong**2, centred, centred**2], axis=1)


def _errors(means: np.ndarray) -> dict[str, float]:
    """The errors from the means of their parts, `(4, targets)`."""
    absolute, squared, centred, spread = means
    variance = spread - centred**2
    known = variance > 1e-12 * np.maximum(spread, np.finfo(float).tiny)
    perfect = np.where(squared == 0, 1.0, 0.0)  # As in scikit-learn, for labels that are all equal.
    explained = np.where(known, 1 - squared / np.where(known, variance, 1.0), perfect)
    return {
        "mae": float(absolute.mean()),
        "rmse": float(np.sqrt(squared.mean())),
        "r2": float(explained.mean()),
    }


def _bootstrap(parts: np.ndarray, samples: int) -> np.ndarray:
    """Means of the parts over rows drawn anew, `(draws, 4, targets)`."""
    random, count = np.random.default_rng(_SEED), len(parts)
    flat = parts.reshape(count, -1)
    if count > _RESAMPLED or samples < count:
        spread = np.cov(flat, rowvar=False, ddof=0) / max(samples, 1)
        drawn = random.multivariate_normal(flat.mean(axis=0), spread, _DRAWS, method="svd")
        drawn = np.where(flat.min(axis=0) >= 0, np.maximum(drawn, 0), drawn)
    else:
        even = np.full(count, 1 / count)
        drawn = np.concatenate(
            [
                random.multinomial(count, even, _AT_ONCE) @ flat / count
                for _ in range(_DRAWS // _AT_ONCE)
            ]
        )
    return drawn.reshape(_DRAWS, *parts.shape[1:])


def _with_intervals(
    parts: np.ndarray, drawn: np.ndarray, targets: slice
) -> tuple[dict[str, float], dict[str, Interval]]:
    """The errors of some targets, and their intervals."""
    found = _errors(parts[..., targets].mean(axis=0))
    rows = [_errors(means) for means in drawn[..., targets]]
    return found, {
        name: intervals.of_draws(np.array([row[name] for row in rows]), value)
        for name, value in found.items()
    }
