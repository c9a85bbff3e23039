"""95 % confidence intervals of shares, F1 scores, areas under the ROC curve, and means of these."""

import statistics
from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]

LEVEL = 0.95
_Z = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)


def wilson(hits: float, trials: float) -> Interval:
    """The interval of a share; everything between 0 and 1 without trials.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, extra = hits / trials, _Z**2 / trials
    middle = (share + extra / 2) / (1 + extra)
    half = _Z * np.sqrt(share * (1 - share) / trials + extra / (4 * trials)) / (1 + extra)
    # At the ends the formula gives 0 and 1, but for rounding.
    low = 0.0 if hits == 0 else max(0.0, middle - half)
    high = 1.0 if hits == trials else min(1.0, middle + half)
    return float(low), float(high)


def f1(hits: float, wrong: float) -> Interval:
    """The interval of 2 hits / (2 hits + wrong), `wrong` being false positives and negatives.

    Of the samples that are of the class or are taken for it, the hits are a share s, whose
    interval is Wilson's; F1 is 2 s / (1 + s).
    """
    low, high = wilson(hits, hits + wrong)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def auc(value: float, positives: float, negatives: float) -> Interval:
    """The interval of an area under the ROC curve.

    Source:
        Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney
        statistic. Part 2", 2006, method 5: all areas that a test would not reject.
    """
    if not positives or not negatives:
        return 0.0, 1.0
    others = (positives + negatives) / 2 - 1

    def tolerated(area: np.ndarray) -> np.ndarray:
        spread = area * (1 - area) / (positives * negatives)
        spread *= 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
        return (area - value) ** 2 <= _Z**2 * spread

    low, high = value, value
    for end in (0.0, 1.0):
        inside, outside = value, end
        for _ in range(4):  # Each look at a grid of 1,000 makes the bound 1,000 times as exact.
            grid = np.linspace(inside, outside, 1001)
            held = tolerated(grid)
            held[0] = True
            last = len(held) - 1 if held.all() else int(np.argmin(held)) - 1
            inside, outside = float(grid[last]), float(grid[min(last + 1, 1000)])
        low, high = (inside, high) if end == 0 else (low, inside)
    return low, high


def mean(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """The interval of the mean of independent figures from their own intervals.

    Source:
        Zou and Donner, "Construction of confidence limits about effect measures: A general
        approach", 2008 (the method of variance estimates recovery).
    """
    if not len(values):
        return 0.0, 1.0
    found, bounds, count = np.asarray(values), np.asarray(intervals), len(values)
    below = np.sqrt(np.sum((found - bounds[:, 0]) ** 2)) / count
    above = np.sqrt(np.sum((bounds[:, 1] - found) ** 2)) / count
    middle = found.mean()
    return float(max(0.0, middle - below)), float(min(1.0, middle + above))


def of_draws(draws: np.ndarray, value: float) -> Interval:
    """The middle 95 % of draws of a figure, made wide enough to hold the figure itself."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(min(low, value)), float(max(high, value))


def independent_trials(hits: np.ndarray, trials: np.ndarray) -> float:
    """How many independent trials tell as much as these, of which several belong to a sample.

    Args:
        hits: The hits among the trials of each sample.
        trials: The number of trials of each sample.

    Source:
        Rao and Scott, "A simple method for the analysis of clustered binary data", 1992.
    """
    total, samples = float(trials.sum()), len(trials)
    share = float(hits.sum()) / total if total else 0.0
    if not 0 < share < 1 or samples < 2:
        return min(total, float(samples))
    spread = np.sum((hits - share * trials) ** 2) * samples / (samples - 1) / total**2
    return float(min(total, share * (1 - share) / spread)) if spread else total
