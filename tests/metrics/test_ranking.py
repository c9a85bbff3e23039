"""Is the area under the ROC curve the share of pairs in the right order?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from finetunekit.metrics.ranking import roc_auc


@pytest.mark.parametrize("steps", [3, 1000])
def test_pairs_in_the_right_order_ties_counting_half(steps: int) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 60)
    scores = random.integers(0, steps, 60) / steps + 0.2 * truth
    yes, no = scores[truth == 1][:, None], scores[truth == 0]
    wanted = np.mean((yes > no) + 0.5 * (yes == no))
    assert roc_auc(truth, scores) == pytest.approx(wanted, abs=1e-12)
    assert roc_auc(truth, 1e9 * scores - 7) == roc_auc(truth, scores)
    assert roc_auc(truth, -scores) == pytest.approx(1 - wanted)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_has_no_area(only: int) -> None:
    assert math.isnan(roc_auc(np.full(4, only), np.arange(4.0)))
