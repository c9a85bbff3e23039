"""A number, or several: judged by the mean absolute and the root mean squared error."""

import dataclasses
from typing import Any

import keras
import numpy as np

from finetunekit.models.head_metrics import Feed, fed
from finetunekit.models.metadata import Task
from finetunekit.models.target_scale import standardize
from finetunekit.tasks.family import TaskFamily
from finetunekit.tasks.label_shapes import (
    Shape,
    all_finite,
    fits,
    has_rows_of_0_and_1,
    is_wide,
    one_each,
    text,
)
from finetunekit.tasks.metric_settings import (
    AT_A_POINT,
    COUNTS,
    F_SCORES,
    IOUS,
    TOP_K,
    Head,
    rebuilt,
    refuse,
    with_variables,
)

m = keras.metrics
_OF_CLASSES = (
    *(m.Accuracy, m.BinaryAccuracy, m.CategoricalAccuracy, m.SparseCategoricalAccuracy),
    *(*TOP_K, m.AUC, *COUNTS, *AT_A_POINT, *F_SCORES, m.BinaryIoU, *IOUS),
    *(m.BinaryCrossentropy, m.CategoricalCrossentropy, m.SparseCategoricalCrossentropy),
    *(m.Hinge, m.SquaredHinge, m.CategoricalHinge, m.KLDivergence),
)
_ALONG_AN_AXIS = (m.PearsonCorrelation, m.ConcordanceCorrelation, m.CosineSimilarity)
_MOST_SHOWN = 4
_FARTHEST = 100.0  # Mean and standard deviation of targets that a head reaches in some epochs.


