"""`predict`: what a model says of each sample, in the words of its task."""

import dataclasses
from typing import Any

import keras

from finetunekit.evaluation import samples
from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import obeys_verbose, warn
from finetunekit.tasks import SamplePrediction, family_of, from_logits, task_of


@obeys_verbose
def predict(
    model: keras.Model,
    x: Any,
    *,
    threshold: float | None = None,
    batch_size: int = 32,
    verbose: Any = 0,
) -> list[Any]:
    """Predicts each sample in the words of the task; changes nothing.

    Args:
        model: A model with a head; logits become probabilities here.
        x: Arrays as for `model.predict`, `(n, ...)`; paths of images, or a folder of them; texts,
            or pairs of texts `(first, second)`, if the model takes texts; a tf.data pipeline or a
            PyDataset, whose labels are left aside.
        threshold: From which probability on a label holds, for `"binary"` and `"multilabel"`.
            Defaults to 0.5.
        batch_size: Samples that are computed at once, unless `x` comes in batches.
        verbose: As for `model.predict`.

    Returns:
        One object a sample: for classes a `Prediction`, for numbers a `NumberPrediction`. Classes
        without names are called `"0"`, `"1"`, ... Images read from files have their `source`.

    Raises:
        ValueError: If inputs and model do not fit, or the model gives NaN.
        TypeError: If the inputs are of no known kind.
        OSError: If a file is not there.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        model = ftk.add_head(backbone, "binary", class_names=["dark", "bright"])
        for prediction in ftk.predict(model, x_test[:3]):
            print(prediction.label, prediction.probability)
        print(ftk.predict(model, "photos/red/00.png")[0])
        ```
    """
    arguments.check_model(model)
    arguments.check_int(batch_size, "batch_size", 1)
    task = task_of(model)
    family = family_of(task)
    family.check_threshold(threshold)
    if len(model.output_shape) != 2:
        raise ValueError(
            "`predict` says one thing of each sample, so the output must have shape (batch, "
            "outputs); use `model.predict`, and `evaluate` to measure it. "
            f"Received: model={model.name!r} with output {model.output_shape}"
        )
    logits = from_logits(model, task)
    if keras_internals.shuffles(x):
        warn(
            "`x` shuffles, so the predictions do not come in the order of your files or labels: "
            "make the dataset with shuffle=False, or give the files themselves"
        )
    found = samples.run(model, x, batch_size=batch_size, verbose=verbose)
    rows: list[SamplePrediction] = list(family.decode(found.outputs, task, logits, threshold))
    if found.files is None:
        return rows
    return [
        dataclasses.replace(row, source=file) for row, file in zip(rows, found.files, strict=True)
    ]
