"""What task is this model for? Read from the metadata, else from how the model ends."""

from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import say
from finetunekit.models import graph, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks.families import FAMILIES, make_task

UNKNOWN = "unknown"


def task_of(model: keras.Model, task: Any = "auto", *, verbose: bool = True) -> Task:
    """The model's task: the one given, the one on record, or the one its output speaks of.

    A compiled loss of Keras tells more than a linear output.

    Raises:
        ValueError: If the output does not tell, or does not fit the task given.
    """
    known = metadata.of(model).task
    if task == "auto":
        return known or _from_loss(model) or _inferred(model, verbose)
    width = _width(model)
    wanted = task
    if not isinstance(task, Task):
        names = known.class_names if known and known.name == task else None
        count = None if task == "binary" or task not in FAMILIES else width
        wanted = make_task(task, count, names)
    else:
        wanted = make_task(task)
    if wanted.num_classes != width:
        raise ValueError(
            f"`task` wants {wanted.num_classes} outputs, but {model.name!r} has {width}. Use "
            f"`replace_head(model, {wanted.name!r}, {wanted.num_classes})`. "
            f"Received: task={task!r}"
        )
    return wanted


def output_activation(model: keras.Model) -> str | None:
    """The activation that the model ends in: None for logits, `"unknown"` if it cannot be read."""
    if not graph.is_graph(model) or len(model.outputs) != 1:
        return UNKNOWN
    operation = keras_internals.producer(model.outputs[0])
    if isinstance(operation, keras.Model):
        return output_activation(operation)
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    activation = getattr(operation, "activation", UNKNOWN)
    if activation == UNKNOWN:
        return UNKNOWN
    name = keras.activations.serialize(activation) if activation is not None else "linear"
    return None if name == "linear" else name if isinstance(name, str) else UNKNOWN


def from_logits(model: keras.Model, task: Task) -> bool:
    """Whether the model gives logits rather than probabilities.

    Raises:
        ValueError: If it ends in another activation than the task's, or it cannot be told.
    """
    expected = FAMILIES[task.name].ACTIVATION
    found = output_activation(model)
    if expected is None:
        if found == "softmax":
            raise ValueError(
                f"{model.name!r} ends in a softmax, whose outputs are probabilities of classes, "
                f"not numbers. Use `replace_head(model, {task.name!r}, {task.num_classes})`. "
                f"Received: task={task.name!r}"
            )
        return False
    if found not in (expected, None):
        what = "cannot be read" if found == UNKNOWN else f"is {found!r}"
        raise ValueError(
            f"The output activation of {model.name!r} {what}; task {task.name!r} expects "
            f"{expected!r} or none (logits). Build the head with `add_head`, or give `loss=` and "
            f"`metrics=`. Received: task={task.name!r}"
        )
    return found is None


def _width(model: keras.Model) -> int:
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            "`model` must have one output of shape (batch, ..., outputs); `add_head` builds one. "
            f"Received: model={model.name!r} with output shape {shape}"
        )
    return int(shape[-1])


_LOSSES = {
    "binarycrossentropy": ("binary", "multilabel"),
    "sparsecategoricalcrossentropy": ("multiclass", "multiclass"),
    "categoricalcrossentropy": ("multiclass", "multiclass"),
}


def _from_loss(model: keras.Model) -> Task | None:
    """The task of a model that was compiled with one of Keras' cross-entropies."""
    loss = getattr(model, "loss", None)
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    names = _LOSSES.get(str(name).replace("_", ""))
    if names is None:
        return None
    width = _width(model)
    if "multiclass" in names and width < 2:
        return None
    return make_task(names[width > 1], width)


def _inferred(model: keras.Model, verbose: bool) -> Task:
    width, activation = _width(model), output_activation(model)
    if activation == "softmax" and width > 1:
        name = "multiclass"
    elif activation == "sigmoid":
        name = "binary" if width == 1 else "multilabel"
    elif activation is None and width == 1:
        name = "regression"
    else:
        raise ValueError(
            f"The task cannot be told from an output of {width} values with activation "
            f"{activation!r}. If the model has no head yet, give it one with `add_head`; else say "
            f"which task it is: task= one of {', '.join(map(repr, FAMILIES))}. "
            "Received: task='auto'"
        )
    task = make_task(name, width)
    if verbose:
        say(f"task of {model.name!r} taken from its output: {name!r} with {width} output(s)")
    return task
