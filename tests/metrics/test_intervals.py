"""Are the intervals those that were published, and do they hold what they should?"""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.metrics import intervals

Z = 1.959963984540054


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_one(hits: int, trials: int, low: float, high: float) -> None:
    assert intervals.wilson(hits, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = intervals.wilson(trials - hits, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_at_the_ends_is_exact_and_open_without_trials() -> None:
    assert intervals.wilson(0, 3)[0] == 0.0
    assert intervals.wilson(3, 3)[1] == 1.0
    assert intervals.wilson(3, 3)[0] == pytest.approx(3 / (3 + Z**2))
    assert intervals.wilson(0, 0) == (0.0, 1.0)


def test_f1_is_certain_of_nothing_after_three_hits() -> None:
    low, high = intervals.f1(3, 0)
    share = 3 / (3 + Z**2)
    assert (low, high) == pytest.approx((2 * share / (1 + share), 1.0))
    assert intervals.f1(0, 0) == (0.0, 1.0)


def test_f1_covers_the_true_value() -> None:
    random = np.random.default_rng(0)
    cells = np.array([0.35, 0.1, 0.15, 0.4])  # Hits, false positives, false negatives, the rest.
    true = 2 * 0.35 / (2 * 0.35 + 0.25)
    drawn = random.multinomial(60, cells, size=2000)
    found = [intervals.f1(hits, wrong + missed) for hits, wrong, missed, _ in drawn]
    covered = np.mean([low <= true <= high for low, high in found])
    assert 0.93 < covered < 0.975


def spread(area: float, positives: int, negatives: int) -> float:
    others = (positives + negatives) / 2 - 1
    inner = 1 + others * (1 - area) / (2 - area) + others * area / (1 + area)
    return area * (1 - area) * inner / (positives * negatives)


@pytest.mark.parametrize(
    ("value", "positives", "negatives"), [(0.8, 10, 15), (0.95, 40, 7), (0.5, 5, 5)]
)
def test_bounds_of_an_area_are_where_a_test_would_just_not_reject(
    value: float, positives: int, negatives: int
) -> None:
    for bound in intervals.auc(value, positives, negatives):
        deviation = abs(bound - value) / np.sqrt(spread(bound, positives, negatives))
        assert deviation == pytest.approx(Z, abs=1e-4)


def test_a_perfect_area_of_few_samples_is_not_certain() -> None:
    low, high = intervals.auc(1.0, 5, 5)
    assert high == 1.0
    assert 0.5 < low < 0.8
    assert intervals.auc(0.0, 5, 5) == pytest.approx((0.0, 1 - low))
    assert intervals.auc(0.7, 0, 5) == (0.0, 1.0)


def test_area_covers_the_true_value() -> None:
    random = np.random.default_rng(1)
    found = []
    for _ in range(400):
        yes, no = random.normal(1, 1, 20), random.normal(0, 1, 25)
        area = np.mean(yes[:, None] > no)
        low, high = intervals.auc(float(area), 20, 25)
        found.append(low <= 0.7602 <= high)  # The normal distribution of 1 / sqrt(2).
    assert 0.92 < np.mean(found) < 0.99


def test_mean_of_one_is_itself_and_of_many_is_narrower() -> None:
    assert intervals.mean([0.5], [(0.3, 0.8)]) == pytest.approx((0.3, 0.8))
    low, high = intervals.mean([0.5] * 4, [(0.3, 0.8)] * 4)
    assert (low, high) == pytest.approx((0.5 - 0.2 / 2, 0.5 + 0.3 / 2))
    assert intervals.mean([], []) == (0.0, 1.0)


def test_draws_hold_the_figure_itself() -> None:
    assert intervals.of_draws(np.linspace(0, 1, 1001), 0.5) == pytest.approx((0.025, 0.975))
    assert intervals.of_draws(np.linspace(0, 1, 1001), 1.0) == pytest.approx((0.025, 1.0))


def test_trials_that_say_the_same_count_once() -> None:
    random = np.random.default_rng(2)
    whole = 10.0 * random.integers(0, 2, 200)
    same = intervals.independent_trials(whole, np.full(200, 10.0))
    assert same == pytest.approx(200, rel=0.02)
    own = random.binomial(10, 0.4, 200).astype(float)
    assert intervals.independent_trials(own, np.full(200, 10.0)) == pytest.approx(2000, rel=0.25)
    assert intervals.independent_trials(np.full(8, 3.0), np.full(8, 3.0)) == 8


def test_one_trial_says_little_and_two_samples_something() -> None:
    # Of the formula with n = 1 and a share of 1: n / (n + z^2).
    assert intervals.wilson(1, 1) == pytest.approx((1 / (1 + Z**2), 1.0))
    hits, trials = np.array([3.0, 1]), np.array([4.0, 4])
    variance = ((3 - 2) ** 2 + (1 - 2) ** 2) * 2 / (2 - 1) / 8**2
    assert intervals.independent_trials(hits, trials) == pytest.approx(0.25 / variance)
