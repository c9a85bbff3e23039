"""What a model says of one sample, in words: the names of classes with their probabilities."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """What the model says of one sample, as `predict_labels` returns it.

    Args:
        labels: The names that hold: one, but for `"multilabel"` any number.
        probabilities: Name -> probability, of all classes, the most probable first.

    Example:
        ```python
        import finetunekit as ftk

        prediction = ftk.Prediction(("cat",), {"cat": 0.9, "dog": 0.1})
        assert prediction.label == "cat" and prediction.probability == 0.9
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

    def __str__(self) -> str:
        named = (f"{name} {self.probabilities[name]:.2f}" for name in self.labels)
        return ", ".join(named) or "none"
