"""What do the predictions say in words? Class names with probabilities."""

import os
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.models import inputs
from finetunekit.tasks.families import CLASSIFYING
from finetunekit.tasks.inference import from_logits, task_of
from finetunekit.text import lengths as text_lengths


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


def predict_labels(
    model: keras.Model,
    x: Any,
    *,
    threshold: float | None = None,
    batch_size: int | None = None,
    verbose: Any = 0,
) -> list[Prediction]:
    """Predicts class names with probabilities; changes nothing.

    Args:
        model: A model for classes; logits become probabilities here.
        x: Inputs as for `model.predict`, `(n, ...)`; or texts, or pairs of texts `(first,
            second)`, if the model has a tokenizer.
        threshold: From which probability on a label holds, for `"binary"` and `"multilabel"`.
            Defaults to 0.5.
        batch_size: As for `model.predict`.
        verbose: As for `model.predict`.

    Returns:
        One `Prediction` a sample. Classes without names are called `"0"`, `"1"`, ...

    Raises:
        ValueError: If the model's task has no classes.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        model = ftk.add_head(backbone, "binary", class_names=["cat", "dog"])
        for prediction in ftk.predict_labels(model, x_test[:3]):
            print(prediction.label, prediction.probability)
        ```
    """
    task = task_of(model)
    if task.name not in CLASSIFYING:
        raise ValueError(
            f"A model for task {task.name!r} predicts numbers, not classes: use `model.predict`. "
            f"Received: model={model.name!r}"
        )
    if len(model.output_shape) != 2:
        raise ValueError(
            "`predict_labels` names one class (or several) a sample, so the output must have shape "
            f"(batch, classes). Received: model={model.name!r} with output {model.output_shape}"
        )
    _check_threshold(threshold, task.name)
    x = inputs.read(x, model) if is_data(x) else x
    lengths = text_lengths.of(model, x)
    options = {"batch_size": batch_size, "verbose": verbose}
    if lengths is not None:
        outputs = text_lengths.predict(model, x, lengths, **options)
    else:
        outputs = model.predict(x, **options)
    table = CLASSIFYING[task.name].probabilities(
        np.asarray(outputs, "float64"), from_logits(model, task)
    )
    names = task.class_names or tuple(str(number) for number in range(table.shape[1]))
    limit = 0.5 if threshold is None else threshold
    return [_prediction(task.name, names, row, limit) for row in table]


def is_data(x: Any) -> bool:
    """Whether these are arrays (or a path, which is refused), rather than a data pipeline."""
    return inputs.is_array_like(x) or isinstance(x, (str, bytes, os.PathLike))


def _check_threshold(threshold: Any, task: str) -> None:
    if threshold is None:
        return
    if task == "multiclass":
        raise ValueError(
            "`threshold` has no effect for task 'multiclass', where the most probable class is "
            f"taken; leave it out. Received: threshold={threshold!r}"
        )
    if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` must lie in [0, 1]. Received: threshold={threshold!r}")


def _prediction(task: str, names: tuple[str, ...], row: np.ndarray, threshold: float) -> Prediction:
    order = np.argsort(-row, kind="stable")
    if task == "binary":
        labels = (names[int(row[1] >= threshold)],)
    elif task == "multiclass":
        labels = (names[order[0]],)
    else:
        labels = tuple(names[number] for number in order if row[number] >= threshold)
    return Prediction(labels, {names[number]: float(row[number]) for number in order})
