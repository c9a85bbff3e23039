"""Batches mixed by Keras' MixUp and CutMix, images with labels."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.data.arrays import Arrays
from finetunekit.data.order import OrderedBatches
from finetunekit.models import inputs, metadata
from finetunekit.models.metadata import Task
from finetunekit.tasks import family_of

ops = keras.ops


class MixedBatches(OrderedBatches):
    """Batches of images and labels that Keras layers mix, anew each time."""

    def __init__(self, layers: Sequence[Any], *rest: Any, **options: Any) -> None:
        super().__init__(*rest, **options)
        self._layers = layers

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """One batch, each layer in turn."""
        images, labels = super().__getitem__(index)
        batch = {"images": ops.convert_to_tensor(images), "labels": ops.convert_to_tensor(labels)}
        for layer in self._layers:
            batch = layer(batch, training=True)
        return batch["images"], batch["labels"]


def layers_of(mix: Any) -> list[Any]:
    """The layers as a list.

    Raises:
        TypeError: If they are none of those that mix.
    """
    layers = list(mix) if isinstance(mix, (list, tuple)) else [mix]
    if not layers or not all(
        isinstance(layer, (keras.layers.MixUp, keras.layers.CutMix)) for layer in layers
    ):
        raise TypeError(
            "`mix` must be keras.layers.MixUp(...), keras.layers.CutMix(...), or a list of them; "
            f"layers that change images alone go into the model. Received: mix={mix!r}"
        )
    return layers


def check(model: keras.Model, x: Any, task: Task | None, unfit: dict[str, Any]) -> None:
    """Raises for what cannot be mixed.

    Args:
        model: The model.
        x: What `fit` was given.
        task: The model's task.
        unfit: Arguments beside which nothing can be mixed; None for those that are not given.

    Raises:
        ValueError: If so.
    """
    if task is None or not family_of(task).can_mix:
        raise ValueError(
            "`mix` mixes images and the labels of classes, so the model needs a task with "
            f"classes: `compile_for_task(model, 'multiclass')`. Received: task={task!r}"
        )
    if not inputs.is_array_like(x):
        raise ValueError(
            "`mix` needs arrays. In a tf.data pipeline mix batches yourself: "
            "`data.map(lambda x, y: tuple(mix({'images': x, 'labels': y}).values()))`, with "
            f"one-hot labels. Received: x of type {type(x).__name__}"
        )
    given = [name for name, value in unfit.items() if value is not None]
    if given:
        raise ValueError(
            f"`mix` and `{given[0]}` do not go together. Leave one out. "
            f"Received: {given[0]}={unfit[given[0]]!r}"
        )
    shapes = [tuple(t.shape) for t in keras.tree.flatten(getattr(model, "inputs", None) or [])]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            "`mix` mixes images: the model must have one input of shape (batch, height, width, "
            f"channels). Received: inputs of shape {shapes}"
        )


def rows(labels: Any, task: Task, model: keras.Model) -> np.ndarray:
    """Labels as rows of probabilities, which can be mixed; float32."""
    return family_of(task).as_probabilities(np.asarray(labels), task, model.output_shape)


def prepared(given: Arrays, held_out: Any, task: Task, model: keras.Model) -> tuple[Arrays, Any]:
    """Training and validation data with labels as rows.

    Raises:
        ValueError: If the model's loss takes integer labels only.
    """
    picked = metadata.choices(model)
    ours = picked is not None and picked.automatic_loss
    if not ours and isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy):
        raise ValueError(
            "`mix` makes rows of probabilities of the labels, and the model's loss takes "
            "integer labels. Compile with `compile_for_task(model)` or CategoricalCrossentropy. "
            f"Received: loss={model.loss!r}"
        )
    if isinstance(held_out, tuple):
        held_out = (held_out[0], rows(held_out[1], task, model), *held_out[2:])
    return dataclasses.replace(given, y=rows(given.y, task, model)), held_out
