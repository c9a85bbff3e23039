"""Figures of predicted classes: one of several, yes or no, or any number of labels at once."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from finetunekit.foundation.messages import listed
from finetunekit.metrics import confusion, intervals, ranking
from finetunekit.metrics.intervals import Interval
from finetunekit.metrics.score import Score

Value = TypeVar("Value")


def score_classes(
    truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], samples: int
) -> Score:
    """How good classes are; the baseline always predicts the most frequent one.

    Args:
        truth: The number of the true class of each row, `(rows,)`.
        predicted: The number of the predicted one.
        names: A name for each class.
        samples: How many independent samples the rows come from.
    """
    matrix = confusion.confusion_matrix(truth, predicted, len(names))
    independent = min(1.0, samples / len(truth))
    constant, majority = confusion.of_constant(matrix)
    figures = confusion.by_class(matrix)
    bounds = confusion.intervals_by_class(matrix, independent)
    return Score(
        metrics=confusion.overall(matrix),
        intervals=confusion.intervals_overall(matrix, independent),
        baseline=confusion.overall(constant),
        baseline_is=f"always {names[majority]!r}, the most frequent class of these labels",
        per_class={
            name: {key: _plain(column[number]) for key, column in figures.items()}
            for number, name in enumerate(names)
        },
        per_class_intervals=dict(zip(names, bounds, strict=True)),
        confusion=matrix,
        notes=_notes(matrix, names),
    )


def score_binary(
    truth: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    samples: int,
) -> Score:
    """How good yes or no are; precision, recall and F1 are those of yes.

    Args:
        truth: 1 for yes and 0 for no, `(rows,)`.
        predicted: The same, predicted.
        scores: Numbers that are higher the more likely yes is.
        names: The names of no and yes.
        samples: How many independent samples the rows come from.
    """
    both = score_classes(truth, predicted, names, samples)
    area, ends = _auc(truth, scores, min(1.0, samples / len(truth)))
    of_yes, ends_of_yes = both.per_class[names[1]], both.per_class_intervals[names[1]]
    constant, _ = confusion.of_constant(np.asarray(both.confusion))
    without = {name: float(column[1]) for name, column in confusion.by_class(constant).items()}
    return Score(
        metrics=_of_binary(both.metrics, area, of_yes),
        intervals=_of_binary(both.intervals, ends, ends_of_yes),
        baseline=_of_binary(both.baseline, 0.5, without),
        baseline_is=both.baseline_is,
        per_class=both.per_class,
        per_class_intervals=both.per_class_intervals,
        confusion=both.confusion,
        notes=both.notes,
    )


def score_labels(
    truth: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    samples: int,
) -> Score:
    """How good independent labels are; the baseline predicts the more frequent value of each.

    Args:
        truth: 1 where a label is present, else 0, `(rows, labels)`.
        predicted: The same, predicted.
        scores: Numbers that are higher the more likely a label is present.
        names: A name for each label.
        samples: How many independent samples the rows come from.
    """
    independent = min(1.0, samples / len(truth))
    constant = np.broadcast_to(truth.mean(axis=0) > 0.5, truth.shape).astype(truth.dtype)
    rows, bounds = _each_label(truth, predicted, scores, names, independent)
    return Score(
        metrics=_over_labels(truth, predicted, rows),
        intervals=_intervals_over_labels(truth, predicted, rows, bounds, independent),
        baseline=_over_labels(
            truth, constant, _each_label(truth, constant, constant, names, independent)[0]
        ),
        baseline_is="always the more frequent of absent and present, for each label",
        per_class=rows,
        per_class_intervals=bounds,
        confusion=np.stack([_table(*pair) for pair in zip(truth.T, predicted.T, strict=True)]),
        notes=_notes_on_labels(truth, names),
    )


def _each_label(
    truth: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    independent: float,
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Interval]]]:
    """The figures of each label, and their intervals."""
    rows, bounds = {}, {}
    columns = zip(names, truth.T, predicted.T, scores.T, strict=True)
    for name, true, held, score in columns:
        matrix = _table(true, held)
        area, ends = _auc(true, score, independent)
        figures = {key: _plain(pair[1]) for key, pair in confusion.by_class(matrix).items()}
        support = figures.pop("support")
        rows[name] = {**figures, "auc": area, "support": support}
        bounds[name] = {**confusion.intervals_by_class(matrix, independent)[1], "auc": ends}
    return rows, bounds


def _over_labels(
    truth: np.ndarray, predicted: np.ndarray, rows: dict[str, dict[str, float]]
) -> dict[str, float]:
    hits, present = np.sum(truth & predicted), truth.sum() + predicted.sum()
    areas = [row["auc"] for row in rows.values() if row["auc"] == row["auc"]]
    return {
        "accuracy": float(np.mean(truth == predicted)),
        "exact_match": float(np.mean(np.all(truth == predicted, axis=1))),
        "micro_f1": float(2 * hits / present) if present else 0.0,
        "macro_f1": float(np.mean([row["f1"] for row in rows.values()])),
        "auc": float(np.mean(areas)) if areas else float("nan"),
    }


def _intervals_over_labels(
    truth: np.ndarray,
    predicted: np.ndarray,
    rows: dict[str, dict[str, float]],
    bounds: dict[str, dict[str, Interval]],
    independent: float,
) -> dict[str, Interval]:
    """The decisions on the labels of a sample depend on each other, and are counted as such."""
    right, count = truth == predicted, truth.shape[1]
    decisions = intervals.independent_trials(right.sum(axis=1), np.full(len(truth), count))
    hits, wrong = (truth & predicted).sum(axis=1), (~right).sum(axis=1)
    relevant = intervals.independent_trials(hits, hits + wrong)
    share = hits.sum() / max(hits.sum() + wrong.sum(), 1)
    tried = relevant * independent
    known = [name for name, row in rows.items() if row["auc"] == row["auc"]]
    return {
        "accuracy": intervals.wilson(
            right.mean() * decisions * independent, decisions * independent
        ),
        "exact_match": intervals.wilson(
            np.all(right, axis=1).sum() * independent, len(truth) * independent
        ),
        "micro_f1": intervals.f1(share * tried, (1 - share) * tried),
        **{
            name: intervals.mean([rows[n][key] for n in among], [bounds[n][key] for n in among])
            for name, key, among in (("macro_f1", "f1", list(rows)), ("auc", "auc", known))
        },
    }


def _auc(truth: np.ndarray, scores: np.ndarray, independent: float) -> tuple[float, Interval]:
    area = ranking.roc_auc(truth, scores)
    if area != area:
        return area, (0.0, 1.0)
    positives = float(truth.sum()) * independent
    return area, intervals.auc(area, positives, len(truth) * independent - positives)


def _table(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return confusion.confusion_matrix(truth, predicted, 2)


def _notes(matrix: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    support, taken = matrix.sum(axis=1), matrix.sum(axis=0)
    absent = [name for name, count in zip(names, support, strict=True) if not count]
    never = [
        name
        for name, count, found in zip(names, support, taken, strict=True)
        if count and not found
    ]
    notes = []
    if len(absent) == len(names) - 1:
        notes.append("all samples are of one class, so nothing is said of telling classes apart")
    elif absent:
        notes.append(f"no samples of {listed(absent)}: recall and F1 are 0 for want of any")
    if never:
        notes.append(f"never predicted: {listed(never)}")
    return tuple(notes)


def _notes_on_labels(truth: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    same = [name for name, column in zip(names, truth.T, strict=True) if np.ptp(column) == 0]
    if not same:
        return ()
    return (f"always absent or always present, so without an AUC: {listed(same)}",)


def _plain(value: np.generic) -> float:
    """A float, or an int where it counts something."""
    return value.item()


def _of_binary(both: dict[str, Value], area: Value, of_yes: dict[str, Value]) -> dict[str, Value]:
    """What is said of yes or no: figures of both classes, the area, and figures of yes."""
    return {
        "accuracy": both["accuracy"],
        "auc": area,
        **{name: of_yes[name] for name in ("precision", "recall", "f1")},
        "balanced_accuracy": both["balanced_accuracy"],
        "matthews": both["matthews"],
    }
