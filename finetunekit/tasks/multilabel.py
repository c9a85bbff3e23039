"""Any number of labels at once: a probability each, judged by accuracy and the mean AUC."""

from typing import Any

import keras
import numpy as np

from finetunekit.metrics import classification
from finetunekit.metrics.score import Score
from finetunekit.models.metadata import Task
from finetunekit.tasks.class_family import balanced, sigmoid
from finetunekit.tasks.label_shapes import Shape, fits, has_rows_of_0_and_1, text
from finetunekit.tasks.sigmoid_family import THRESHOLD, SigmoidFamily


class Multilabel(SigmoidFamily):
    """The family of `"multilabel"`: `class_ids` are 0 or 1 for each label of each sample."""

    name = "multilabel"
    can_stratify = False

    def area_under_the_curve(self, task: Task, from_logits: bool) -> keras.metrics.Metric:
        """The mean over the labels."""
        return keras.metrics.AUC(
            name="auc", multi_label=True, num_labels=task.num_classes, from_logits=from_logits
        )

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """Rows of 0 and 1, one column a label."""
        self.check_label_shape(labels.shape, task, output_shape)
        if ((labels < 0) | (labels > 1)).any():
            raise ValueError(
                "`y` must hold 0 (absent) and 1 (present) for task 'multilabel'. "
                f"Received: y with values {np.unique(labels)[:8].tolist()}"
            )

    def check_label_shape(self, shape: Shape, task: Task, output_shape: Shape) -> None:
        """One column a label."""
        if not fits(shape, output_shape):
            raise ValueError(
                "`y` must have one column a label for task 'multilabel': shape "
                f"{text(output_shape)} of 0 and 1. For integer labels use task 'multiclass'. "
                f"Received: y of shape {shape}"
            )

    def count_in_labels(self, labels: np.ndarray) -> int | None:
        """The columns of the labels."""
        if labels.ndim < 2:
            raise ValueError(
                "Labels for task 'multilabel' must be a row of 0 and 1 for each sample, one column "
                "a label. For one class a sample use task 'multiclass'. "
                f"Received: labels of shape {labels.shape}"
            )
        return int(labels.shape[-1])

    def recognises_loss(self, loss: str, activation: str | None, width: int) -> bool:
        """Several outputs that are not a softmax, and a loss of yes or no for each."""
        return loss in self.losses and width > 1 and activation != "softmax"

    def recognises_output(self, activation: str | None, width: int) -> bool:
        """Several sigmoids."""
        return activation == "sigmoid" and width > 1

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        """Rows of 0 and 1 that are not one-hot."""
        several = has_rows_of_0_and_1(labels) and not np.all(labels.sum(axis=-1) == 1)
        return "rows of 0 and 1 have several 1s, or none" if several else None

    def check_class_weight(self, class_weight: Any, task: Task) -> None:
        """Takes `"balanced"` only: a dict by class would not say whose 0 and 1 it means."""
        if not (isinstance(class_weight, str) and class_weight == "balanced"):
            raise ValueError(
                "For task 'multilabel' `class_weight` must be 'balanced'; for weights of your own "
                f"give `sample_weight`. Received: class_weight={class_weight!r}"
            )

    def class_weights(
        self, labels: np.ndarray, class_weight: Any, task: Task, output_shape: Shape
    ) -> np.ndarray:
        """The mean over a sample's labels, each weighted by how rare its own value is."""
        ids = self.class_ids(labels, task, output_shape)
        columns = [balanced(ids[..., k], 2)[ids[..., k]] for k in range(ids.shape[-1])]
        return np.mean(columns, axis=0)

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        """Outputs of shape (n, labels) to probabilities."""
        return sigmoid(outputs) if from_logits else outputs

    def held(self, table: np.ndarray, threshold: float | None) -> np.ndarray:
        """Each label from the threshold on."""
        return table >= (THRESHOLD if threshold is None else threshold)

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
        """How good each label is, and all together."""
        truth = self.class_ids(labels, task, (None, *outputs.shape[1:])).reshape(outputs.shape)
        held = self.held(self.probabilities(outputs, from_logits), threshold)
        return classification.score_labels(
            truth, held.astype("int64"), outputs, self.names(task), samples
        )
