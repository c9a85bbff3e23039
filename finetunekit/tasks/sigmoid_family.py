"""Families whose outputs are independent probabilities, one sigmoid each: yes or no for each."""

from typing import Any

import keras
import numpy as np

from finetunekit.models.metadata import Task
from finetunekit.tasks import sigmoid_metrics
from finetunekit.tasks.class_family import ClassFamily
from finetunekit.tasks.label_shapes import Shape, all_between
from finetunekit.tasks.metric_settings import Head

_HINGE = ("Hinge", "SquaredHinge")
THRESHOLD = 0.5
"""The probability from which on a class or label holds, unless another is given."""


class SigmoidFamily(ClassFamily):
    """A kind of task with a probability for each output, whatever the others are."""

    activation = "sigmoid"
    monitor = "auc"
    fits_metrics = True
    judges_both_sides = True
    losses = ("BinaryCrossentropy", "BinaryFocalCrossentropy", *_HINGE)

    def loss(
        self, task: Task, from_logits: bool, label_smoothing: float = 0.0
    ) -> keras.losses.Loss:
        """Binary cross-entropy, averaged over the outputs."""
        return keras.losses.BinaryCrossentropy(
            from_logits=from_logits, label_smoothing=label_smoothing
        )

    def metrics(self, task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
        """Accuracy over all outputs, and AUC."""
        threshold = 0.0 if from_logits else 0.5
        return [
            keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold),
            self.area_under_the_curve(task, from_logits),
        ]

    def fit_metric(self, metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
        """Yes or no for each output, of logits or probabilities."""
        return sigmoid_metrics.fit(metric, head)

    def area_under_the_curve(self, task: Task, from_logits: bool) -> keras.metrics.Metric:
        """AUC of one output."""
        return keras.metrics.AUC(name="auc", from_logits=from_logits)

    def labels_for_check(self, labels: np.ndarray, loss: str) -> np.ndarray:
        """The hinge losses take -1 for no, too."""
        hinge = loss in _HINGE and set(np.unique(labels).tolist()) <= {-1, 1}
        return (labels + 1) / 2 if hinge else labels

    def surely_valid(self, labels: Any, task: Task, output_shape: Shape) -> Any:
        """From 0 to 1."""
        return all_between(labels, 0, 1)

    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """0 or 1 for each label of each sample."""
        return (labels > 0.5).astype("int64")
