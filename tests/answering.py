"""Models that answer with what they are given."""

from __future__ import annotations

import keras
import numpy as np

import finetunekit as ftk
from models import L


def answering(task: str, outputs: int, activation: object = None, **options: object) -> keras.Model:
    """A model whose logits, or numbers, are its inputs `(n, outputs)`."""
    inputs = keras.Input((outputs,))
    backbone = keras.Model(inputs, L.Identity()(inputs))
    model = ftk.add_head(backbone, task, activation=activation, **options)
    head = [np.eye(outputs, dtype="float32"), np.zeros(outputs, "float32")]
    model.get_layer("head").set_weights(head)
    return model


def brightness(
    size: int | None = 8, classes: tuple[str, ...] = ("blue", "green", "red")
) -> keras.Model:
    """A model of images of 0 to 255 that tells which channel is the brightest."""
    inputs = keras.Input((size, size, 3))
    backbone = keras.Model(inputs, L.Rescaling(1 / 255)(L.GlobalAveragePooling2D()(inputs)))
    model = ftk.add_head(backbone, "multiclass", class_names=list(classes))
    kernel = 50 * np.eye(3, dtype="float32")[::-1].copy()
    model.get_layer("head").set_weights([kernel, np.zeros(3, "float32")])
    return model
