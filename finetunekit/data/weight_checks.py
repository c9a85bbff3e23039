"""Weights of samples, and whether loss and metrics heed them."""

from typing import Any

import keras
import numpy as np

from finetunekit.data import pipelines
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import warn

_BATCH = 3
_SIZE = 2  # Of an axis whose size is not known.


def check(model: keras.Model, data: Any, labels: Any, *, class_weight: Any = None) -> None:
    """Checks before training that weights and masks, where there are any, act on the loss.

    Args:
        model: A model; nothing is checked unless it is compiled.
        data: Weights as arrays; or a dataset, whose batches may have weights; or None.
        labels: The labels of the data or their specs.
        class_weight: Weights of classes, or None.

    Raises:
        ValueError: If the loss gives one number for a whole batch, which no weight can part.
    """
    outputs = getattr(model, "outputs", None) or []
    if not model.compiled:
        return
    weighted = pipelines.has_weights(data) or class_weight is not None
    for output, loss, label in _parts(model, outputs, labels):
        masked = keras_internals.mask_of(output) is not None
        if (weighted or masked) and _gives_one_number(loss, label, output):
            _refuse(loss, "class or sample weights" if weighted else "the mask of the outputs")


def warn_of_zeros(weights: Any, model: keras.Model, kind: str = "samples") -> None:
    """Warns if metrics count what has weight 0.

    Args:
        weights: An array, several arrays, or None.
        model: A compiled model.
        kind: What the samples are called.
    """
    if not model.compiled:
        return
    counted = keras.tree.flatten(keras_internals.compile_arguments(model)["metrics"] or [])
    parts = [np.asarray(part) for part in keras.tree.flatten(weights) if part is not None]
    zeros = sum(int((part == 0).sum()) for part in parts)
    if zeros and counted:
        warn(
            f"{zeros} of {sum(part.size for part in parts)} weights of {kind} are 0: the loss "
            "leaves these out, `metrics` count them like all others. To leave them out there, too, "
            "compile with `weighted_metrics` in place of `metrics`"
        )


def _parts(model: keras.Model, outputs: list[Any], labels: Any) -> list[tuple[Any, Any, Any]]:
    """Each output with its loss and labels, where it can be told which belong to it."""
    loss = keras_internals.compile_arguments(model)["loss"]
    if len(outputs) == 1:
        flat = [keras.tree.flatten(part) for part in (loss, labels)]
        if all(len(part) == 1 for part in flat):
            return [(outputs[0], flat[0][0], flat[1][0])]
        return []
    names = list(getattr(model, "output_names", []))
    by_name = [_by_name(part, names) for part in (loss, labels)]
    rows = zip(outputs, *by_name, strict=True) if all(by_name) else ()
    return [row for row in rows if row[1] is not None and row[2] is not None]


def _by_name(part: Any, names: list[str]) -> list[Any]:
    if isinstance(part, dict):
        return [part.get(name) for name in names]
    if isinstance(part, (list, tuple)):
        return list(part) if len(part) == len(names) else []
    return [part] * len(names)


def _gives_one_number(loss: Any, label: Any, output: Any) -> bool:
    """Whether a loss gives one number for a batch, tried on zeros; False if that does not tell."""
    try:
        loss = keras.losses.get(loss)
        call = loss.call if isinstance(loss, keras.losses.Loss) else loss
        if isinstance(loss, keras.losses.Loss) and type(loss).__call__ is not _CALL:
            return False
        found = call(*_zeros(pipelines.known_shape(label), tuple(output.shape)))
        shape = tuple(keras.ops.shape(found))
    except Exception:  # A loss of the user's own may fail on zeros in any way.
        return False
    return not shape or shape[0] != _BATCH


_CALL = keras.losses.Loss.__call__


def _zeros(label: Any, output: tuple[Any, ...]) -> list[Any]:
    shapes = [tuple(size or _SIZE for size in shape[1:]) for shape in (label, output)]
    if len(shapes[0]) == len(shapes[1]) - 1 and shapes[1][-1] == 1:
        shapes[0] = (*shapes[0], 1)  # As Keras does for a function.
    return [keras.ops.zeros((_BATCH, *shape), "float32") for shape in shapes]


def _refuse(loss: Any, what: str) -> None:
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    raise ValueError(
        f"`loss` gives one number for a whole batch, so {what} cannot act: each sample would count "
        "the same. Let it give one number a sample, such as `keras.ops.mean(..., axis=-1)` without "
        f"the axis of the batch, or leave the weights out. Received: loss={name!r}"
    )
