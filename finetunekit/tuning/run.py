"""`fine_tune`: a probe of the head, then the top of the backbone."""

import dataclasses
import numbers
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import load_backbone
from finetunekit.callbacks.early_stopping import EarlyStopping
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import plural, say
from finetunekit.models import metadata
from finetunekit.models.metadata import Task
from finetunekit.optimizers import depth
from finetunekit.tasks import add_head, family_of
from finetunekit.training.compiling import compile_for_task
from finetunekit.training.stages import Stage, fit_in_stages
from finetunekit.tuning import labels as label_tasks
from finetunekit.tuning import sources
from finetunekit.tuning.judge import Judge, measure
from finetunekit.tuning.report import TuneReport

# What "auto" means. Batches of texts are cut to their longest only while nothing is frozen, so
# there one pass over everything costs less than several over the features of a part.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "texts": {
        "probe_epochs": 5, "epochs": 1, "top": 1.0, "learning_rate": 1e-4, "layer_decay": 0.9
    },
    "others": {
        "probe_epochs": 10, "epochs": 10, "top": 0.5, "learning_rate": 1e-4, "layer_decay": 1.0
    },
}  # fmt: skip
_HELD_OUT, _FEWEST = 0.1, 1000  # With fewer samples, those held out would say little.


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """What can be overridden, as given."""

    probe_epochs: Any
    epochs: Any
    top: Any
    learning_rate: Any
    layer_decay: Any
    batch_size: int
    seed: int
    verbose: Any
    callbacks: Any
    resume: Any


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
    along a cosine. Held-out samples, if there are any, stop both stages and say which of the two
    is kept. The steps are those of `add_head`, `compile_for_task` and `fit_in_stages`; to go
    beyond, write these.

    Args:
        source: What `load_backbone` takes, or a model without a head.
        train: `(x, y)`: arrays, or a list of texts or a pair of lists `(first, second)`, with
            labels: integer labels, names, rows, or values; or a folder with a subfolder of
            images for each class; or a tf.data pipeline or PyDataset of `(inputs, labels)`.
        validation_data: The same, held out.
        task: `"auto"` goes by the labels; or as for `add_head`.
        test_data: The same, to measure the result on.
        class_names: One name a class; of names as labels, their order.
        validation_split: Without validation data, the share of the samples to hold out, drawn by
            class; `"auto"` holds out a tenth from 1,000 samples on, and none of fewer.
        image_size: Height and width of images in a folder; the backbone's by default.
        dropout: Rate of the Dropout of the head.
        probe_epochs: Epochs for the head, at most; `"auto"` is 10, and 5 for texts. A
            head that is trained to the end leaves the backbone little to learn.
        epochs: Epochs for the upper part, at most, 0 for the head alone; `"auto"` is 10, and 1
            for texts.
        top: The share of the backbone's blocks that trains, up to 1; `"auto"` is 0.5, and 1 for
            texts.
        learning_rate: The rate of the upper part; `"auto"` is 1e-4. The head's in the first stage
            is 1e-3.
        layer_decay: As for `layerwise_optimizer`, in the upper part; `"auto"` is 1, and 0.9 for
            texts.
        batch_size: Samples a step.
        seed: Seed of weights, split, order and dropout.
        verbose: 0 for no progress and no report in the log; as for `fit` otherwise.
        callbacks: Callbacks of both stages, such as a `callbacks.Checkpoint`.
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
    plan = _Plan(
        probe_epochs=_whole(probe_epochs, "probe_epochs", 1, auto=True),
        epochs=_whole(epochs, "epochs", 0, auto=True),
        top=_share(top, "top"),
        learning_rate=_number(learning_rate, "learning_rate", arguments.POSITIVE),
        layer_decay=_number(layer_decay, "layer_decay", arguments.SHARE_OR_ALL),
        batch_size=_whole(batch_size, "batch_size", 1),
        seed=_whole(seed, "seed", 0),
        verbose=verbose,
        callbacks=callbacks,
        resume=resume,
    )
    keras.utils.set_random_seed(plan.seed)
    backbone = load_backbone(source, **load_options)
    plan = _with_defaults(plan, metadata.of(backbone).tokenizer is not None)
    if metadata.of(backbone).head is not None:
        raise ValueError(
            "`source` has a head already: train it with `fit` or `fit_in_stages`, or give its "
            f"backbone. Received: source={source!r}"
        )
    names = label_tasks.names_in_order(task, class_names)
    known = sources.read(train, "train", backbone, image_size, names, labels=True)
    found, y, why = label_tasks.task_of_labels(known.y, task, names or known.class_names)
    choices = {"task": f"{found.name}, {why}"}
    data, held_out = _divided(known, y, found, validation_data, validation_split, plan, choices)
    held_out = _also(validation_data, "validation_data", backbone, image_size, found, held_out)
    test = _also(test_data, "test_data", backbone, image_size, found, None)
    model = add_head(backbone, found, dropout=dropout)
    return _tuned(model, found, data, held_out, test, plan, choices)


