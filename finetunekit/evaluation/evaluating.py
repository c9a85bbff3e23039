"""`evaluate`: how good a model is, with what chance and a baseline have to do with it."""

import os
from typing import Any

import keras

from finetunekit.data import image_folders
from finetunekit.evaluation import labels, samples
from finetunekit.evaluation.report import EvaluationReport
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, plural
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of, from_logits, task_of


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
    x, y, left_out = _with_folder(x, y, model, task)
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
    notes = (*left_out, *given.notes, *_of_places(rows), *score.notes)
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


def _with_folder(
    x: Any, y: Any, model: keras.Model, task: Task
) -> tuple[Any, Any, tuple[str, ...]]:
    """The files and labels of a folder with a subfolder for each class, and what is left out."""
    is_folder = isinstance(x, (str, os.PathLike)) and os.path.isdir(x)
    if y is not None or not is_folder or samples.files_of(model, x) is None:
        return x, y, ()
    found = image_folders.read_classes(x, "x", least=1)
    names = task.class_names or tuple(found.files)
    unknown = [name for name in found.files if name not in names]
    count = len(family_of(task).names(task))
    if unknown or len(names) != count:
        wanted = listed(task.class_names) if task.class_names else f"{count} of them"
        raise ValueError(
            f"`x` must have a subfolder for each class of {model.name!r}: {wanted}. "
            f"Received: x={os.fspath(x)!r} with the subfolders {listed(found.files)}"
        )
    pairs = [(file, names.index(name)) for name, files in found.files.items() for file in files]
    return [file for file, _ in pairs], [number for _, number in pairs], _left_out(found)


def _left_out(found: image_folders.ClassFolder) -> tuple[str, ...]:
    count = found.skipped.total() + len(found.broken)
    return (f"left out: {plural(count, 'file')} that cannot be read as images",) if count else ()
