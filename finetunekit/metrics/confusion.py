"""The confusion matrix, and the figures that follow from it."""

from collections.abc import Iterator

import numpy as np

from finetunekit.metrics import intervals
from finetunekit.metrics.intervals import Interval

_DRAWS, _SEED = 1000, 0
_ALL_CELLS = 100  # Classes up to which every cell of the matrix is drawn, not only those in use.


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How many samples of each class (a row) are taken for each class (a column)."""
    cells = np.bincount(truth * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def of_constant(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """The matrix of a model that always predicts the most frequent class, and that class."""
    support = matrix.sum(axis=1)
    majority = int(support.argmax())
    constant = np.zeros_like(matrix)
    constant[:, majority] = support
    return constant, majority


def by_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and support of each class; 0 where nothing can be divided by."""
    hits, support, taken = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        "precision": hits / np.maximum(taken, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(support + taken, 1),
        "support": support,
    }


def intervals_by_class(matrix: np.ndarray, independent: float) -> list[dict[str, Interval]]:
    """The intervals of precision, recall and F1 of each class.

    Args:
        matrix: The confusion matrix.
        independent: The share of its samples that tell something of their own.
    """
    rows = []
    for number, (row, column) in enumerate(zip(matrix, matrix.T, strict=True)):
        hits = float(row[number]) * independent
        support, taken = row.sum() * independent, column.sum() * independent
        rows.append(
            {
                "precision": intervals.wilson(hits, taken),
                "recall": intervals.wilson(hits, support),
                "f1": intervals.f1(hits, support + taken - 2 * hits),
            }
        )
    return rows


def overall(matrix: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, macro F1 and Matthews' correlation coefficient."""
    hits, support, taken = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return _overall(hits.astype(float), support.astype(float), taken.astype(float))


def _overall(hits: np.ndarray, support: np.ndarray, taken: np.ndarray) -> dict[str, float]:
    """From the diagonal and the sums of the rows and columns."""
    total, there, seen = support.sum(), support > 0, support + taken > 0
    both = np.sqrt((total**2 - np.sum(taken**2)) * (total**2 - np.sum(support**2)))
    agreement = hits.sum() * total - np.sum(support * taken)
    return {
        "accuracy": float(hits.sum() / total),
        "balanced_accuracy": float(np.mean(hits[there] / support[there])),
        "macro_f1": float(np.mean(2 * hits[seen] / (support + taken)[seen])),
        "matthews": float(agreement / both) if both > 0 else 0.0,
    }


def intervals_overall(matrix: np.ndarray, independent: float) -> dict[str, Interval]:
    """The intervals of the figures of `overall`.

    Wilson's for the accuracy; the mean of independent recalls for the balanced accuracy; the
    others from draws of the matrix.

    Args:
        matrix: The confusion matrix.
        independent: The share of its samples that tell something of their own.
    """
    found, hits, support = overall(matrix), np.diagonal(matrix), matrix.sum(axis=1)
    there = support > 0
    recalls = [
        intervals.wilson(one * independent, of * independent)
        for one, of in zip(hits[there], support[there], strict=True)
    ]
    drawn = [_overall(*margins) for margins in _draws(matrix, independent)]
    bounds = {
        name: intervals.of_draws(np.array([row[name] for row in drawn]), found[name])
        for name in ("macro_f1", "matthews")
    }
    return {
        "accuracy": intervals.wilson(hits.sum() * independent, support.sum() * independent),
        "balanced_accuracy": intervals.mean(hits[there] / support[there], recalls),
        **bounds,
    }


def _draws(
    matrix: np.ndarray, independent: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Diagonal and sums of rows and columns of matrices that could be the true one.

    Source:
        Caelen, "A Bayesian interpretation of the confusion matrix", 2017, with the prior that
        Berger, Bernardo and Sun recommend for many cells ("Overall Objective Priors", 2015): one
        sample in all, spread evenly.
    """
    seen = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    matrix = matrix[np.ix_(seen, seen)]
    classes, random = len(matrix), np.random.default_rng(_SEED)
    cells = np.ones_like(matrix) if classes <= _ALL_CELLS else matrix
    rows, columns = np.nonzero(cells)
    shapes = matrix[rows, columns] * independent + 1 / len(rows)
    hits = rows == columns
    for _ in range(_DRAWS):
        drawn = random.standard_gamma(shapes)
        yield (
            np.bincount(rows[hits], drawn[hits], classes),
            np.bincount(rows, drawn, classes),
            np.bincount(columns, drawn, classes),
        )