def _divided(
    known: sources.Source,
    y: np.ndarray,
    task: Task,
    validation_data: Any,
    share: float | str,
    plan: _Plan,
    choices: dict[str, str],
) -> tuple[Any, Any]:
    """What trains, and what is held out of it."""
    whole = (known.x,) if known.is_pipeline else (known.x, y)
    if validation_data is not None and share not in ("auto", 0):
        raise ValueError(
            "`validation_split` and `validation_data` both say what to validate on; give one. "
            f"Received: validation_split={share!r}"
        )
    if validation_data is not None:
        return whole, None
    if share == "auto":
        share = _HELD_OUT if len(y) >= _FEWEST and not known.is_pipeline else 0.0
    if share and known.is_pipeline:
        raise ValueError(
            "`validation_split` cannot cut a pipeline; give `validation_data`. "
            f"Received: validation_split={share!r}"
        )
    if not share:
        choices["validation"] = (
            f"none of {len(y):,} samples is held out, so both stages have a fixed length; "
            "give `validation_data` or `validation_split`"
        )
        return whole, None
    stratify = family_of(task).can_stratify and y[0].size == 1
    kept, out = sources.split(
        known, y, _share(share, "validation_split"), plan.seed, stratify=stratify
    )
    choices["validation"] = f"{len(out[1]):,} of {len(y):,} samples, drawn at random"
    return kept, out


def _also(
    given: Any, name: str, backbone: Any, size: int | None, task: Task, otherwise: Any
) -> Any:
    """Validation or test data, as `fit` and `evaluate` take them."""
    if given is None:
        return otherwise
    source = sources.read(given, name, backbone, size, task.class_names, labels=False)
    if source.is_pipeline:
        return source.x
    _, y, _ = label_tasks.task_of_labels(source.y, task, task.class_names, name)
    return source.x, y


def _tuned(
    model: keras.Model,
    task: Task,
    data: Any,
    held_out: Any,
    test: Any,
    plan: _Plan,
    choices: dict[str, str],
) -> tuple[keras.Model, TuneReport]:
    compile_for_task(model, optimizer=keras.optimizers.AdamW(1e-3))
    judge = Judge(model, held_out, stages=2 if plan.epochs else 1)
    history = fit_in_stages(
        model,
        *data,
        stages=_stages(model, plan, judge, stops=held_out is not None, choices=choices),
        batch_size=None if len(data) == 1 else plan.batch_size,
        validation_data=held_out,
        seed=plan.seed if len(data) == 2 else None,
        verbose=plan.verbose,
        callbacks=plan.callbacks,
        resume=plan.resume,
    )
    report = TuneReport(
        task=task,
        choices=choices,
        history=history,
        probe=judge.probe,
        tuned=judge.tuned,
        kept=judge.kept,
        test=measure(model, test),
        seconds=dict(judge.seconds),
    )
    say(str(report), plan.verbose)
    return model, report


def _stages(
    model: keras.Model, plan: _Plan, judge: Judge, *, stops: bool, choices: dict[str, str]
) -> list[Stage]:
    """The head alone, then the upper part of the backbone with it, if that is wanted."""
    choices["probe"] = f"the head alone, up to {plural(plan.probe_epochs, 'epoch')} at 1e-3"
    probing = Stage(
        trainable="head",
        epochs=plan.probe_epochs,
        name="probe",
        callbacks=[*([EarlyStopping(patience=5)] if stops else []), judge],
        learning_rate=1e-3,
    )
    if not plan.epochs:
        return [probing]
    return [probing, _upper(model, plan, judge, stops=stops, choices=choices)]


def _upper(
    model: keras.Model, plan: _Plan, judge: Judge, *, stops: bool, choices: dict[str, str]
) -> Stage:
    found = depth.groups(model)
    count = max(1, round(plan.top * (len(found) - 1)))
    choices["fine-tune"] = (
        f"the head and the last {count} of {len(found) - 1} blocks, up to "
        f"{plural(plan.epochs, 'epoch')} at a rate of {plan.learning_rate:.2g} that falls along a "
        f"cosine{_decay_text(plan.layer_decay)}"
    )
    return Stage(
        trainable=[layer for _, layers in found[-count - 1 :] for layer in layers],
        epochs=plan.epochs,
        learning_rate=plan.learning_rate,
        schedule="cosine",
        layer_decay=plan.layer_decay,
        callbacks=[*([EarlyStopping(patience=2)] if stops else []), judge],
        name="fine-tune",
    )


def _decay_text(decay: float) -> str:
    return "" if decay == 1 else f", each block at {decay:g} times the rate of the one above"


def _with_defaults(plan: _Plan, texts: bool) -> _Plan:
    found = _DEFAULTS["texts" if texts else "others"]
    return dataclasses.replace(
        plan, **{name: value for name, value in found.items() if getattr(plan, name) == "auto"}
    )


def _whole(value: Any, name: str, smallest: int, *, auto: bool = False) -> Any:
    if auto and value == "auto":
        return value
    arguments.check_int(value, name, smallest)
    return int(value)


def _number(value: Any, name: str, interval: arguments.Interval) -> Any:
    return value if value == "auto" else arguments.check_number(value, name, interval)


def _share(value: Any, name: str) -> Any:
    if value == "auto":
        return value
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0 < float(value) <= 1:
        raise ValueError(
            f"`{name}` must be a share above 0 and up to 1. Received: {name}={value!r}"
        )
    return float(value)
