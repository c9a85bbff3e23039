"""A tiny model with a frozen part, its data, and how two trained ones are compared."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

L = keras.layers


def samples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of six numbers, and the labels 0 and 1."""
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def pipeline(count: int, seed: int = 0, size: int = 8) -> tf.data.Dataset:
    """The same in batches."""
    return tf.data.Dataset.from_tensor_slices(samples(count, seed)).batch(size)


def dense(backbone: keras.Model | None = None, **options: Any) -> keras.Model:
    """A frozen backbone of two layers and a head of two, the same each time."""
    keras.utils.set_random_seed(0)
    if backbone is None:
        backbone = frozen_backbone()
    inputs = keras.Input((6,))
    x = L.Dropout(0.2, seed=1)(backbone(inputs))
    x = L.Dense(4, activation="relu", name="middle")(x)
    model = keras.Model(inputs, L.Dense(2, activation="softmax", name="head")(x))
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),  # Traced sooner than Adam.
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return model


def frozen_backbone() -> keras.Model:
    """Two layers that do not train."""
    inputs = keras.Input((6,))
    x = L.Dense(5, activation="relu", name="first")(inputs)
    x = L.Dense(5, activation="relu", name="second")(x)
    backbone = keras.Model(inputs, x, name="backbone")
    backbone.trainable = False
    return backbone


def weights(model: keras.Model) -> list[np.ndarray]:
    """All weights and the optimizer's state."""
    return [np.asarray(v.numpy()) for v in (*model.weights, *model.optimizer.variables)]


def same_training(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models, and their optimizers, hold the same bits."""
    return all(map(np.array_equal, weights(one), weights(other)))
