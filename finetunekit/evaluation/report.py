"""The report of `evaluate`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetunekit.foundation import html
from finetunekit.foundation.messages import plural
from finetunekit.metrics.intervals import Interval
from finetunekit.metrics.score import Score
from finetunekit.models.metadata import Task
from finetunekit.tasks.prediction import number_text

_MOST_CLASSES, _MOST_CONFUSIONS = 20, 5


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EvaluationReport(Score):
    """How good a model is on some data, as `evaluate` returns it; prints as text.

    Attributes:
        task: The task of the model.
        count: The number of samples that were measured on.
        metrics: Name -> figure, over all samples.
        intervals: Name -> its 95 % confidence interval `(low, high)`.
        baseline: Name -> the same figure of a model that ignores its input.
        baseline_is: What that model predicts, in words.
        per_class: Class, label or target -> name -> figure, `support` among them for classes;
            empty for a single target.
        per_class_intervals: The same with intervals.
        confusion: Of classes, a row for each true class and a column for each predicted one, in
            the order of `class_names`; of independent labels, a table `[[tn, fp], [fn, tp]]` for
            each; None for numbers.
        class_names: The names of the classes, labels or targets, in their order.
        threshold: The one given, or None.
        notes: What was left out and what the figures cannot say, in words.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        report = ftk.evaluate(model, x_test, y_test)
        print(report.metrics["accuracy"], report.baseline["accuracy"], report.confusion)
        ```
    """

    task: Task
    count: int
    class_names: tuple[str, ...]
    threshold: float | None = None

    def __str__(self) -> str:
        """All of it: a line for each figure, each class, and each note."""
        lines = [f"evaluation: {self.task.name}, {plural(self.count, 'sample')}"]
        if self.threshold is not None:
            lines[0] += f", threshold {self.threshold:g}"
        lines += _table(
            ["", "", "95 % interval", "baseline"],
            [
                [name, _figure(value), _range(self.intervals[name]), _figure(self.baseline[name])]
                for name, value in self.metrics.items()
            ],
        )
        lines.append(f"  baseline: {self.baseline_is}")
        lines += self._classes()
        lines += self._confusions()
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        name, value = next(iter(self.metrics.items()))
        words = f"{name} {_figure(value)} ({_range(self.intervals[name])})"
        return f"<EvaluationReport: {words}, {plural(self.count, 'sample')}>"

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """All of it as HTML, which notebooks show."""
        rows = [
            (name, _figure(value), _range(self.intervals[name]), _figure(self.baseline[name]))
            for name, value in self.metrics.items()
        ]
        words = [f"baseline: {self.baseline_is}", *map(str.strip, self._confusions()), *self.notes]
        names = list(self.per_class)
        each = ""
        if names:
            head = ("", *self.per_class[names[0]])
            classes = [(name, *map(_cell, self.per_class[name].values())) for name in names]
            each = html.folded(plural(len(names), "class"), html.table(head, classes))
        return html.view(
            f"{self.task.name}, {plural(self.count, 'sample')}",
            html.table(("", "", "95 % interval", "baseline"), rows),
            html.lines(words),
            each,
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it; a figure that is not defined is None."""
        return {
            "task": self.task.name,
            "count": self.count,
            "class_names": list(self.class_names),
            "threshold": self.threshold,
            "metrics": _plain(self.metrics),
            "intervals": _plain(self.intervals),
            "baseline": _plain(self.baseline),
            "baseline_is": self.baseline_is,
            "per_class": _plain(self.per_class),
            "per_class_intervals": _plain(self.per_class_intervals),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "notes": list(self.notes),
        }

    def _classes(self) -> list[str]:
        """A table of the classes, or of the worst ones of many."""
        if not self.per_class:
            return []
        names = list(self.per_class)
        first, *more = (name for name in self.per_class[names[0]] if name != "support")
        lines = [""]
        if len(names) > _MOST_CLASSES:
            key = "f1" if "f1" in (first, *more) else first
            worst = sorted(names, key=lambda name: self.per_class[name][key])
            lines.append(f"  the {_MOST_CLASSES} lowest of {len(names)} by {key}:")
            names = worst[:_MOST_CLASSES]
        rows = []
        for name in names:
            row, ends = self.per_class[name], self.per_class_intervals.get(name, {})
            cells = [f"{_figure(row[key])} ({_range(ends[key])})" for key in (first, *more)]
            rows.append([name, *cells, *([f"{row['support']:,}"] if "support" in row else [])])
        support = ["samples"] if "support" in self.per_class[names[0]] else []
        return [*lines, *_table(["", first, *more, *support], rows)]

    def _confusions(self) -> list[str]:
        """The most frequent confusions of one class with another."""
        if self.confusion is None or self.confusion.ndim != 2:
            return []
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
        pairs = [np.unravel_index(cell, wrong.shape) for cell in order]
        names = self.class_names
        found = [
            f"{names[true]!r} taken for {names[taken]!r} {wrong[true, taken]:,}x"
            for true, taken in pairs
            if wrong[true, taken]
        ]
        return [f"  most frequent errors: {'; '.join(found)}"] if found else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned cells, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _figure(value: float) -> str:
    """Three digits behind the point where that says enough."""
    if not math.isfinite(value):
        return "undefined"
    return f"{value:.3f}" if abs(value) < 10 else number_text(value)


def _cell(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else _figure(value)


def _range(interval: Interval) -> str:
    return f"{_figure(interval[0])} to {_figure(interval[1])}"


def _plain(value: Any) -> Any:
    """Tuples as lists, and None for what is not a finite number."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
