"""Families of tasks that tell classes apart: defaults for names, weights, mixing and decoding."""

import abc
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from finetunekit.foundation import arguments
from finetunekit.metrics import classification
from finetunekit.metrics.score import Score
from finetunekit.models.metadata import Task
from finetunekit.tasks.family import TaskFamily
from finetunekit.tasks.label_shapes import Shape
from finetunekit.tasks.prediction import Prediction


class ClassFamily(TaskFamily):
    """A kind of task with classes; each output is the probability of one unless a kind differs."""

    has_classes = True
    can_stratify = True
    can_mix = True

    @abc.abstractmethod
    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """The class of each label as an integer."""

    @abc.abstractmethod
    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        """Model outputs of shape (n, outputs) to probabilities of shape (n, classes)."""

    def class_count(self, task: Task) -> int:
        """As many as there are outputs."""
        return task.num_classes

    def check_class_weight(self, class_weight: Any, task: Task) -> None:
        """Takes `"balanced"`, or class as an integer -> weight."""
        received = f"Received: class_weight={class_weight!r}"
        if isinstance(class_weight, str) and class_weight == "balanced":
            return
        if not isinstance(class_weight, Mapping):
            raise ValueError(
                "`class_weight` must be 'balanced' or a dict of integer label -> weight. "
                f"{received}"
            )
        classes = self.class_count(task)
        unknown = [number for number in class_weight if number not in range(classes)]
        if unknown:
            raise ValueError(
                f"`class_weight` names classes that are not there: {unknown}; there are 0 to "
                f"{classes - 1}. {received}"
            )
        for weight in class_weight.values():
            if not arguments.is_number(weight) or not 0 <= float(weight) < math.inf:
                raise ValueError(
                    f"`class_weight` must hold finite numbers of at least 0. {received}"
                )

    def class_weights(
        self, labels: np.ndarray, class_weight: Any, task: Task, output_shape: Shape
    ) -> np.ndarray:
        """The weight of each label's class."""
        ids, classes = self.class_ids(labels, task, output_shape), self.class_count(task)
        if isinstance(class_weight, str):
            return balanced(ids, classes)[ids]
        return np.array([float(class_weight.get(number, 1.0)) for number in range(classes)])[ids]

    def check_threshold(self, threshold: Any) -> None:
        """Takes a number in [0, 1]."""
        if threshold is None:
            return
        if not arguments.is_number(threshold) or not 0 <= float(threshold) <= 1:
            raise ValueError(f"`threshold` must lie in [0, 1]. Received: threshold={threshold!r}")

    def decode(
        self, outputs: np.ndarray, task: Task, from_logits: bool, threshold: float | None = None
    ) -> list[Prediction]:
        """The names of the classes that hold, beside the probability of each class."""
        table, names = self.probabilities(outputs, from_logits), self.names(task)
        order, held = np.argsort(-table, axis=1, kind="stable"), self.held(table, threshold)
        found = []
        for row, places, holds in zip(table, order, held, strict=True):
            labels = tuple(names[number] for number in places if holds[number])
            found.append(Prediction(labels, {names[n]: float(row[n]) for n in places}))
        return found

    def held(self, table: np.ndarray, threshold: float | None) -> np.ndarray:
        """Which classes hold by their probabilities: the most probable one of each row.

        Args:
            table: The probability of each class, `(n, classes)`.
            threshold: From which probability on a class holds, for kinds that take one.

        Returns:
            True and False, of the same shape.
        """
        return np.arange(table.shape[1]) == table.argmax(axis=1)[:, None]

    def score(
        self,
        outputs: np.ndarray,
        labels: np.ndarray,
        task: Task,
        from_logits: bool,
        *,
        samples: int,
        threshold: float | None = None,
    ) -> Score:
        """How often the class that holds is the true one."""
        truth = self.class_ids(labels, task, (None, *outputs.shape[1:])).reshape(-1)
        held = self.held(self.probabilities(outputs, from_logits), threshold)
        return classification.score_classes(truth, held.argmax(axis=1), self.names(task), samples)


def balanced(ids: np.ndarray, classes: int) -> np.ndarray:
    """The weight of each class: the more, the rarer it is; those of the labels have mean 1.

    Source:
        scikit-learn's `class_weight="balanced"`, n / (classes * count), after King and Zeng,
        Logistic Regression in Rare Events Data, 2001; classes that are absent are not counted.
    """
    counts = np.bincount(ids.ravel(), minlength=classes)
    present = (counts > 0).sum()
    return ids.size / (present * np.maximum(counts, 1))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow and exact far from zero."""
    return np.exp(-np.logaddexp(0.0, -logits))
