"""`compile_for_task`: loss, metrics and optimizer of a model's task."""

import dataclasses
import inspect
import weakref
from typing import Any

import keras

from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import closest, say, warn
from finetunekit.models import metadata, state_tables
from finetunekit.models.metadata import Choices, Task
from finetunekit.optimizers import make_optimizer, note, trainable_part
from finetunekit.tasks import (
    family_of,
    feed_functions,
    fit_metrics,
    loss_name,
    objective_of,
    task_of,
)


def compile_for_task(
    model: keras.Model,
    task: str | Task = "auto",
    *,
    learning_rate: Any = "auto",
    optimizer: Any = "auto",
    loss: Any = "auto",
    metrics: Any = "auto",
    label_smoothing: float = 0.0,
    ema_momentum: float | None = None,
    **compile_options: Any,
) -> keras.Model:
    """Compiles a model in place with what fits its task; underneath it is one `model.compile`.

    Binary and multilabel models get binary cross-entropy, multiclass ones cross-entropy (for
    integer labels or one-hot labels: `fit` looks at the labels), regression the mean squared error.
    Probabilities and logits are told apart by the output's activation. Metrics given by name or
    object are fitted to the head: to logits or probabilities, integer or one-hot labels, several
    labels at once; the log says what was fitted, and one that means nothing there is an error.

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
        metrics: `"auto"`, or whatever `compile` takes, and a single metric, too. A function of
            `(y_true, y_pred)` sees labels in the shape of the outputs, and integer labels of
            several classes without an axis of length 1. Like `weighted_metrics`, which counts
            samples by their weight, they are fitted for a model of one output.
        label_smoothing: The share of each label that is spread over all classes, such as 0.1. A
            file keeps it for `finetunekit.load`; in plain Keras, the loss of integer labels is the
            one without it then.
        ema_momentum: Averages the weights over about `1 / (1 - ema_momentum)` steps, such as
            0.99: `fit` validates and ends with the averages.
        **compile_options: Handed to `model.compile`.

    Returns:
        The same model.

    Raises:
        ValueError: If nothing is trainable, or model, task, metrics and options do not fit
            together.
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
    arguments.check_model(model)
    _check_options(compile_options, metrics, loss)
    _check_smoothing(label_smoothing, loss)
    part = trainable_part(model)
    found = _task_or_none(model, task, loss, needed="auto" in (_word(loss), _word(metrics)))
    automatic = {"loss": _word(loss) == "auto", "metrics": _word(metrics) == "auto"}
    if found is not None and any(automatic.values()):
        picked = objective_of(model, found, label_smoothing)
        loss = picked.loss if automatic["loss"] else loss
        metrics = picked.metrics if automatic["metrics"] else metrics
    chosen, reason = make_optimizer(optimizer, learning_rate, part, ema_momentum)
    _check_free(chosen, model)
    # Keras takes None for "those of the last compile".
    compile_options["metrics"] = [] if metrics is None else metrics
    _compile(model, found, {"optimizer": chosen, "loss": loss, **compile_options})
    state_tables.OWNER[chosen] = weakref.ref(model)
    metadata.remember(
        model,
        task=found,
        choices=Choices(
            loss=model.loss,
            optimizer=model.optimizer,
            automatic_loss=automatic["loss"],
            automatic_metrics=automatic["metrics"],
            rate_chosen_for=part if _is_automatic(optimizer, learning_rate) else None,
            label_smoothing=float(label_smoothing),
        ),
    )
    _say(model, reason)
    return model


def _say(model: keras.Model, reason: str) -> None:
    """Says what a model was compiled for, and what its rate was picked for."""
    task, picked = metadata.of(model).task, metadata.choices(model)
    if picked is not None and picked.rate_chosen_for is not None:
        reason += note(model, picked.rate_chosen_for)
    say(f"compiled {model.name!r} for {task.name if task else 'its own loss'}: {reason}")


def recompile_for_labels(model: keras.Model, task: Task) -> bool:
    """Compiles again for the other form of labels, in place, if `compile_for_task` did; says so.

    The optimizer object and all that the user chose stay; metrics are fitted to the labels.
    """
    picked = metadata.choices(model)
    if picked is None:
        return False
    if not picked.automatic_loss and _form_for(model.loss, task) != task:
        return False  # The loss takes labels of its own form, and says so.
    arguments = keras_internals.compile_arguments(model) | {"optimizer": model.optimizer}
    if picked.automatic_loss:
        wanted = objective_of(model, task, picked.label_smoothing)
        arguments["loss"] = wanted.loss
        if picked.automatic_metrics:
            arguments["metrics"] = wanted.metrics
    _compile(model, task, arguments, verbose=False)
    metadata.remember(model, task=task, choices=dataclasses.replace(picked, loss=model.loss))
    return True


def warn_of_rate(model: keras.Model) -> None:
    """Warns if the rate was picked for another part of the model than the one that trains now."""
    picked = metadata.choices(model)
    if picked is None or picked.rate_chosen_for is None:
        return
    part = trainable_part(model)
    if part != picked.rate_chosen_for:
        what = {"head": "the head alone", "part": "a part of the backbone", "all": "everything"}
        warn(
            f"the learning rate of {model.name!r} was picked when {what[picked.rate_chosen_for]} "
            f"trained, but {what[part]} trains now; `compile_for_task(model)` picks one that fits, "
            "or give `learning_rate=`"
        )


def _form_for(loss: Any, task: Task) -> Task:
    """The task in the form of labels that a loss takes."""
    return family_of(task).task_for_loss(task, loss_name(loss))


def _compile(
    model: keras.Model, task: Task | None, options: dict[str, Any], *, verbose: bool = True
) -> None:
    """Compiles with metrics that fit the head, where the task is known."""
    if task is None:
        model.compile(**options)
        return
    fitted = {
        kind: fit_metrics(
            options[kind], model, task, options["loss"], weighted=weighted, verbose=verbose
        )
        for kind, weighted in (("metrics", False), ("weighted_metrics", True))
        if options.get(kind)
    }
    model.compile(**options | fitted)
    feed_functions(model, task)


def _is_automatic(optimizer: Any, learning_rate: Any) -> bool:
    return isinstance(optimizer, str) and _word(learning_rate) == "auto"


def _check_options(options: dict[str, Any], metrics: Any, loss: Any) -> None:
    known = inspect.signature(keras.Model.compile).parameters
    for name in options:
        if name not in known:
            hint = "Did you mean `learning_rate`? " if name == "lr" else closest(name, known)
            raise TypeError(
                f"`{name}` is not an argument of `compile_for_task` or `model.compile`. {hint}"
                f"Received: {name}={options[name]!r}"
            )
    for metric in keras.tree.flatten(metrics) if metrics is not None else []:
        _check_name(metric, "metrics", keras.metrics.get, dir(keras.metrics))
    for one in keras.tree.flatten(loss) if loss is not None else []:
        _check_name(one, "loss", keras.losses.get, dir(keras.losses))


def _check_name(value: Any, argument: str, find: Any, names: list[str]) -> None:
    """Keras itself would fail in `fit` only."""
    if not isinstance(value, str) or value in ("auto", "accuracy", "acc", "crossentropy", "ce"):
        if value in ("crossentropy", "ce") and argument == "loss":
            raise ValueError(
                "`loss` must be 'auto', or a loss of Keras such as 'binary_crossentropy' or "
                f"'sparse_categorical_crossentropy'. Received: loss={value!r}"
            )
        return
    try:
        find(value)
    except TypeError:
        return  # It needs arguments, which the head tells, or an error does.
    except ValueError as error:
        hint = closest(value, [*names, "accuracy"])
        raise ValueError(
            f"`{argument}` must be 'auto', or what Keras knows. {hint}"
            f"Received: {argument}={value!r}"
        ) from error


def _check_smoothing(amount: Any, loss: Any) -> None:
    arguments.check_number(amount, "label_smoothing", arguments.SHARE_OR_NONE, "such as 0.1")
    if amount and _word(loss) != "auto":
        raise ValueError(
            "`label_smoothing` belongs to the loss of the task. Give it to your loss, such as "
            "keras.losses.CategoricalCrossentropy(label_smoothing=0.1), or leave `loss` out. "
            f"Received: label_smoothing={amount!r}, loss={loss!r}"
        )


def _word(value: Any) -> Any:
    """The value if it is a string; comparing a loss object to one may mean anything."""
    return value if isinstance(value, str) else None


def _task_or_none(model: keras.Model, task: Any, loss: Any, *, needed: bool) -> Task | None:
    try:
        return task_of(model, task, loss=loss)
    except ValueError:
        if needed or task != "auto":
            raise
        return None


def _check_free(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> None:
    owner = state_tables.OWNER.get(optimizer, lambda: None)()
    if owner is model or optimizer is getattr(model, "optimizer", None):
        return
    if owner is not None or optimizer.built:
        raise ValueError(
            "`optimizer` belongs to another model already and holds its state. Make a new one, "
            f"such as {type(optimizer).__name__}.from_config(optimizer.get_config()). "
            f"Received: optimizer={type(optimizer).__name__} object"
        )
