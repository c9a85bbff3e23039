"""Metadata of a model: task, roles, input contract, origin, frozen variables."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from finetunekit.models import graph, pickling, state_tables


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model is tuned for.

    Args:
        name: `"binary"`, `"multiclass"`, `"multilabel"` or `"regression"`.
        num_classes: How many outputs: classes, labels or values. 1 for `"binary"`.
        class_names: One name a class; for `"binary"` the negative class first.
        one_hot: Whether multiclass labels are one-hot rather than integers; None
            leaves it to `fit`, which looks at the labels.
        target_mean: For `"regression"`, the mean of each target; a head adds it to what it has
            learned, so that the model answers in the unit of the targets.
        target_std: The standard deviation of each target; it goes with `target_mean`. The head
            multiplies by it, and the loss divides by it.

    Example:
        ```python
        import finetunekit as ftk

        task = ftk.Task(name="multiclass", num_classes=3, class_names=("cat", "dog", "bird"))
        ```
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...] | None = None
    one_hot: bool | None = None
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class InputContract:
    """What a backbone expects to be fed.

    What is not known is None.

    Args:
        value_range: Smallest and largest value of a healthy input.
        size: Height and width in pixels that the weights were trained on, or the only ones that
            the model takes.
        channel_order: `"rgb"` or `"bgr"`, as the user feeds it; empty for other channels.
        preprocessing: `"inside"` if the model normalises raw pixels itself, else `"outside"`.
        note: What the user has to do, in words.
        dtype: The input's dtype, such as `"float32"`, or `"int32"` for token ids.
        mean: What is subtracted from pixels of 0 to 255, a number for each channel: by the model,
            or by you if `preprocessing` is `"outside"`.
        std: What they are divided by then.
        vocabulary_size: For token ids: how many there are; the largest is one less.
        length: For token ids: how many make a sample, if the model takes only one length.
        tokenizer: For token ids: what makes them of texts, in words.
        tuned_size: For a model that takes images of any size: height and width of those that `fit`
            trained it on.
        fitting: For a model tuned on image files: how they were fitted to the size;
            `"center_crop"` resizes the largest part in the middle that has its proportions.
        image_bits: For a model tuned on image files of more than 8 bits a channel: how many bits
            they were taken for.

    Example:
        ```python
        import finetunekit as ftk

        contract = ftk.InputContract(value_range=(0.0, 255.0), size=(224, 224))
        ```
    """

    value_range: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    channel_order: str = "rgb"
    preprocessing: str = "inside"
    note: str = ""
    dtype: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    vocabulary_size: int | None = None
    length: int | None = None
    tokenizer: str | None = None
    tuned_size: tuple[int, int] | None = None
    fitting: str | None = None
    image_bits: int | None = None


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What `compile_for_task` picked by itself, and the objects it compiled with.

    If the model has others now, it was compiled by hand since, and no choice is ours any more.
    `rate_chosen_for` is what trained (`"head"`, `"part"`, `"all"`); None if the rate was given.
    """

    loss: Any
    optimizer: Any
    automatic_loss: bool
    automatic_metrics: bool
    rate_chosen_for: str | None
    label_smoothing: float = 0.0


@dataclass
class Metadata:
    """What is known about one model; plain Keras has no place for it."""

    task: Task | None = None
    backbone: keras.layers.Layer | None = None
    head: keras.layers.Layer | None = None
    contract: InputContract | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    preprocessing_layers: tuple[str, ...] = ()
    augmentation: tuple[keras.layers.Layer, ...] = ()
    choices: "Choices | None" = None
    tokenizer: Any = None
    is_head: bool = False


def of(model: keras.layers.Layer) -> Metadata:
    """What is known about the model; an empty record if nothing is."""
    return state_tables.METADATA.get(model) or Metadata()


def remember(model: keras.layers.Layer, **changes: Any) -> None:
    """Adds to what is known about the model."""
    state_tables.METADATA[model] = dataclasses.replace(of(model), **changes)
    pickling.follow(model)


def choices(model: keras.Model) -> Choices | None:
    """What `compile_for_task` picked, if the model is still compiled that way."""
    known = of(model).choices
    if known is None or not model.compiled:
        return None
    ours = known.loss is model.loss and known.optimizer is model.optimizer
    return known if ours else None


def carry(old: keras.layers.Layer, new: keras.layers.Layer, **changes: Any) -> None:
    """Hands what is known about one model on to a model made of it."""
    state_tables.METADATA[new] = dataclasses.replace(of(old), **changes)
    pickling.follow(new)


def roles(model: keras.layers.Layer) -> dict[str, keras.layers.Layer | None]:
    """`backbone` and `head` of a model made by `add_head`; empty for others."""
    known = of(model)
    return {"backbone": known.backbone, "head": known.head} if known.backbone is not None else {}


def models_with(layers: list[keras.layers.Layer]) -> Iterator[keras.Model]:
    """The living models known here that contain one of the layers, or are one."""
    ids = {id(layer) for layer in layers}
    for model in list(state_tables.METADATA):
        if id(model) in ids or any(id(place.layer) in ids for place in graph.walk(model)):
            yield model


def models_on(backbone: keras.layers.Layer) -> list[keras.Model]:
    """The living models that `add_head` made of a backbone."""
    return [model for model in list(state_tables.METADATA) if of(model).backbone is backbone]


def frozen_variables(layer: keras.layers.Layer) -> frozenset[str]:
    """Names of the layer's own variables that stay frozen while the layer trains."""
    return state_tables.FROZEN_VARIABLES.get(layer, frozenset())


def remember_frozen_variables(layer: keras.layers.Layer, names: frozenset[str]) -> None:
    """Keeps the names of variables that were frozen one by one."""
    if names:
        state_tables.FROZEN_VARIABLES[layer] = names
    else:
        state_tables.FROZEN_VARIABLES.pop(layer, None)
