"""Yes or no: one probability, judged by accuracy and the area under the ROC curve."""

import numpy as np

from finetunekit.metrics import classification
from finetunekit.metrics.score import Score
from finetunekit.models.metadata import Task
from finetunekit.tasks.class_family import sigmoid
from finetunekit.tasks.label_shapes import Shape, is_wide, one_each, text
from finetunekit.tasks.sigmoid_family import THRESHOLD, SigmoidFamily


class Binary(SigmoidFamily):
    """The family of `"binary"`."""

    name = "binary"
    fixed_count = 1
    default_count = 1

    def count_of_names(self, names: tuple[str, ...]) -> int:
        """Two names, one output."""
        if len(names) != 2:
            raise ValueError(
                "`class_names` must be two names for task 'binary', the negative class first. "
                f"Received: class_names={names!r}"
            )
        return 1

    def check_count(self, num_classes: int) -> None:
        """One output."""
        if num_classes != 1:
            raise ValueError(
                "Task 'binary' has one output. Leave `num_classes` out, or use task 'multiclass' "
                f"for {num_classes} classes. Received: num_classes={num_classes!r}"
            )

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """Labels are 0 and 1, one for each output."""
        self.check_label_shape(labels.shape, task, output_shape)
        if ((labels < 0) | (labels > 1)).any():
            found = np.unique(labels)
            remedy = "For more than two classes use task 'multiclass'."
            if len(found) <= 2:
                low = (
                    "`y = y - 1`" if found.tolist() == [1, 2] else "`y = (y > 0).astype('float32')`"
                )
                remedy = f"Write {low}."
            raise ValueError(
                f"`y` must lie between 0 (no) and 1 (yes) for task 'binary'. {remedy} "
                f"Received: y with values {found[:8].tolist()}"
            )

    def check_label_shape(self, shape: Shape, task: Task, output_shape: Shape) -> None:
        """One label for each output."""
        if not one_each(shape, output_shape):
            raise ValueError(
                f"`y` must have shape {text(output_shape[:-1])} or "
                f"{text((*output_shape[:-1], 1))} for task 'binary'. For one-hot labels with one "
                "1 each use task 'multiclass', with several 'multilabel'. "
                f"Received: y of shape {shape}"
            )

    def recognises_loss(self, loss: str, activation: str | None, width: int) -> bool:
        """One output that is not a softmax, and a loss of yes or no."""
        return loss in self.losses and width == 1 and activation != "softmax"

    def recognises_output(self, activation: str | None, width: int) -> bool:
        """One sigmoid."""
        return activation == "sigmoid" and width == 1

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        """0 and 1, one a sample."""
        alone = not is_wide(labels) and np.unique(labels).tolist() == [0, 1]
        return "the labels are 0 and 1" if alone else None

    def recognises_names(self, names: tuple[str, ...]) -> bool:
        """Two of them."""
        return len(names) == 2

    def count_in_labels(self, labels: np.ndarray) -> int | None:
        """Whatever they are, there is one output."""
        return None

    def class_count(self, task: Task) -> int:
        """No and yes."""
        return 2

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        """Outputs of shape (n, 1) to probabilities of shape (n, 2), the negative class first."""
        positive = outputs.reshape(-1, 1)
        negative = sigmoid(-positive) if from_logits else 1.0 - positive
        positive = sigmoid(positive) if from_logits else positive
        return np.concatenate([negative, positive], axis=1)

    def held(self, table: np.ndarray, threshold: float | None) -> np.ndarray:
        """The positive class from the threshold on, else the negative one."""
        positive = table[:, 1] >= (THRESHOLD if threshold is None else threshold)
        return np.stack([~positive, positive], axis=1)

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
        """How often yes and no are right, and how well the outputs rank them."""
        truth = self.class_ids(labels, task, (None, 1)).reshape(-1)
        held = self.held(self.probabilities(outputs, from_logits), threshold)
        return classification.score_binary(
            truth, held[:, 1].astype("int64"), outputs[:, 0], self.names(task), samples
        )
