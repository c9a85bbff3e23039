"""The area under the ROC curve, exactly."""

import numpy as np


def roc_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve; NaN if all samples are of one class.

    It is the probability that a positive sample has a higher score than a negative one, ties
    counting half.

    Args:
        truth: Whether each sample is positive, `(n,)`.
        scores: Numbers that are higher the more positive a sample seems, `(n,)`.

    Source:
        Hanley and McNeil, "The meaning and use of the area under a receiver operating
        characteristic (ROC) curve", 1982.
    """
    truth = truth.astype(bool)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    above = ranks[places][truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
