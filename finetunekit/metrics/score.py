"""Figures over a whole set, each with its interval and what a baseline reaches."""

from dataclasses import dataclass, field

import numpy as np

from finetunekit.metrics.intervals import Interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """How good predictions are.

    Attributes:
        metrics: Name -> figure.
        intervals: Name -> its 95 % confidence interval `(low, high)`.
        baseline: Name -> the same figure of a model that ignores its input.
        baseline_is: What that model predicts, in words.
        per_class: Class, label or target -> name -> figure; empty where there is only one.
        per_class_intervals: The same with intervals, where there are any.
        confusion: Of classes, a row for each true class and a column for each predicted one; of
            independent labels, such a table of 2 rows for each; None without classes.
        notes: What the figures cannot say, in words.
    """

    metrics: dict[str, float]
    intervals: dict[str, Interval]
    baseline: dict[str, float]
    baseline_is: str
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    per_class_intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    notes: tuple[str, ...] = ()
