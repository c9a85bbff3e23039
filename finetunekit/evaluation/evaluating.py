"""`evaluate`: how good a model is, with what chance and a baseline have to do with it."""

from typing import Any

import keras

from finetunekit.evaluation import labels, own_labels, samples
from finetunekit.evaluation.report import EvaluationReport
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import obeys_verbose
from finetunekit.tasks import family_of, from_logits, task_of


@obeys_verbose
def evaluate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    threshold: float | None = None,
    batch_size: int = 32,
    verbose: Any = 0,
) -> EvaluationReport:
    """Measures a model over whole data, with intervals and a baseline; changes nothing.

    The figures are those of the task, whatever the model is compiled with: of classes, overall
    and for each, with the confusion matrix; of numbers, the errors in their unit. They are
    computed over all samples at once, not as a mean over batches.

    Args:
        model: A model with a head; it need not be compiled.
        x: Samples as for `predict`; a folder with a subfolder of images for each class, a tf.data
            pipeline or a PyDataset brings the labels too.
        y: Labels as for `fit`, or names of the model's classes.
        sample_weight: Samples, or places in them, of weight 0 are left out; others count once.
        threshold: From which probability on a label holds, for `"binary"` and `"multilabel"`.
            Defaults to 0.5.
        batch_size: Samples that are computed at once, unless `x` comes in batches.
        verbose: As for `model.predict`.

    Returns:
        An `EvaluationReport`.

    Raises:
        ValueError: If samples, labels and model do not fit, or the model gives NaN.
        TypeError: If the samples are of no known kind.
        OSError: If a file is not there.

    Example:
        ```python
        import finetunekit as ftk

        backbone = ftk.load_backbone("pretrained_model.h5")
        model = ftk.add_head(backbone, "binary", class_names=["dark", "bright"])
        report = ftk.evaluate(model, x_test, y_test)
        print(report)
        low, high = report.intervals["accuracy"]
        assert low <= report.metrics["accuracy"] <= high
        ```
    """
    arguments.check_model(model)
    arguments.check_int(batch_size, "batch_size", 1)
    task = task_of(model)
    family, logits = family_of(task), from_logits(model, task)
    family.check_threshold(threshold)
    named = own_labels.read(x, y, model, task)
    x, y, task = named.x, named.y, named.task
    given = None if y is None else labels.read(y, sample_weight, model, task)
    found = samples.run(model, x, batch_size=batch_size, verbose=verbose)
    if given is None:
        weights = found.weights if sample_weight is None else sample_weight
        given = labels.read(found.y, weights, model, task)
    elif found.y is not None:
        raise ValueError(
            f"`x` is a {type(x).__name__}, which brings its own y: leave `y` out. "
            f"Received: y of type {type(y).__name__}"
        )
    rows = labels.rows(found.outputs, given)
    score = family.score(
        rows.outputs, rows.y, task, logits, samples=rows.samples, threshold=threshold
    )
    notes = (*named.notes, *given.notes, *_of_places(rows), *score.notes)
    return EvaluationReport(
        task=task,
        count=rows.samples,
        threshold=threshold,
        class_names=family.names(task),
        **{**vars(score), "notes": notes},
    )


def _of_places(rows: labels.Rows) -> tuple[str, ...]:
    if rows.samples == len(rows.y):
        return ()
    return (
        f"{len(rows.y):,} labels of {rows.samples:,} samples: since those of a sample depend on "
        "each other, the intervals count each sample once",
    )
