"""`fine_tune`: a probe of the head, then the top of the backbone."""

import math
from typing import Any

import keras

from finetunekit.backbones.loading import load_backbone
from finetunekit.data import image_files
from finetunekit.foundation.messages import obeys_verbose, say, warn
from finetunekit.models import classifier, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks import add_head
from finetunekit.training.compiling import compile_for_task
from finetunekit.training.stages import fit_in_stages
from finetunekit.tuning import options as given_options
from finetunekit.tuning import own_names
from finetunekit.tuning.datasets import Datasets
from finetunekit.tuning.judge import Judge, is_no_better_than_baseline, measure
from finetunekit.tuning.options import Options
from finetunekit.tuning.recipe import HEAD_RATE, has_attention, stages_of, with_defaults
from finetunekit.tuning.report import TuneReport


@obeys_verbose
def fine_tune(
    source: Any,
    train: Any,
    validation_data: Any = None,
    task: str | Task = "auto",
    *,
    test_data: Any = None,
    class_names: Any = None,
    validation_split: float | str = "auto",
    image_size: int | None = None,
    dropout: float = 0.2,
    probe_epochs: int | str = "auto",
    epochs: int | str = "auto",
    top: float | str = "auto",
    learning_rate: float | str = "auto",
    layer_decay: float | str = "auto",
    budget: float | str | None = None,
    class_weight: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    verbose: Any = "auto",
    callbacks: Any = None,
    resume: Any = None,
    **load_options: Any,
) -> tuple[keras.Model, TuneReport]:
    """Loads a backbone and tunes it for a task, with choices that are told; a new model.

    The head is trained on the frozen backbone first, whose features are computed once; then the
    upper half of the backbone (of a text model, all of it) with it, at rates that fall with depth,
    along a cosine; the longer, the less the head alone has learned. Held-out samples, if there
    are any, measure both stages, and bring the head's weights back should fine-tuning have done
    harm; they never cut a stage short. Numbers are standardized inside of the model. The steps are
    those of `add_head`, `compile_for_task` and `fit_in_stages`; to go beyond, write these.

    Args:
        source: What `load_backbone` takes, or a model without a head, which is trained itself:
            give a copy to keep it as it is. A classifier at its end is left off.
        train: `(x, y)`: arrays, or a list of texts or a pair of lists `(first, second)`, with
            labels: integer labels, names, rows, or values; or a folder with a subfolder of
            images for each class, or with such folders in its subfolders `train`, `val` and
            `test`; or a tf.data pipeline or PyDataset of `(inputs, labels)`.
        validation_data: The same, held out.
        task: `"auto"` goes by the labels; or as for `add_head`.
        test_data: The same, to measure the result on.
        class_names: One name a class; of names as labels, their order.
        validation_split: Without validation data, the share of the samples to hold out, drawn by
            class; `"auto"` holds out a tenth from 1,000 samples on, and none of fewer.
        image_size: Height and width of images in a folder; the backbone's by default.
        dropout: Rate of the Dropout of the head.
        probe_epochs: Epochs for the head; `"auto"` is 10, and 5 for texts, and more where samples
            are few.
        epochs: Epochs for the upper part, 0 for the head alone; `"auto"` is 10, and 1 to 3 for
            texts, by what the head alone explains; more where samples are few.
        top: The share of the backbone's blocks that trains, up to 1; `"auto"` is 0.5, and 1 for
            texts.
        learning_rate: The rate of the upper part; `"auto"` is 3e-4, and 1e-4 for texts and for
            backbones with attention. The head's in the first stage is 1e-3.
        layer_decay: As for `layerwise_optimizer`, in the upper part; `"auto"` is 1, and 0.9 for
            texts.
        budget: The time that training may take, in seconds or as a text such as `"2 min"`. The
            rate falls to 0 within it; see `callbacks.TimeBudget`.
        class_weight: As for `fit`.
        batch_size: Samples a step.
        seed: Seed of weights, split, order and dropout.
        verbose: 0 for no progress and no messages; as for `fit` otherwise.
        callbacks: Callbacks of both stages, such as a `callbacks.Checkpoint`, or a
            `callbacks.EarlyStopping` for validation data that are many.
        resume: The file of a `callbacks.Checkpoint` to resume from, as for `fit`.
        **load_options: For `load_backbone`.

    Returns:
        The model, compiled, and a `TuneReport`.

    Raises:
        ValueError: If data, labels and options do not fit together.
        TypeError: If an argument is of the wrong type.
        OSError: If a file or folder is not there.

    Example:
        ```python
        import finetunekit as ftk

        model, report = ftk.fine_tune(
            "pretrained_model.h5", (x_train, y_train), probe_epochs=2, epochs=1, verbose=0
        )
        print(report)
        ```

    Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
        Out-of-Distribution", arXiv:2202.10054 (probe, then fine-tune).
    """
    given_options.check_source(source, train)
    given_options.check_load_options(load_options, fine_tune)
    options = Options(
        task=task,
        class_names=class_names,
        validation_split=validation_split,
        image_size=image_size,
        dropout=dropout,
        probe_epochs=probe_epochs,
        epochs=epochs,
        top=top,
        learning_rate=learning_rate,
        layer_decay=layer_decay,
        budget=budget,
        class_weight=class_weight,
        batch_size=batch_size,
        seed=seed,
        verbose=verbose,
        callbacks=callbacks,
        resume=resume,
    ).checked()
    keras.utils.set_random_seed(options.seed)
    backbone = _load(source, load_options)
    data = Datasets.read(train, validation_data, test_data, backbone, options)
    return _tuned(backbone, data, _decided(options, backbone, data))


