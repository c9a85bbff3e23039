"""Partly frozen models of many shapes, each with inputs and labels, for the frozen prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

L = keras.layers
ROWS = 21  # No multiple of the batch of 8.

Made = tuple[keras.Model, Any, Any, Any]  # Model, inputs, labels, loss.


def numbers(*shape: int) -> np.ndarray:
    """Random numbers in 0 to 1."""
    return np.random.default_rng(0).random((ROWS, *shape)).astype("float32")


def ids(*shape: int, top: int = 20) -> np.ndarray:
    """Random whole numbers, a third of them 0."""
    random = np.random.default_rng(0)
    return (random.integers(0, top, (ROWS, *shape)) * (random.random((ROWS, *shape)) > 0.3)).astype(
        "int32"
    )


def residual_nested() -> Made:
    """Two tensors at the boundary, inside a nested model; BatchNormalization frozen and not."""
    image = keras.Input((12, 12, 3))
    x = L.Rescaling(2.0)(image)
    x = skip = L.Conv2D(4, 3, padding="same", name="c1", trainable=False)(x)
    x = L.BatchNormalization(name="bn1", trainable=False)(x)
    x = L.ReLU()(x)
    x = L.Conv2D(4, 3, padding="same", name="c2", trainable=False)(x)
    x = L.Conv2D(4, 3, padding="same", name="c3")(x)
    x = L.BatchNormalization(name="bn3")(x)
    backbone = keras.Model(image, L.Add()([x, skip]), name="backbone")
    outer = keras.Input((12, 12, 3))
    x = L.GlobalAveragePooling2D()(backbone(outer))
    x = L.Dropout(0.3, seed=3)(x)
    return keras.Model(outer, L.Dense(2)(x)), numbers(12, 12, 3), numbers(2), "mse"


def sequential_in_sequential() -> Made:
    """The cut lies inside the inner one."""
    inner = keras.Sequential([keras.Input((8,)), L.Dense(8, trainable=False), L.ReLU(), L.Dense(5)])
    model = keras.Sequential([keras.Input((8,)), inner, L.Dense(2)])
    return model, numbers(8), numbers(2), "mse"


def dict_and_raw_operations() -> Made:
    """Inputs by name, two outputs, operations between layers, an input that passes by."""
    a, b = keras.Input((8,), name="a"), keras.Input((4,), name="b")
    x = L.Dense(8, trainable=False)(a)
    y = L.Concatenate()([x, b])
    z = ops.relu(y) * 2.0 + ops.mean(x, axis=-1, keepdims=True)
    model = keras.Model({"a": a, "b": b}, [L.Dense(2)(z), L.Dense(1)(b)])
    return model, {"a": numbers(8), "b": numbers(4)}, (numbers(2), numbers(1)), ["mse", "mse"]


def shared_layer() -> Made:
    """A frozen layer that is called on both sides of the cut."""
    shared = L.Dense(8, name="shared", trainable=False)
    inputs = keras.Input((8,))
    x = shared(inputs)
    y = shared(L.Dense(8, name="trained")(x))
    model = keras.Model(inputs, {"o": L.Dense(2)(L.Add()([x, y]))})
    return model, numbers(8), {"o": numbers(2)}, {"o": "mse"}


def masks() -> Made:
    """A mask goes over the boundary."""
    inputs = keras.Input((6,), dtype="int32")
    x = L.Embedding(20, 4, mask_zero=True, trainable=False)(inputs)
    x = L.LSTM(5, return_sequences=True, trainable=False)(x)
    return keras.Model(inputs, L.Dense(1)(L.GRU(4)(x))), ids(6), numbers(1), "mse"


def mask_behind_pooling() -> Made:
    """The tail's pooling needs the mask of a nested, frozen encoder."""
    inputs = keras.Input((6,), dtype="int32")
    x = L.Embedding(20, 4, mask_zero=True)(inputs)
    x = L.Dense(5, activation="tanh")(x)
    encoder = keras.Model(inputs, x, name="encoder")
    encoder.trainable = False
    outer = keras.Input((6,), dtype="int32")
    x = L.GlobalAveragePooling1D()(encoder(outer))
    return keras.Model(outer, L.Dense(1)(x)), ids(6), numbers(1), "mse"


class Encoder(keras.Model):
    """A Functional model with a constructor of its own, as KerasHub's backbones are."""

    def __init__(self, blocks: int = 2, **options: Any) -> None:
        token_ids = keras.Input((6,), dtype="int32", name="token_ids")
        padding = keras.Input((6,), dtype="int32", name="padding_mask")
        x = L.Embedding(20, 8, name="tokens")(token_ids)
        for number in range(blocks):
            attend = L.MultiHeadAttention(2, 4, dropout=0.1, name=f"attention_{number}")
            mask = ops.expand_dims(ops.cast(padding, "bool"), 1)
            x = L.LayerNormalization(name=f"norm_{number}")(x + attend(x, x, attention_mask=mask))
            x = L.Dropout(0.1, name=f"drop_{number}")(x)
            x = L.Dense(8, activation="gelu", name=f"dense_{number}")(x)
        super().__init__(
            {"token_ids": token_ids, "padding_mask": padding},
            {"sequence": x, "pooled": x[:, 0]},
            **options,
        )


