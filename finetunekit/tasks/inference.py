"""The task of a model: from its metadata, its loss, or its output."""

from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import graph, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import families, family_of, make_task
from finetunekit.tasks.family import UNKNOWN


def task_of(
    model: keras.Model, task: Any = "auto", *, loss: Any = "auto", verbose: bool = True
) -> Task:
    """The model's task: the one given, the one on record, or the one that loss and output tell.

    Args:
        model: A model with one output.
        task: The task given, or `"auto"`.
        loss: What the model is going to be compiled with; `"auto"` asks what it is compiled with.
        verbose: Whether to say which task was recognised.

    Raises:
        ValueError: If the output does not tell, or does not fit the task given.
    """
    name = loss_name(getattr(model, "loss", None) if _is_auto(loss) else loss)
    known = _on_record(model, name)
    if task == "auto":
        found = known or _recognised(model, name, verbose)
    else:
        found = _given(model, task, known)
    # What the task has on record of the labels' form was true for the loss until now.
    return found if _is_auto(loss) else family_of(found).task_for_loss(found, name)


def known_task(model: keras.Model) -> Task | None:
    """The model's task, or None for one with an output or loss of its own."""
    try:
        return task_of(model, verbose=False)
    except ValueError:
        return None


def output_activation(model: keras.Model) -> str | None:
    """The activation that the model ends in: None for logits, `"unknown"` if it cannot be read."""
    if not graph.is_graph(model) or len(model.outputs) != 1:
        return UNKNOWN
    operation = keras_internals.producer(model.outputs[0])
    if isinstance(operation, keras.Model):
        return output_activation(operation)
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if isinstance(operation, keras.layers.Rescaling):
        return None
    activation = getattr(operation, "activation", UNKNOWN)
    if activation == UNKNOWN:
        return UNKNOWN
    name = keras.activations.serialize(activation) if activation is not None else "linear"
    return None if name == "linear" else name if isinstance(name, str) else UNKNOWN


def from_logits(model: keras.Model, task: Task) -> bool:
    """Whether the model gives logits rather than what its task's activation gives.

    Raises:
        ValueError: If it ends in an activation that the task cannot mean, or it cannot be told.
    """
    family, found = family_of(task), output_activation(model)
    family.check_output(found, task, model.name)
    return family.activation is not None and found is None


def loss_name(loss: Any) -> str:
    """The class name that Keras has for a loss given in any form; empty for a loss of others."""
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        return loss_name(loss[0])
    if isinstance(loss, dict) and len(loss) == 1:
        return loss_name(next(iter(loss.values())))
    if isinstance(loss, keras.losses.Loss):
        # A class derived from one of Keras' takes the same labels.
        return next((c.__name__ for c in type(loss).__mro__ if c.__name__ in _CLASSES), "")
    if isinstance(loss, str):
        loss = _LOSS_ALIASES.get(loss.lower(), loss)
    word = loss if isinstance(loss, str) else getattr(loss, "__name__", "")
    return _BY_PLAIN_NAME.get(word.replace("_", "").lower(), "")


def void_label(loss: Any) -> int | None:
    """The integer label that a loss ignores, of pixels or tokens without a class; else None."""
    if isinstance(loss, (list, tuple, dict)):
        parts = [*(loss.values() if isinstance(loss, dict) else loss)]
        return void_label(parts[0]) if len(parts) == 1 else None
    found = getattr(loss, "ignore_class", None)
    return int(found) if isinstance(loss, keras.losses.Loss) and found is not None else None


_CLASSES = {
    name
    for name in dir(keras.losses)
    if isinstance(getattr(keras.losses, name), type) and name != "Loss"
}
_BY_PLAIN_NAME = {name.lower(): name for name in _CLASSES}
_LOSS_ALIASES = {  # Keras' own, in lower case.
    "bce": "BinaryCrossentropy",
    "kld": "KLDivergence",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "mse": "MeanSquaredError",
    "msle": "MeanSquaredLogarithmicError",
}


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _on_record(model: keras.Model, loss: str) -> Task | None:
    """The task on record, unless it was only read from the output and the loss knows better."""
    known = metadata.of(model)
    task = known.task
    if task is None or known.head is not None or task.class_names is not None:
        return task
    activation, width = output_activation(model), task.num_classes
    by_output = [f.name for f in families() if f.recognises_output(activation, width)]
    by_loss = [f.name for f in families() if f.recognises_loss(loss, activation, width)]
    return None if task.name in by_output and by_loss and task.name not in by_loss else task


def _given(model: keras.Model, task: Any, known: Task | None) -> Task:
    width = _width(model)
    if not isinstance(task, str):
        wanted = make_task(task)
    else:
        names = known.class_names if known and known.name == task else None
        wanted = make_task(task, None if family_of(task).fixed_count else width, names)
    if wanted.num_classes != width:
        raise ValueError(
            f"`task` wants {wanted.num_classes} outputs, but {model.name!r} has {width}. Use "
            f"`replace_head(model, {wanted.name!r}, {wanted.num_classes})`. "
            f"Received: task={task!r}"
        )
    return wanted


def _width(model: keras.Model) -> int:
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            "`model` must have one output of shape (batch, ..., outputs); `add_head` builds one. "
            f"Received: model={model.name!r} with output shape {shape}"
        )
    return int(shape[-1])


def _recognised(model: keras.Model, loss: str, verbose: bool) -> Task:
    """The task that the loss tells, which says more than a linear output; else the output."""
    width, activation = _width(model), output_activation(model)
    by_loss = [f for f in families() if f.recognises_loss(loss, activation, width)]
    by_output = [f for f in families() if f.recognises_output(activation, width)]
    if not by_loss and not by_output:
        raise ValueError(
            f"The task cannot be told from an output of {width} values with activation "
            f"{activation!r}. If the model has no head yet, give it one with `add_head`; else say "
            f"which task it is: task= one of {', '.join(repr(f.name) for f in families())}. "
            "Received: task='auto'"
        )
    family = [*by_loss, *by_output][0]
    if verbose:
        what = "loss" if by_loss else "output"
        say(f"task of {model.name!r} taken from its {what}: {family.name!r} with {width} output(s)")
    return family.task_for_loss(make_task(family.name, width), loss)
