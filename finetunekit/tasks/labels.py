"""`predict_labels`: class names with probabilities."""

import os
from typing import Any

import keras
import numpy as np

from finetunekit.models import inputs
from finetunekit.tasks.families import family_of
from finetunekit.tasks.inference import from_logits, task_of
from finetunekit.tasks.prediction import Prediction
from finetunekit.text import lengths as text_lengths


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
    family = family_of(task)
    if not family.has_classes:
        raise ValueError(
            f"A model for task {task.name!r} predicts numbers, not classes: use `model.predict`. "
            f"Received: model={model.name!r}"
        )
    if len(model.output_shape) != 2:
        raise ValueError(
            "`predict_labels` names one class (or several) a sample, so the output must have shape "
            f"(batch, classes). Received: model={model.name!r} with output {model.output_shape}"
        )
    family.check_threshold(threshold)
    x = inputs.read(x, model) if is_data(x) else x
    lengths = text_lengths.of(model, x)
    options = {"batch_size": batch_size, "verbose": verbose}
    if lengths is not None:
        outputs = text_lengths.predict(model, x, lengths, **options)
    else:
        outputs = model.predict(x, **options)
    return family.decode(np.asarray(outputs, "float64"), task, from_logits(model, task), threshold)


def is_data(x: Any) -> bool:
    """Whether these are arrays (or a path, which is refused), rather than a data pipeline."""
    return inputs.is_array_like(x) or isinstance(x, (str, bytes, os.PathLike))
