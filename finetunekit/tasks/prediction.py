"""What a model says of one sample, in words: names with probabilities, or numbers."""

import abc
from dataclasses import dataclass
from typing import Any

from finetunekit.foundation.messages import listed


@dataclass(frozen=True, kw_only=True)
class SamplePrediction(abc.ABC):
    """What the model says of one sample; each family of tasks has a kind of its own.

    Args:
        source: The path of the file that the sample was read from, if there is one.
    """

    source: str | None = None

    @property
    @abc.abstractmethod
    def text(self) -> str:
        """What is predicted, in words."""

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it: a row of a table."""

    def __str__(self) -> str:
        return self.text if self.source is None else f"{self.source}: {self.text}"


@dataclass(frozen=True)
class Prediction(SamplePrediction):
    """The classes that a model predicts for one sample, as `predict` returns them.

    Args:
        labels: The names that hold: one, but for `"multilabel"` any number.
        probabilities: Name -> probability, of all classes, the most probable first.
        source: The path of the file that the sample was read from, if there is one.

    Example:
        ```python
        import finetunekit as ftk

        prediction = ftk.Prediction(("cat",), {"cat": 0.9, "dog": 0.1})
        assert prediction.label == "cat" and prediction.probability == 0.9
        assert str(prediction) == "cat 0.90"
        ```
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The names that hold, in one string."""
        return ", ".join(self.labels)

    @property
    def probability(self) -> float:
        """The probability of the (most probable) label; of the likeliest class if none holds."""
        first = self.labels[0] if self.labels else next(iter(self.probabilities))
        return self.probabilities[first]

    @property
    def text(self) -> str:
        """The names that hold with their probabilities, or `none`."""
        named = (f"{name} {self.probabilities[name]:.2f}" for name in self.labels)
        return ", ".join(named) or "none"

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it: a row of a table."""
        return {
            "source": self.source,
            "label": self.label,
            "probability": self.probability,
            "labels": list(self.labels),
            "probabilities": dict(self.probabilities),
        }


@dataclass(frozen=True)
class NumberPrediction(SamplePrediction):
    """The numbers that a model predicts for one sample, as `predict` returns them.

    Args:
        values: Target -> value: the names that the model was given, else `"0"`, `"1"`, ...
        source: The path of the file that the sample was read from, if there is one.

    Example:
        ```python
        import finetunekit as ftk

        prediction = ftk.NumberPrediction({"price": 94_000.0})
        assert prediction.value == 94_000.0
        assert str(prediction) == "price 94,000"
        ```
    """

    values: dict[str, float]

    @property
    def value(self) -> float:
        """The number, of a model that predicts one.

        Raises:
            ValueError: If it predicts several.
        """
        if len(self.values) != 1:
            raise ValueError(
                f"There are several numbers, {listed(self.values)}: take one from `values`. "
                f"Received: {self}"
            )
        return next(iter(self.values.values()))

    @property
    def text(self) -> str:
        """The numbers with their names; the number alone if there is one without a name."""
        if set(self.values) == {"0"}:
            return number_text(self.value)
        return ", ".join(f"{name} {number_text(value)}" for name, value in self.values.items())

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON takes it: a row of a table."""
        return {"source": self.source, **self.values}


def number_text(value: float) -> str:
    """A number with at least four digits that count, and without an exponent where it is handy."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"
