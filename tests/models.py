"""Tiny models that the tests share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from finetunekit.caching import cut

L = keras.layers


def small_backbone(name: str = "small") -> keras.Model:
    """Functional, 16x16x3 -> 8 features: two convolutions, each with BatchNormalization."""
    inputs = x = keras.Input((16, 16, 3), name="image")
    for number in (1, 2):
        x = L.Conv2D(4 * number, 3, name=f"conv{number}")(x)
        x = L.BatchNormalization(name=f"bn{number}")(x)
        x = L.ReLU(name=f"relu{number}")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, L.Dense(8, activation="relu", name="features")(x), name=name)


def tiny_backbone(name: str = "tiny") -> keras.Model:
    """Functional, 16x16x3 -> 8 features, quick to trace: one convolution and a dense layer."""
    inputs = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(4, 3, activation="relu", name="conv1")(inputs)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, L.Dense(8, activation="relu", name="features")(x), name=name)


def split_of(backbone: keras.Model) -> cut.FrozenSplit:
    """A model of this backbone, frozen, and a head, cut between them."""
    backbone.trainable = False
    return cut.split_frozen(keras.Sequential([backbone, L.Dense(1)]))


def small_sequential() -> keras.Sequential:
    """Sequential, 16x16x3 -> 8 features."""
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            L.Conv2D(4, 3, name="conv1"),
            L.BatchNormalization(name="bn1"),
            L.ReLU(name="relu1"),
            L.GlobalAveragePooling2D(name="pool"),
            L.Dense(8, activation="relu", name="features"),
        ],
        name="chain",
    )


class Subclassed(keras.Model):
    """A subclassed model with a list of layers and a nested Functional one."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.inner = small_backbone("inner")
        self.blocks = [L.Dense(6, name="block0"), L.Dense(5, name="block1")]
        self.last = L.Dense(1, name="last")

    def call(self, inputs: Any, training: Any = None) -> Any:
        x = self.inner(inputs, training=training)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def images(count: int = 32, seed: int = 0, size: int = 16) -> np.ndarray:
    """Random images of 0 to 255, float32."""
    random = np.random.default_rng(seed)
    return random.uniform(0, 255, (count, size, size, 3)).astype("float32")


def labels(count: int = 32, classes: int = 2) -> np.ndarray:
    """Class numbers in turn."""
    return np.arange(count) % classes


def values(model: keras.layers.Layer) -> dict[str, np.ndarray]:
    """All weights of a model by number and path, copied."""
    return {
        f"{number}:{v.path}": np.array(keras.ops.convert_to_numpy(v))
        for number, v in enumerate(model.weights)
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )
