"""`check_batch`: whether a batch fits a model; `fit` asks it before the first step."""

from typing import Any

import keras
import numpy as np

from finetunekit.backbones import contract
from finetunekit.data import arrays, pipelines
from finetunekit.foundation import arguments, keras_internals
from finetunekit.foundation.messages import obeys_verbose, warn
from finetunekit.models import image_sizes, inputs, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of, known_task, misfits, output_activation

_PROBABILITIES = ("softmax", "sigmoid")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_MULTICLASS = (
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
)


@obeys_verbose
def check_batch(model: keras.Model, x: Any, y: Any = None, *, verbose: Any = 1) -> tuple[str, ...]:
    """Checks inputs and labels against a model and its input contract; changes nothing.

    Finds pixels in a scale that the model does not expect, or scaled twice, red and blue
    swapped, token ids beyond the vocabulary, wrong shapes, labels outside the classes, and a loss
    that takes probabilities for logits or logits for probabilities, or such a metric of a model
    that was compiled by hand. `fit` asks the same.

    Args:
        model: A model.
        x: Inputs as for `fit`; of a tf.data pipeline or PyDataset, the first batch is drawn.
        y: Labels, if `x` is arrays and there are any.
        verbose: 0 for no log; the findings are returned anyway.

    Returns:
        What looks wrong, each with the fix in words; empty if nothing does.

    Raises:
        ValueError: If inputs or labels cannot be right.
        TypeError: If the model is not a Keras model, or the inputs are not data.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.load_backbone("builtin:mobilenet_v2"), "binary")
        assert ftk.check_batch(model, x_train, y_train) == ()
        (finding,) = ftk.check_batch(model, x_train / 255, y_train)
        assert "takes raw pixels of 0 to 255" in finding
        ```
    """
    arguments.check_model(model)
    x, y = _first_batch(x, y)
    task = known_task(model) if y is not None else None
    read = arrays.read(x, y, None, model, task, compare=False)
    found = (
        *contract.doubts(model, read.x),
        *loss_doubts(model),
        *metric_doubts(model),
        *label_doubts(task, read.y),
    )
    for finding in found if verbose else ():
        warn(finding)
    return found


def warn_of(model: keras.Model, x: Any, task: Task | None = None, y: Any = None) -> None:
    """Warns of what looks wrong before training.

    Args:
        model: The model.
        x: Inputs that `inputs.read` has read, or None if none are known.
        task: The task of a model with one output, or None.
        y: Its labels as they were read, or None if none are known.

    Raises:
        ValueError: If token ids lie outside of the vocabulary.
    """
    found = [*loss_doubts(model), *metric_doubts(model), *label_doubts(task, y)]
    found += contract.doubts_of_layers(model) if x is None else contract.doubts(model, x)
    for finding in found:
        warn(finding)


def warn_of_size(model: keras.Model, batch: Any, name: str) -> None:
    """Warns of images of a size that the model was not tuned on, as far as a spec tells it."""
    shape = pipelines.known_shape(batch)
    doubt = None if shape is None else image_sizes.doubt(model, shape, name)
    if doubt is not None:
        warn(doubt)


def warn_of_other_size(model: keras.Model, train: Any, held_out: Any) -> None:
    """Warns of images to validate on whose size is not that of the images to train on."""
    shapes = [pipelines.known_shape(part) for part in (train, held_out)]
    doubt = image_sizes.doubt_between(model, *shapes)
    if doubt is not None:
        warn(doubt)


def _first_batch(x: Any, y: Any) -> tuple[Any, Any]:
    if x is None:
        raise ValueError("`x` is missing: give arrays or a dataset. Received: x=None")
    if inputs.is_array_like(x) or isinstance(x, (str, bytes)) or not _gives_batches(x):
        return x, y
    if y is not None:
        raise ValueError(
            f"`x` is a {type(x).__name__}, which brings its own y: leave `y` out. "
            f"Received: y of type {type(y).__name__}"
        )
    shown = isinstance(x, keras.utils.PyDataset)
    batch = pipelines.shown_batch(x) if shown else next(iter(x.take(1)), None)
    if batch is None:
        raise ValueError(
            "`x` gives no batches. Check how it was made or filtered. "
            f"Received: x={type(x).__name__}"
        )
    if isinstance(batch, (tuple, list)):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _gives_batches(x: Any) -> bool:
    return isinstance(x, keras.utils.PyDataset) or hasattr(x, "element_spec")


def label_doubts(task: Task | None, y: Any) -> list[str]:
    """What speaks against labels that are possible."""
    if task is None or y is None or not inputs.is_array_like(y):
        return []
    return family_of(task).label_doubts(np.asarray(y), task)


def loss_doubts(model: keras.Model) -> list[str]:
    """What speaks against the loss that a model of one output is compiled with."""
    if not model.compiled or len(getattr(model, "outputs", None) or ()) != 1:
        return []
    found = _loss(model)
    if found is None:
        return []
    name, logits = found
    activation, width = output_activation(model), model.output_shape[-1]
    classes = name in _MULTICLASS
    if classes and width == 1:
        return [
            f"{model.name!r} has one output, which the loss {name!r} takes for the only class "
            "there is: nothing can be learned. Use one output for each class, or 'binary' with "
            "`keras.losses.BinaryCrossentropy()` and a sigmoid"
        ]
    if activation == "softmax" and width == 1:
        return [
            f"{model.name!r} ends in a softmax over one output, which is 1 whatever comes in. "
            "Build the head with `add_head(backbone, 'binary')`, which ends in a sigmoid"
        ]
    if logits and activation in _PROBABILITIES:
        return [
            f"the loss {name!r} is told that it gets logits (from_logits=True), but {model.name!r} "
            f"ends in a {activation}, so it gets probabilities. Compile with from_logits=False, or "
            "build the head with `activation=None`"
        ]
    if not logits and activation is None:
        return [
            f"the loss {name!r} is told that it gets probabilities (from_logits=False), but "
            f"{model.name!r} ends in no activation, so it gets logits. Compile with "
            f"from_logits=True, or build the head with activation="
            f"{'softmax' if classes else 'sigmoid'!r}"
        ]
    return []


def metric_doubts(model: keras.Model) -> list[str]:
    """What speaks against metrics that a model of one output was compiled with by hand."""
    if not model.compiled or metadata.choices(model) is not None:
        return []
    task = known_task(model)
    remedy = "`compile_for_task(model, metrics=[...])` fits metrics to the head"
    rows = [] if task is None else misfits(model, task)
    return [f"a metric of {model.name!r} does not fit its head: {row}; {remedy}" for row in rows]


def _loss(model: keras.Model) -> tuple[str, bool] | None:
    """Name of the model's cross-entropy, and whether it expects logits; None for other losses."""
    loss = keras_internals.compile_arguments(model)["loss"]
    if isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    elif isinstance(loss, dict) and len(loss) == 1:
        (loss,) = loss.values()
    try:
        loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    except ValueError:
        return None
    known = {
        keras.losses.BinaryCrossentropy: _BINARY[0],
        keras.losses.BinaryFocalCrossentropy: _BINARY[1],
        keras.losses.CategoricalCrossentropy: _MULTICLASS[0],
        keras.losses.CategoricalFocalCrossentropy: _MULTICLASS[1],
        keras.losses.SparseCategoricalCrossentropy: _MULTICLASS[2],
    }
    if type(loss) in known:
        return known[type(loss)], bool(loss.from_logits)
    name = getattr(loss, "__name__", "")
    return (name, False) if name in known.values() else None
