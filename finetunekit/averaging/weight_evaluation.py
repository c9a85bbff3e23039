"""A copy of a model that takes candidate weights and is evaluated with each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.averaging import batch_norm_statistics
from finetunekit.callbacks.monitors import monitored
from finetunekit.data import arrays, batch_form
from finetunekit.data.checked_batches import Checks
from finetunekit.foundation import html
from finetunekit.foundation.arguments import check_int
from finetunekit.foundation.messages import plural, say
from finetunekit.models import metadata
from finetunekit.models.saving import copy_model

Values = list[np.ndarray]


@dataclass(frozen=True)
class AverageRow:
    """Some weights and what they are worth on the validation data."""

    name: str
    score: float
    loss: float
    kept: bool


@dataclass(frozen=True)
class AverageReport:
    """What `interpolate` and `greedy_soup` tried, as they return it; prints as a table.

    Args:
        metric: The name of the value that decided, or None if nothing was measured.
        chosen: The weights that were taken, in words.
        rows: One entry for each that was tried.
        estimated: How many BatchNormalization layers got new statistics.
    """

    metric: str | None
    chosen: str
    rows: tuple[AverageRow, ...] = ()
    estimated: int = 0

    def __str__(self) -> str:
        """A row for each that was tried, the ones kept marked."""
        lines = [f"weights: {self.chosen}"]
        if self.estimated:
            lines.append(f"statistics of {self.estimated} BatchNormalization layers estimated anew")
        lines += [
            f"  {'*' if row.kept else ' '} {row.name:<12} {self.metric} {row.score:.4f}, "
            f"loss {row.loss:.4f}"
            for row in self.rows
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<AverageReport: {self.chosen}>"

    def _repr_html_(self) -> str:
        rows = [
            (row.name, f"{row.score:.4f}", f"{row.loss:.4f}", "kept" if row.kept else None)
            for row in self.rows
        ]
        notes = str(self).splitlines()[1:2] if self.estimated else []
        tried = html.table(("weights", self.metric, "loss", ""), rows) if rows else ""
        return html.view(f"weights: {self.chosen}", html.lines(notes), tried)


class Candidate:
    """A copy of a model that takes weights in and says what they are worth."""

    def __init__(
        self, model: keras.Model, validation_data: Any, x: Any, size: int, *, needs_data: bool
    ) -> None:
        check_int(size, "batch_size", 1)
        if needs_data and validation_data is None:
            raise ValueError(
                "`validation_data` is missing: (x, y) or a dataset to choose on, other than those "
                "trained on. Received: validation_data=None"
            )
        self.measures = validation_data is not None
        if self.measures and not model.compiled:
            raise ValueError(
                "The model is not compiled, so it has no metric to choose by. Call "
                f"`compile_for_task(model)` first. Received: model={model!r}"
            )
        task = metadata.of(model).task
        self._checks = Checks(batch_form.of(model, task, "validation_data"))
        self._held_out = self._checks.of(arrays.read_validation(validation_data, model, task, None))
        self.model = copy_model(model)
        self._x, self._size = x, size
        self.norms: list[int] = []
        self.metric: str | None = None
        self._less_is_better = False

    def check_norms(self) -> None:
        """Raises if statistics must be estimated, and there is nothing to do it on."""
        if self.norms and self._x is None:
            raise ValueError(
                f"{len(self.norms)} BatchNormalization layers have trained, so their statistics "
                "must be estimated anew for other weights: give training inputs, `x=x_train`. "
                "Received: x=None"
            )

    def assign(self, positions: list[int], values: Values, *, estimate: bool = True) -> None:
        """Gives the copy these weights, and the statistics that go with them."""
        weights = self.model.weights
        for position, value in zip(positions, values, strict=True):
            weights[position].assign(value)
        if self.norms and estimate:
            layers = batch_norm_statistics.norms(self.model)
            chosen = [layers[number] for number in self.norms]
            batch_norm_statistics.estimate(self.model, chosen, self._x, self._size)

    def evaluate(self) -> tuple[float, float]:
        """The value that decides, and the loss; zeros if nothing is measured."""
        if not self.measures:
            return 0.0, 0.0
        given, options = self._held_out, {"verbose": 0, "return_dict": True}
        if isinstance(given, tuple):
            names = dict(zip(("x", "y", "sample_weight"), given, strict=False))
            logs = self.model.evaluate(**names, batch_size=self._size, **options)
        else:
            with self._checks.named():
                logs = self.model.evaluate(given, **options)
        name, mode = monitored(
            self.model, "auto", "auto", {f"val_{key}": value for key, value in logs.items()}
        )
        self.metric, self._less_is_better = name.removeprefix("val_"), mode == "min"
        return float(logs[self.metric]), float(logs["loss"])

    def worth(self, found: Sequence[Any]) -> tuple[float, float]:
        """More is better: the value that decides, then the loss."""
        score, loss = found
        return (-score if self._less_is_better else score), -loss

    def result(self, what: str, rows: tuple[AverageRow, ...]) -> tuple[keras.Model, AverageReport]:
        """The copy and the report."""
        if rows:
            say(f"measured {plural(len(rows), 'set')} of weights on the validation data")
        return self.model, AverageReport(self.metric, what, rows, len(self.norms))


def values_of(variables: list[Any]) -> Values:
    """What variables hold, copied."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def positions_of(model: keras.Model, variables: list[Any]) -> list[int]:
    """Where variables stand among the weights of the model, and so of its copy."""
    place = {id(variable): number for number, variable in enumerate(model.weights)}
    return [place[id(variable)] for variable in variables]


def trained_norms(model: keras.Model, pairs: list[Any], positions: list[int]) -> list[int]:
    """The numbers of the BatchNormalization layers whose statistics differ."""
    differ = {
        id(mine)
        for mine, theirs in pairs
        if not np.array_equal(values_of([mine])[0], values_of([theirs])[0])
    }
    return [
        number
        for number, layer in enumerate(batch_norm_statistics.norms(model))
        if any(id(v) in differ for v in layer.non_trainable_variables if "moving" in v.name)
    ]


def between(ends: tuple[Values, Values], alpha: float) -> Values:
    """`(1 - alpha) * start + alpha * tuned`."""
    return _combined(list(ends), lambda a, b: (1 - alpha) * a + alpha * b)


def mean(ingredients: list[Values]) -> Values:
    """The mean of several sets of weights."""
    return _combined(ingredients, lambda *values: sum(values) / len(values))


def _combined(sets: list[Values], rule: Callable[..., Any]) -> Values:
    """The rule for each weight, computed in float64; whole numbers are those of the last."""
    found = []
    for values in zip(*sets, strict=True):
        last = values[-1]
        if last.dtype.kind in "iub" or all(np.array_equal(last, value) for value in values[:-1]):
            found.append(last)
        else:
            found.append(rule(*(v.astype("float64") for v in values)).astype(last.dtype))
    return found