def transformer() -> Made:
    """Half of an encoder is frozen; attention masks are made of an input."""
    encoder = Encoder(name="encoder")
    for layer in encoder.layers:
        # Without dropout: where it is trained, both sides draw, but Keras in the frozen part too.
        layer.trainable = "_1" in layer.name
    for name in ("attention_0", "attention_1"):
        encoder.get_layer(name)._dropout_layer.rate = 0
    for name in ("drop_0", "drop_1"):
        encoder.get_layer(name).rate = 0
    inputs = encoder.input
    model = keras.Model(inputs, L.Dense(2)(encoder(inputs)["pooled"]))
    padding = (np.arange(6)[None] < np.arange(ROWS)[:, None] % 5 + 2).astype("int32")
    return model, {"token_ids": ids(6), "padding_mask": padding}, numbers(2), "mse"


class Subclass(keras.Model):
    """Frozen and trained children, called in Python, with a branch for training."""

    def __init__(self) -> None:
        super().__init__()
        self.body = keras.Sequential([L.Conv2D(4, 3), L.BatchNormalization(), L.Flatten()])
        self.drop = L.Dropout(0.3, seed=1)
        self.head = L.Dense(2)

    def call(self, inputs: Any, training: Any = None) -> Any:
        x = self.body(inputs, training=training)
        return self.head(self.drop(ops.tanh(x), training=training))


def subclassed() -> Made:
    """The cut lies between the children of a subclassed model."""
    model = Subclass()
    model(np.zeros((1, 6, 6, 3), "float32"))
    model.body.trainable = False
    return model, numbers(6, 6, 3), numbers(2), "mse"


def recurrent_wrappers() -> Made:
    """Layers that hold others, frozen, with dropout of their own behind the cut."""
    inputs = keras.Input((5, 3))
    x = L.TimeDistributed(L.Dense(4), name="each")(inputs)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), name="both")(x)
    x = L.GRU(4, dropout=0.2, seed=2)(x)
    model = keras.Model(inputs, L.Dense(1)(x))
    for name in ("each", "both"):
        model.get_layer(name).trainable = False
    return model, numbers(5, 3), numbers(1), "mse"


def two_towers() -> Made:
    """Two inputs, a frozen tower for each, one of them twice, and a penalty on the head."""
    a, b = keras.Input((4, 4, 3), name="a"), keras.Input((4, 4, 3), name="b")
    tower = keras.Sequential([L.Conv2D(4, 3), L.GlobalAveragePooling2D()], name="tower")
    tower.build((None, 4, 4, 3))
    tower.trainable = False
    x = L.Concatenate()([tower(a), tower(b), L.Flatten()(a)])
    head = L.Dense(3, activation="softmax", kernel_regularizer="l2", activity_regularizer="l1")
    classes = np.arange(ROWS) % 3
    model = keras.Model([a, b], head(x))
    return (
        model,
        [numbers(4, 4, 3), numbers(4, 4, 3) + 1],
        classes,
        "sparse_categorical_crossentropy",
    )


def frozen_output() -> Made:
    """One of the outputs is made by frozen layers alone."""
    inputs = keras.Input((8,))
    x = L.Dense(4, trainable=False, activation="relu")(inputs)
    model = keras.Model(inputs, {"fixed": L.Dense(2, trainable=False)(x), "free": L.Dense(2)(x)})
    labels = {"fixed": numbers(2), "free": numbers(2)}
    return model, numbers(8), labels, {"fixed": "mse", "free": "mse"}


def pictures_as_bytes() -> Made:
    """uint8 inputs, converted by the model, with a channel axis that Keras adds."""
    inputs = keras.Input((6, 6, 1))
    x = L.Conv2D(3, 3, trainable=False)(L.Rescaling(1 / 255)(inputs))
    x = L.UnitNormalization()(L.Flatten()(x))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))
    pixels = (numbers(6, 6) * 255).astype("uint8")
    return model, pixels, np.arange(ROWS) % 2, "binary_crossentropy"


TOPOLOGIES: list[Callable[[], Made]] = [
    residual_nested,
    sequential_in_sequential,
    dict_and_raw_operations,
    shared_layer,
    masks,
    mask_behind_pooling,
    transformer,
    subclassed,
    recurrent_wrappers,
    two_towers,
    frozen_output,
    pictures_as_bytes,
]
