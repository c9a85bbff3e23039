"""How well do features tell labels? Against brute force and known cases."""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.choosing.scores import linear_probe, logme


def evidence(x: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
    """The log density of y under a Gaussian of covariance xx'/alpha + 1/beta."""
    covariance = x @ x.T / alpha + np.eye(len(y)) / beta
    _, determinant = np.linalg.slogdet(covariance)
    fit = y @ np.linalg.solve(covariance, y)
    return float(-(fit + determinant + len(y) * np.log(2 * np.pi)) / 2)


@pytest.mark.parametrize("width", [3, 40])
def test_logme_is_the_largest_evidence(width: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(30, width))
    y = x[:, 0] - 0.5 * x[:, 1] + random.normal(0, 0.7, 30)
    grid = np.geomspace(1e-3, 1e4, 141)
    best = max(evidence(x, y, a, b) for a in grid for b in grid[40:101]) / 30
    assert logme(x, y, regression=True) == pytest.approx(best, abs=2e-3)


def test_logme_of_classes_is_the_mean_over_classes() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 5)), random.integers(0, 3, 60)
    each = [logme(x, (y == c).astype(float), regression=True) for c in range(3)]
    assert logme(x, y) == pytest.approx(np.mean(each))
    assert logme(x, y % 2) == pytest.approx(logme(x, (y % 2).astype(float), regression=True))


def test_better_features_score_higher() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 200)
    centres = random.normal(0, 3, (4, 16))
    scores = [
        (logme(x, y), linear_probe(x, y).score)
        for noise in (0.5, 3.0, 12.0)
        for x in [centres[y] + random.normal(0, noise, (200, 16))]
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_probe_of_separable_classes_and_of_noise() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([3, 7], 50)
    x = random.normal(size=(100, 300))
    assert linear_probe(x + 4 * (y[:, None] == 7), y).score == 1.0
    noise = linear_probe(x, y)
    assert abs(noise.score - 0.5) < 0.2
    assert noise.error > 0


def test_a_probe_of_targets() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 10))
    y = x @ random.normal(size=10)
    assert linear_probe(x, y, regression=True).score > 0.99
    half = linear_probe(x, y + random.normal(0, y.std(), 200), regression=True).score
    assert 0.3 < half < 0.7
    assert linear_probe(x, random.normal(size=200), regression=True).score < 0.1


def test_the_seed_deals_the_samples_out() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 4)), random.integers(0, 2, 50)
    assert linear_probe(x, y, seed=1) == linear_probe(x, y, seed=1)
    assert linear_probe(x, y, seed=1) != linear_probe(x, y, seed=2)
