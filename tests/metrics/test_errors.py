"""Are the errors of numbers those of their definitions, the intervals those of a bootstrap?"""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.metrics import errors


def numbers(count: int, targets: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.normal(94_000, 500, (count, targets))
    return labels, labels + random.normal(30, 200, (count, targets))


def by_definition(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    left = [
        np.sum((f - y) ** 2) / np.sum((y - np.mean(y)) ** 2)
        for y, f in zip(labels.T, found.T, strict=True)
    ]
    return {
        "mae": np.mean(np.abs(labels - found)),
        "rmse": np.sqrt(np.mean((labels - found) ** 2)),
        "r2": np.mean([1 - one for one in left]),
    }


@pytest.mark.parametrize("targets", [1, 3])
def test_errors_and_the_baseline_of_the_mean(targets: int) -> None:
    labels, found = numbers(40, targets)
    names = [f"t{n}" for n in range(targets)]
    score = errors.score_numbers(labels, found, names, 40)
    assert score.metrics == pytest.approx(by_definition(labels, found))
    mean = np.broadcast_to(labels.mean(0), labels.shape)
    assert score.baseline == pytest.approx(by_definition(labels, mean), abs=1e-9)
    assert score.baseline["rmse"] == pytest.approx(np.sqrt(labels.var(0).mean()))
    assert list(score.per_class) == (names if targets > 1 else [])
    for number, name in enumerate(score.per_class):
        wanted = by_definition(labels[:, [number]], found[:, [number]])
        assert score.per_class[name] == pytest.approx(wanted)
    assert score.confusion is None


@pytest.mark.parametrize("count", [60, 12_000])
def test_intervals_are_those_of_a_bootstrap(count: int) -> None:
    labels, found = numbers(count)
    score = errors.score_numbers(labels, found, ["price"], count)
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        rows = random.integers(0, count, count)
        drawn.append(by_definition(labels[rows], found[rows]))
    for name, (low, high) in score.intervals.items():
        wanted = np.quantile([row[name] for row in drawn], [0.025, 0.975])
        assert (low, high) == pytest.approx(wanted, abs=0.25 * (wanted[1] - wanted[0]))
        assert low <= score.metrics[name] <= high


def test_rows_of_one_sample_widen_the_intervals() -> None:
    labels, found = numbers(50)
    once = errors.score_numbers(labels, found, ["0"], 50)
    often = errors.score_numbers(np.repeat(labels, 100, 0), np.repeat(found, 100, 0), ["0"], 50)
    for name, (low, high) in once.intervals.items():
        assert often.metrics[name] == pytest.approx(once.metrics[name])
        assert np.ptp(often.intervals[name]) == pytest.approx(high - low, rel=0.3)


@pytest.mark.parametrize(("off", "r2"), [(0.0, 1.0), (0.1, 0.0)])
def test_equal_labels_have_no_r2_and_this_is_said(off: float, r2: float) -> None:
    labels = np.full((6, 1), 0.1)
    score = errors.score_numbers(labels, labels + off, ["0"], 6)
    assert score.metrics["r2"] == r2
    assert score.notes == ("the labels are all equal, so R2 says nothing",)
    score = errors.score_numbers(np.c_[labels, np.arange(6.0)], np.ones((6, 2)), ["a", "b"], 6)
    assert score.notes == ("the labels of a are all equal, so R2 says nothing",)


def test_the_intervals_are_the_same_each_time() -> None:
    labels, found = numbers(30)
    one, other = (errors.score_numbers(labels, found, ["0"], 30).intervals for _ in range(2))
    assert one == other


def test_large_labels_keep_their_digits() -> None:
    labels, found = numbers(40)
    far = errors.score_numbers(labels + 1e9, found + 1e9, ["0"], 40)
    near = errors.score_numbers(labels, found, ["0"], 40)
    assert far.metrics == pytest.approx(near.metrics, rel=1e-6)
    for name, bounds in far.intervals.items():
        assert bounds == pytest.approx(near.intervals[name], rel=1e-6)
