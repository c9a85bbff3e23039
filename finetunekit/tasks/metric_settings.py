"""What metrics are fitted to: the head; and the helpers of the tables that fit them."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import keras
import numpy as np

from finetunekit.models.metadata import Task

m = keras.metrics
# Keras' metrics in groups that the tables treat alike.
COUNTS = (
    *(m.Precision, m.Recall),
    *(m.TruePositives, m.FalsePositives, m.TrueNegatives, m.FalseNegatives),
)
AT_A_POINT = (
    *(m.PrecisionAtRecall, m.RecallAtPrecision),
    *(m.SensitivityAtSpecificity, m.SpecificityAtSensitivity),
)
F_SCORES = (m.F1Score, m.FBetaScore)
TOP_K = (m.TopKCategoricalAccuracy, m.SparseTopKCategoricalAccuracy)
IOUS = (m.IoU, m.MeanIoU, m.OneHotIoU, m.OneHotMeanIoU)
ERRORS = (
    *(m.MeanSquaredError, m.RootMeanSquaredError, m.MeanAbsoluteError),
    *(m.MeanAbsolutePercentageError, m.MeanSquaredLogarithmicError, m.LogCoshError),
    *(m.CosineSimilarity, m.Poisson),
)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a metric meets: the outputs of a model, and the labels beside them.

    Attributes:
        task: The task, with the form of the labels.
        logits: Whether the outputs are logits.
        rank: The number of axes of the outputs, with batch and classes.
        void: The integer label that the loss ignores, or None.
        weighted: Whether samples are counted by their weight.
    """

    task: Task
    logits: bool
    rank: int = 2
    void: int | None = None
    weighted: bool = False

    @property
    def width(self) -> int:
        """The number of outputs."""
        return self.task.num_classes

    @property
    def dense(self) -> bool:
        """Whether there is an output for each pixel or token."""
        return self.rank > 2


Row = Callable[[Any, Head], keras.metrics.Metric]
"""How a table fits a metric to a head."""


def rebuilt(
    metric: keras.metrics.Metric, kind: type | None = None, **settings: Any
) -> keras.metrics.Metric:
    """A new metric with other settings, or of another class; the same one if that changes nothing.

    Args:
        metric: A stock metric.
        kind: The class, which takes over the settings that it knows and the name.
        **settings: What differs.
    """
    config = metric.get_config()
    kind = kind or type(metric)
    if kind is type(metric) and all(
        config.get(key, value) == value for key, value in settings.items()
    ):
        return metric
    known = inspect.signature(kind).parameters
    config = {key: value for key, value in (config | settings).items() if key in known}
    return kind(**config)


def counting_dtype(metric: keras.metrics.Metric, head: Head) -> dict[str, Any]:
    """The setting of an IoU, which counts in integers, that keeps weights from being cut off."""
    cut_off = head.weighted and "int" in str(metric.dtype)
    return {"dtype": "float64"} if cut_off else {}


def with_variables(metric: keras.metrics.Metric, width: int) -> keras.metrics.Metric:
    """The metric with its variables, which some metrics make at their first batch only.

    A step that is traced once must not make variables.
    """
    zeros = np.zeros((1, width), "float32")
    metric.update_state(zeros, zeros)
    metric.reset_state()
    return metric


def check_class_id(metric: keras.metrics.Metric, head: Head) -> None:
    """Raises ValueError for a metric of a class that is not there."""
    found = getattr(metric, "class_id", None)
    if found is None or found in range(max(head.width, 1)):
        return
    remedy = (
        "Leave `class_id` out: the one output is the probability of 'yes'."
        if head.width == 1
        else f"Classes are numbered from 0 to {head.width - 1}."
    )
    refuse(metric, f"`class_id={found}` is not among the {head.width} output(s). {remedy}")


def probability_threshold(metric: keras.metrics.Metric, threshold: Any, head: Head) -> float:
    """A threshold of probabilities as one of what the head gives; None is 0.5.

    Logits have 0 where probabilities have 0.5. A threshold that cannot be one of probabilities is
    one of logits already.
    """
    value = 0.5 if threshold is None else float(threshold)
    if not head.logits:
        check_threshold(metric, value)
        return value
    return math.log(value / (1 - value)) if 0 < value < 1 else value


def check_threshold(metric: keras.metrics.Metric, threshold: Any) -> None:
    """Raises ValueError for the threshold of logits beside probabilities."""
    alone = (
        threshold[0] if isinstance(threshold, (list, tuple)) and len(threshold) == 1 else threshold
    )
    if isinstance(alone, (int, float)) and not 0 < alone < 1:
        refuse(
            metric,
            f"a threshold of {alone} suits logits, but the head gives probabilities. Leave it "
            "out, which means 0.5.",
        )


def refuse(metric: keras.metrics.Metric, why: str) -> NoReturn:
    """Raises ValueError for a metric that the head cannot have, with what to do."""
    kind = type(metric).__name__
    raise ValueError(
        f"`metrics` do not fit the head: {why} Received: metrics with {metric.name!r} ({kind})"
    )