def _decided(options: Options, backbone: keras.Model, data: Datasets) -> Options:
    """The options without `"auto"`."""
    return with_defaults(
        options,
        texts=metadata.of(backbone).tokenizer is not None,
        attention=has_attention(backbone),
        samples=len(data.y),
    )


def _load(source: Any, options: dict[str, Any]) -> keras.Model:
    backbone = load_backbone(source, **options)
    if metadata.of(backbone).head is not None:
        raise ValueError(
            "`source` has a head already: train it with `fit` or `fit_in_stages`, or give its "
            f"backbone. Received: source={source!r}"
        )
    given = options.get("include_top", "auto")
    return classifier.without_probabilities(backbone) if given == "auto" else backbone


def _with_head(backbone: keras.Model, data: Datasets, dropout: float) -> keras.Model:
    """A new model, which knows how its image files were read."""
    model = add_head(backbone, data.task, dropout=dropout)
    if data.of_files:
        image_files.remember(model, data.bits)
    return model


def _epochs_per_validation(data: Datasets, options: Options) -> int:
    """So many that validation takes no longer than training, unless a callback may wait for it."""
    if options.callbacks is not None or not isinstance(data.held_out, tuple):
        return 1
    return math.ceil(len(data.held_out[1]) / len(data.y))


def _tuned(
    backbone: keras.Model, data: Datasets, options: Options
) -> tuple[keras.Model, TuneReport]:
    model = _with_head(backbone, data, options.dropout)
    compile_for_task(model, optimizer=keras.optimizers.AdamW(HEAD_RATE))
    judge = Judge(model, data.task, data.y, data.held_out, stages=2 if options.epochs else 1)
    pipeline = len(data.train) == 1
    with own_names.errors_of_train(pipeline=pipeline):
        history = fit_in_stages(
            model,
            *data.train,
            stages=stages_of(model, options, judge, data.choices),
            batch_size=None if pipeline else options.batch_size,
            validation_data=data.held_out,
            validation_freq=_epochs_per_validation(data, options),
            class_weight=options.class_weight,
            seed=None if pipeline else options.seed,
            verbose=options.verbose,
            callbacks=options.callbacks,
            resume=options.resume,
        )
    report = _report(model, data, judge, history)
    _warn_of_baseline(report)
    say(f"the {report.kept} weights are kept; print the report for all that was found")
    return model, report


def _warn_of_baseline(report: TuneReport) -> None:
    """Warns of a model that has learned nothing that counts."""
    parts = (("held-out samples", report.validation), ("the test data", report.test))
    for name, found in parts:
        if found is not None and is_no_better_than_baseline(report.task, found):
            warn(
                f"on {name} the model is no better than the baseline, {found.baseline_is}: check "
                "that the labels belong to the samples, or give more samples or epochs"
            )


def _report(model: keras.Model, data: Datasets, judge: Judge, history: Any) -> TuneReport:
    return TuneReport(
        task=data.task,
        choices=data.choices,
        history=history,
        probe=judge.probe,
        tuned=judge.tuned,
        kept=judge.kept,
        explained=judge.explained,
        validation=judge.report,
        test=measure(model, data.test),
        seconds=dict(judge.seconds),
    )
