"""With which loss, metrics and optimizer is the model compiled? Those of its task."""

from typing import Any

import keras

from finetunekit import metadata
from finetunekit.messages import say
from finetunekit.metadata import Task
from finetunekit.optimizers import make_optimizer, trainable_part
from finetunekit.tasks import FAMILIES, from_logits, task_of


def compile_for_task(
    model: keras.Model,
    task: str | Task = "auto",
    *,
    learning_rate: Any = "auto",
    optimizer: Any = "auto",
    loss: Any = "auto",
    metrics: Any = "auto",
    **compile_options: Any,
) -> keras.Model:
    """Compiles a model in place with what fits its task; underneath it is one `model.compile`.

    Binary and multilabel models get binary cross-entropy, multiclass ones cross-entropy (for
    class numbers or one-hot rows: `fit` looks at the labels), regression the mean squared error.
    Probabilities and logits are told apart by the output's activation.

    Args:
        model: A model with one output of shape `(batch, outputs)`.
        task: `"auto"` takes the task on record, or tells it from the output; or a task's name, or
            a `Task`.
        learning_rate: `"auto"` takes, for Adam, 1e-3 when the head alone trains, 1e-4 when a part
            of the backbone does, 1e-5 when everything does (SGD: ten times as much); or a number
            or schedule.
        optimizer: `"auto"` is Adam; `"adam"`, `"adamw"`, `"sgd"` (momentum 0.9), or an optimizer
            object, which keeps its own rate.
        loss: `"auto"`, or whatever `compile` takes.
        metrics: `"auto"`, or whatever `compile` takes.
        **compile_options: Handed to `model.compile`.

    Returns:
        The same model.

    Raises:
        ValueError: If nothing is trainable, or model, task and options do not fit together.
        TypeError: If an argument is of the wrong type.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("pretrained_model.h5"), "binary")
        ftk.compile_for_task(model, optimizer="adamw", learning_rate=3e-4)
        ```

    Source:
        The rates: Keras' guide "Transfer learning & fine-tuning" (1e-3 and 1e-5); 1e-4 is their
        geometric mean.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: model={model!r}")
    part = trainable_part(model)
    found = _task_or_none(model, task, needed="auto" in (_word(loss), _word(metrics)))
    automatic = _word(loss) == "auto"
    if found is not None:
        family = FAMILIES[found.name]
        if "auto" in (_word(loss), _word(metrics)):
            logits = from_logits(model, found)
            loss = family.loss(found, logits) if automatic else loss
            metrics = family.metrics(found, logits) if _word(metrics) == "auto" else metrics
    chosen, reason = make_optimizer(optimizer, learning_rate, part)
    _check_free(chosen, model)
    model.compile(optimizer=chosen, loss=loss, metrics=metrics, **compile_options)
    metadata.remember(model, task=found, automatic_loss=automatic)
    say(f"compiled {model.name!r} for {found.name if found else 'its own loss'}: {reason}")
    return model


def recompile_for_labels(model: keras.Model, task: Task) -> None:
    """Compiles again for the other form of labels, with the same optimizer object, in place."""
    family, logits = FAMILIES[task.name], from_logits(model, task)
    model.compile(
        optimizer=model.optimizer,
        loss=family.loss(task, logits),
        metrics=family.metrics(task, logits),
        run_eagerly=model.run_eagerly,
        steps_per_execution=model.steps_per_execution,
        jit_compile=model.jit_compile,
    )
    metadata.remember(model, task=task)


def _word(value: Any) -> Any:
    """The value if it is a string; comparing a loss object to one may mean anything."""
    return value if isinstance(value, str) else None


def _task_or_none(model: keras.Model, task: Any, *, needed: bool) -> Task | None:
    try:
        return task_of(model, task)
    except ValueError:
        if needed or task != "auto":
            raise
        return None


def _check_free(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    if optimizer.built and optimizer is not model.optimizer:
        raise ValueError(
            "`optimizer` has trained another model already and holds its state. Make a new one, "
            f"such as {type(optimizer).__name__}.from_config(optimizer.get_config()). "
            f"Received: optimizer={type(optimizer).__name__} object"
        )
