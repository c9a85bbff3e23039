"""What a kind of task must answer: the base class of its family, with defaults."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.metrics import errors
from finetunekit.metrics.score import Score
from finetunekit.models.metadata import Task
from finetunekit.tasks.label_shapes import Shape, is_wide
from finetunekit.tasks.metric_settings import Head
from finetunekit.tasks.prediction import NumberPrediction, SamplePrediction


class TaskFamily(abc.ABC):
    """A kind of task: what depends on the kind is asked here, and nowhere else.

    A new kind is a subclass in a file of its own and one row in `families.py`; a program registers
    its own with `register`. Kinds that tell classes apart derive from `ClassFamily`. The defaults
    are those of a kind without classes whose outputs are what they are.

    Attributes:
        name: What `add_head` and `Task` call it.
        activation: What a head ends in; None for a linear output. An output without it is logits.
        monitor: The metric that `EarlyStopping` watches, by the name under which it is logged.
        pooling: What `pooling="auto"` stands for in a head.
        fixed_count: The number of outputs where the kind has only one; else None.
        default_count: The number of outputs where neither it nor names are given; None if one of
            them must be.
        losses: The losses of Keras that speak of this kind, by class name.
        has_classes: Whether samples belong to classes, which can be named, weighted and decoded.
        can_stratify: Whether `class_ids` gives each sample one class, so that a split can keep
            the share of each.
        can_mix: Whether labels can be turned into probabilities, which MixUp and CutMix mix.
        fits_metrics: Whether metrics given to `compile_for_task` go through `fit_metric`.
        judges_both_sides: Whether a metric needs 'yes' and 'no' among the labels of each output.
    """

    name: str
    activation: str | None = None
    monitor: str = "loss"
    pooling: str | None = "auto"
    fixed_count: int | None = None
    default_count: int | None = None
    losses: tuple[str, ...] = ()
    has_classes: bool = False
    can_stratify: bool = False
    can_mix: bool = False
    fits_metrics: bool = False
    judges_both_sides: bool = False

    # What the model is compiled with.

    @abc.abstractmethod
    def loss(
        self, task: Task, from_logits: bool, label_smoothing: float = 0.0
    ) -> keras.losses.Loss:
        """The loss that `compile_for_task` picks, for labels of the form that the task says."""

    @abc.abstractmethod
    def metrics(self, task: Task, from_logits: bool) -> list[keras.metrics.Metric]:
        """The metrics that `compile_for_task` picks."""

    def fit_metric(self, metric: keras.metrics.Metric, head: Head) -> keras.metrics.Metric:
        """A metric that the user gives, so that it means on the head what its name says.

        It is asked if `fits_metrics`.

        Raises:
            ValueError: If the metric means nothing on such a head.
        """
        return metric

    # How many outputs there are, and what they end in.

    def count(self, num_classes: int | None, names: tuple[str, ...] | None) -> int:
        """The number of outputs from what was given of it, checked.

        Raises:
            ValueError: If the numbers do not fit the kind or each other.
        """
        expected = None if names is None else self.count_of_names(names)
        if num_classes is None:
            num_classes = expected if expected is not None else self.default_count
        if num_classes is None:
            raise ValueError(
                f"Task {self.name!r} needs `num_classes` (how many), or `class_names`. "
                "Received: num_classes=None"
            )
        self.check_count(num_classes)
        if expected is not None and num_classes != expected:
            raise ValueError(
                "`num_classes` must equal the number of `class_names`, or be left out. "
                f"Received: num_classes={num_classes!r}, class_names={names!r}"
            )
        return num_classes

    def count_of_names(self, names: tuple[str, ...]) -> int:
        """The number of outputs for such names, which are checked."""
        return len(names)

    def check_count(self, num_classes: int) -> None:
        """Raises ValueError for a number of outputs that the kind cannot have."""
        if num_classes < 1:
            raise ValueError(
                f"`num_classes` must be at least 1 for task {self.name!r}. "
                f"Received: num_classes={num_classes!r}"
            )

    def check_activation(self, activation: Any) -> None:
        """Raises ValueError for an activation that a head of this kind cannot end in."""
        if activation not in (self.activation, "linear", None):
            raise ValueError(
                f"`activation` must be 'auto', {self.activation!r} or None (logits) for task "
                f"{self.name!r}. Received: activation={activation!r}"
            )

    def check_output(self, activation: str | None, task: Task, model_name: str) -> None:
        """Raises ValueError for a model that ends in an activation that the kind cannot mean."""
        if activation not in (self.activation, None):
            what = "cannot be read" if activation == UNKNOWN else f"is {activation!r}"
            raise ValueError(
                f"The output activation of {model_name!r} {what}; task {self.name!r} expects "
                f"{self.activation!r} or none (logits). Build the head with `add_head`, or give "
                f"`loss=` and `metrics=`. Received: task={self.name!r}"
            )

    # What labels look like.

    @abc.abstractmethod
    def check_labels(self, labels: np.ndarray, task: Task, output_shape: Shape) -> None:
        """Raises ValueError for labels that the task cannot mean beside such an output."""

    def check_label_shape(self, shape: Shape, task: Task, output_shape: Shape) -> None:
        """Raises ValueError for a shape of labels that the task cannot mean beside such an output.

        It is asked of a pipeline before its first batch, where None is a size that is not known.
        """
        if not shape:
            raise ValueError(
                "`y` must hold one label for each sample, and is a single value; for a dataset of "
                f"single samples, `.batch(32)`. Received: y of shape {shape}"
            )

    def surely_valid(self, labels: Any, task: Task, output_shape: Shape) -> Any:
        """Whether a tensor of labels, of a shape that fits, surely passes `check_labels`.

        It runs in the graph of a pipeline, for each batch, and costs a few operations. False only
        has the batch checked as arrays are.
        """
        return False

    def label_doubts(self, labels: np.ndarray, task: Task) -> list[str]:
        """What looks wrong about labels that are possible, each with the fix in words."""
        return []

    def task_for_labels(self, task: Task, label_shape: Shape, output_shape: Shape) -> Task:
        """The task as labels of this shape speak of it; the same object if they suit its loss."""
        return task

    def task_for_loss(self, task: Task, loss: str) -> Task:
        """The task in the form of labels that a loss of Keras takes, if the loss has one."""
        return task

    def labels_for_check(self, labels: np.ndarray, loss: str) -> np.ndarray:
        """Labels in another form that a loss of Keras takes too, in the form of `check_labels`."""
        return labels

    def label_form(self, task: Task) -> str:
        """The form of its labels, in words."""
        return "as they are"

    def count_in_labels(self, labels: np.ndarray) -> int | None:
        """The number of outputs that labels speak of; None if they leave it open."""
        return int(labels.shape[-1]) if is_wide(labels) else None

    # What a head must know of the values that it learns.

    def task_for_targets(self, task: Task, labels: np.ndarray) -> Task:
        """The task with the scale of its targets; the same object if the kind has none."""
        return task

    def check_target_scale(self, task: Task) -> None:
        """Raises ValueError for a Task with a scale of targets that its kind cannot use."""
        if task.target_mean is not None or task.target_std is not None:
            raise ValueError(
                f"`target_mean` and `target_std` are for numbers; task {self.name!r} has classes. "
                f"Leave them out. Received: task={task!r}"
            )

    def output_layers(self, task: Task) -> list[keras.layers.Layer]:
        """New layers that follow the last Dense layer of a head."""
        return []

    # How models and labels of an unknown kind are recognised as this one.

    def recognises_loss(self, loss: str, activation: str | None, width: int) -> bool:
        """Whether a model compiled with this loss, and ending so, is of this kind."""
        return False

    def recognises_output(self, activation: str | None, width: int) -> bool:
        """Whether a model that ends so is of this kind."""
        return False

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        """Why labels, which are numbers, are of this kind; None if they are not."""
        return None

    def recognises_names(self, names: tuple[str, ...]) -> bool:
        """Whether labels that are these names are of this kind."""
        return False

    # What only kinds with classes can answer.

    def class_count(self, task: Task) -> int:
        """The number of classes that `class_ids` counts."""
        raise self._has_no_classes(task)

    def class_ids(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """The class of each label as an integer."""
        raise self._has_no_classes(task)

    def check_class_weight(self, class_weight: Any, task: Task) -> None:
        """Raises ValueError for class weights that make no sense for the task."""
        raise ValueError(
            f"`class_weight` needs classes, which task {self.name!r} has not. Leave it out, or "
            f"give `sample_weight`. Received: class_weight={class_weight!r}"
        )

    def class_weights(
        self, labels: np.ndarray, class_weight: Any, task: Task, output_shape: Shape
    ) -> np.ndarray:
        """The weight of each label under checked class weights."""
        raise self._has_no_classes(task)

    def as_probabilities(self, labels: np.ndarray, task: Task, output_shape: Shape) -> np.ndarray:
        """Labels as one row of probabilities a sample, float32, which can be mixed."""
        return labels.astype("float32").reshape(len(labels), -1)

    def check_threshold(self, threshold: Any) -> None:
        """Raises ValueError for a threshold that decodes nothing."""
        if threshold is not None:
            raise ValueError(
                f"`threshold` has no effect for task {self.name!r}; leave it out. "
                f"Received: threshold={threshold!r}"
            )

    def _has_no_classes(self, task: Task) -> ValueError:
        return ValueError(
            f"A model for task {self.name!r} predicts numbers, not classes. Received: task={task!r}"
        )

    # What a model says, and how good it is.

    def names(self, task: Task) -> tuple[str, ...]:
        """A name for each class, or for each number: those of the task, else the numbers from 0."""
        count = self.class_count(task) if self.has_classes else task.num_classes
        return task.class_names or tuple(str(number) for number in range(count))

    def decode(
        self, outputs: np.ndarray, task: Task, from_logits: bool, threshold: float | None = None
    ) -> Sequence[SamplePrediction]:
        """Model outputs of shape (n, outputs) in words, one object a sample: the numbers."""
        names = self.names(task)
        return [NumberPrediction(dict(zip(names, map(float, row), strict=True))) for row in outputs]

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
        """How good outputs are beside checked labels: the errors of the numbers.

        Args:
            outputs: Model outputs of shape (n, outputs).
            labels: Labels of shape (n,) or (n, columns).
            task: The task.
            from_logits: Whether the outputs are logits.
            samples: How many independent samples the n rows come from: fewer if a sample has
                several, such as its pixels.
            threshold: As for `decode`.
        """
        return errors.score_numbers(
            labels.reshape(outputs.shape).astype("float64"), outputs, self.names(task), samples
        )


UNKNOWN = "unknown"  # The activation of an output that cannot be read.
