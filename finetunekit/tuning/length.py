"""How long the upper part trains: the longer, the less the head alone has learned."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of


@dataclass(frozen=True, kw_only=True)
class Length:
    """The epochs of a stage, as a rule.

    Attributes:
        strong: Epochs where the head alone explains at least half of what there is to learn.
        fair: Epochs where it explains a fifth or more.
        weak: Epochs where it explains less.
        fewest_steps: Steps to go for where there are few samples, with at most `most` epochs.
        most: The most epochs for the sake of `fewest_steps`.
    """

    strong: int
    fair: int
    weak: int
    fewest_steps: int
    most: int

    @classmethod
    def fixed(cls, epochs: int, *, fewest_steps: int = 0, most: int = 0) -> "Length":
        """So many epochs, whatever the head alone explains."""
        return cls(strong=epochs, fair=epochs, weak=epochs, fewest_steps=fewest_steps, most=most)

    def epochs(self, explained: float, steps: int) -> int:
        """The epochs for a head that explains so much, and so many steps an epoch."""
        wanted = self.strong if explained >= 0.5 else self.fair if explained >= 0.2 else self.weak
        return max(wanted, min(self.most, math.ceil(self.fewest_steps / max(1, steps))))

    def __str__(self) -> str:
        """The rule in words."""
        if self.strong == self.weak:
            range_, reason = f"{self.strong} epochs", ""
        else:
            range_, reason = f"{self.strong} to {self.weak} epochs", " by what the head explains"
        if not self.fewest_steps:
            return range_ + reason
        return f"{range_}{reason} (up to {self.most} until {self.fewest_steps} steps are done)"


def explained(loss: float, constant: float) -> float:
    """The share of a constant prediction's loss that a model takes away: 1 for a perfect one.

    Source: McFadden, "Conditional logit analysis of qualitative choice behavior", 1974
        (pseudo R squared); for squared errors it is R squared.
    """
    return 1 - loss / constant if constant > 0 else 1.0


def constant_loss(model: keras.Model, task: Task, y: Any) -> float:
    """The loss of the best prediction that ignores the input: the mean of the labels.

    Args:
        model: A compiled model.
        task: Its task.
        y: Labels as `fit` takes them.
    """
    labels = np.asarray(y)
    rows = family_of(task).as_probabilities(labels, task, model.output_shape)
    constant = np.broadcast_to(rows.mean(axis=0, dtype="float64"), rows.shape).astype("float32")
    return float(keras.ops.convert_to_numpy(model.loss(labels, constant)))