class Regression(TaskFamily):
    """The family of `"regression"`."""

    name = "regression"
    monitor = "rmse"
    fits_metrics = True
    default_count = 1
    losses = (
        "MeanSquaredError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredLogarithmicError",
        "Huber",
        "LogCosh",
        "Poisson",
    )

    def loss(
        self, task: Task, from_logits: bool, label_smoothing: float = 0.0
    ) -> keras.losses.Loss:
        """Mean squared error, in standard deviations if the task knows them; without smoothing.

        Raises:
            ValueError: If smoothing is asked for.
        """
        if label_smoothing:
            raise ValueError(
                "`label_smoothing` is for classes; task 'regression' has numbers. Leave it out. "
                f"Received: label_smoothing={label_smoothing!r}"
            )
        loss = keras.losses.MeanSquaredError()
        return loss if task.target_std is None else standardize(loss, task.target_std)

    def metrics(self, task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
        """Mean absolute error and root mean squared error, in the unit of the target."""
        return [
            keras.metrics.MeanAbsoluteError(name="mae"),
            keras.metrics.RootMeanSquaredError(name="rmse"),
        ]

    def fit_metric(self, metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
        """A metric of numbers, which sees labels in the shape of the outputs.

        Raises:
            ValueError: If it is for classes, or compares what a single output has not.
        """
        if type(metric) in _OF_CLASSES:
            refuse(
                metric,
                "it is for classes, and this head predicts numbers. Give 'mae', 'mse' or "
                "keras.metrics.R2Score(); for classes use another task.",
            )
        if type(metric) in _ALONG_AN_AXIS and head.width == 1 and metric.get_config()["axis"] != 0:
            refuse(
                metric,
                "it compares the outputs of one sample, and there is one. Give "
                f"keras.metrics.{type(metric).__name__}(axis=0), the mean over batches.",
            )
        if type(metric) is keras.metrics.R2Score:
            metric = with_variables(rebuilt(metric), head.width)
        return fed(metric, Feed(classes=head.width, masks=False))

    def check_activation(self, activation: Any) -> None:
        """Any but softmax: outputs may be kept positive or in a range."""
        if activation == "softmax":
            raise ValueError(
                "`activation` must not be 'softmax' for task 'regression', since the outputs would "
                "sum to 1; use None, or task 'multiclass' for classes. "
                f"Received: activation={activation!r}"
            )

    def check_output(self, activation: str | None, task: Task, model_name: str) -> None:
        """A softmax gives no numbers."""
        if activation == "softmax":
            raise ValueError(
                f"{model_name!r} ends in a softmax, whose outputs are probabilities of classes, "
                f"not numbers. Use `replace_head(model, {self.name!r}, {task.num_classes})`. "
                f"Received: task={self.name!r}"
            )

    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """One number a sample and output."""
        self.check_label_shape(labels.shape, task, output_shape)

    def check_label_shape(self, shape: Shape, task: Task, output_shape: Shape) -> None:
        """One number a sample and output."""
        alone = task.num_classes == 1 and one_each(shape, output_shape)
        if not alone and not fits(shape, output_shape):
            raise ValueError(
                f"`y` must have shape {text(output_shape)} for task 'regression' with "
                f"{task.num_classes} output(s). Build the head with `num_classes` equal to the "
                f"number of targets. Received: y of shape {shape}"
            )

    def label_doubts(self, labels: np.ndarray, task: Task) -> list[str]:
        """Targets so far from 0, where a head starts, that it would not get there."""
        if task.target_std is not None or not labels.size:
            return []
        mean, std = float(np.mean(labels)), float(np.std(labels))
        if abs(mean) <= _FARTHEST and std <= _FARTHEST:
            return []
        scaled = self.task_for_targets(task, labels)
        return [
            f"the targets have mean {mean:,.4g} and standard deviation {std:,.4g}, and a head "
            "starts at about 0 with steps that suit targets of about 1. Build it with "
            f"`add_head(backbone, ftk.Task(name='regression', num_classes={task.num_classes}, "
            f"target_mean={_row(scaled.target_mean)}, "
            f"target_std={_row(scaled.target_std)}))`, which standardizes them inside the model, "
            "as `fine_tune` does"
        ]

    def task_for_targets(self, task: Task, labels: np.ndarray) -> Task:
        """With mean and standard deviation of each target, unless the task has them already."""
        rows = np.asarray(labels, "float64").reshape(-1, task.num_classes)
        if task.target_std is not None or not np.isfinite(rows).all():
            return task  # `fit` names the sample.
        std = rows.std(axis=0)
        return dataclasses.replace(
            task,
            target_mean=tuple(rows.mean(axis=0).tolist()),
            # A target that never changes has nothing to be divided by.
            target_std=tuple(np.where(std > 0, std, 1.0).tolist()),
        )

    def check_target_scale(self, task: Task) -> None:
        """A mean and a positive standard deviation for each target, or neither."""
        mean, std = task.target_mean or (), task.target_std or ()
        if not mean and not std:
            return
        whole = len(mean) == len(std) == task.num_classes and np.all(np.isfinite([*mean, *std]))
        if not whole or min(std) <= 0:
            raise ValueError(
                "`target_mean` and `target_std` must each hold one finite number for each target, "
                f"and standard deviations must be positive. Received: task={task!r}"
            )

    def output_layers(self, task: Task) -> list[keras.layers.Layer]:
        """From standard deviations around the mean to the targets' own unit."""
        if task.target_std is None:
            return []
        return [
            keras.layers.Rescaling(
                list(task.target_std),
                list(task.target_mean or ()),
                name="target_scale",
                dtype="float32",
            )
        ]

    def surely_valid(self, labels: Any, task: Task, output_shape: Shape) -> Any:
        """Any finite number."""
        return all_finite(labels)

    def recognises_loss(self, loss: str, activation: str | None, width: int) -> bool:
        """A loss of numbers, unless the output says that they are probabilities."""
        return loss in self.losses and activation not in ("sigmoid", "softmax")

    def recognises_output(self, activation: str | None, width: int) -> bool:
        """One linear output: several could be the logits of classes."""
        return activation is None and width == 1

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        """Several numbers a sample that are not all 0 and 1, or fractions."""
        if not np.all(labels == np.round(labels)):
            return "the labels are not whole numbers"
        several = is_wide(labels) and not has_rows_of_0_and_1(labels)
        return f"the labels are {labels.shape[-1]} numbers a sample" if several else None


def _row(values: tuple[float, ...] | None) -> str:
    """A tuple as one writes it; of many targets three points."""
    if values is None or len(values) > _MOST_SHOWN:
        return "..."
    return f"({', '.join(f'{value:.6g}' for value in values)}{',' * (len(values) == 1)})"
