"""What do the speed benchmarks run on? Models with random weights, and random data, seeded."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

import finetunekit as ftk

L = keras.layers
BATCH = 32
EPOCHS = 10


class Work(NamedTuple):
    """A compiled model with data to train it on."""

    model: keras.Model
    x: np.ndarray
    y: np.ndarray


def _numbers() -> np.random.Generator:
    return np.random.default_rng(0)


def _labels(count: int) -> np.ndarray:
    return _numbers().integers(0, 2, (count, 1)).astype("float32")


def _with_head(backbone: keras.Model, x: np.ndarray) -> Work:
    inputs = keras.Input(x.shape[1:], dtype=str(x.dtype))
    hidden = L.Dense(128, activation="relu")(backbone(inputs))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return Work(model, x, _labels(len(x)))


def images(count: int, size: int = 160) -> np.ndarray:
    """Random images of -1 to 1."""
    return _numbers().uniform(-1, 1, (count, size, size, 3)).astype("float32")


def _application(name: str, count: int) -> Work:
    make = getattr(keras.applications, name)
    backbone = make(weights=None, include_top=False, input_shape=(160, 160, 3), pooling="avg")
    backbone.trainable = False
    return _with_head(backbone, images(count))


def mobilenet() -> Work:
    """MobileNetV2 frozen, 512 images of 160 px."""
    return _application("MobileNetV2", 512)


def mobilenet_of(rows: int) -> Work:
    """MobileNetV2 frozen, so many images of 160 px."""
    return _application("MobileNetV2", rows)


def resnet() -> Work:
    """ResNet50 frozen, 256 images of 160 px."""
    return _application("ResNet50", 256)


def mobilenet_block_13() -> Work:
    """MobileNetV2 trained from `block_13` up, BatchNormalization frozen, 512 images of 160 px."""
    work = mobilenet()
    (backbone,) = (layer for layer in work.model.layers if isinstance(layer, keras.Model))
    names = [layer.name for layer in backbone.layers]
    first = next(n for n, name in enumerate(names) if name.startswith("block_13"))
    backbone.trainable = True
    for number, layer in enumerate(backbone.layers):
        layer.trainable = number >= first and not isinstance(layer, L.BatchNormalization)
    work.model.compile(keras.optimizers.Adam(1e-4), "binary_crossentropy", metrics=["accuracy"])
    return work


def _bert(count: int) -> Work:
    width, heads, blocks, length = 384, 12, 6, 64
    ids = keras.Input((length,), dtype="int32")
    x = L.Embedding(30522, width)(ids) + L.Embedding(512, width)(keras.ops.arange(length))
    x = L.Dropout(0.1)(L.LayerNormalization()(x))
    for _ in range(blocks):
        attention = L.MultiHeadAttention(heads, width // heads, dropout=0.1)(x, x)
        x = L.LayerNormalization()(x + L.Dropout(0.1)(attention))
        hidden = L.Dense(width)(L.Dense(4 * width, activation="gelu")(x))
        x = L.LayerNormalization()(x + L.Dropout(0.1)(hidden))
    backbone = keras.Model(ids, L.GlobalAveragePooling1D()(x))
    backbone.trainable = False
    tokens = _numbers().integers(1, 30000, (count, length)).astype("int32")
    return _with_head(backbone, tokens)


def bert_512() -> Work:
    """BERT 6x384 frozen, 64 tokens, 512 sequences."""
    return _bert(512)


def bert_4096() -> Work:
    """BERT 6x384 frozen, 64 tokens, 4,096 sequences."""
    return _bert(4096)


def nothing_frozen() -> Work:
    """A convolutional network that trains as a whole, 1,024 images of 32 px."""
    inputs = x = keras.Input((32, 32, 3))
    for width in (32, 64):
        x = L.Conv2D(width, 3, activation="relu")(x)
        x = L.MaxPooling2D()(L.BatchNormalization()(x))
    x = L.Dense(128, activation="relu")(L.Flatten()(x))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return Work(model, images(1024, 32), _labels(1024))


def head_on_features() -> Work:
    """A head 128 -> 1 on 1280 features, which a frozen layer passes on; 4,096 samples."""
    passes = L.Dense(1280, kernel_initializer="identity", trainable=False)
    model = keras.Sequential(
        [keras.Input((1280,)), passes, L.Dense(128, activation="relu"), L.Dense(1, "sigmoid")]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x = _numbers().random((4096, 1280), dtype="float32")
    return Work(model, x, _labels(4096))


def head_alone() -> Work:
    """The same head without the frozen layer, for plain Keras."""
    model = keras.Sequential(
        [keras.Input((1280,)), L.Dense(128, activation="relu"), L.Dense(1, "sigmoid")]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x = _numbers().random((4096, 1280), dtype="float32")
    return Work(model, x, _labels(4096))


class Made(keras.utils.PyDataset):
    """Images that are generated on access, so that they take no memory."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def __len__(self) -> int:
        """The number of batches."""
        return self.count // BATCH

    def __getitem__(self, index: int) -> Any:
        """One batch."""
        random = np.random.default_rng(index)
        x = random.uniform(-1, 1, (BATCH, 32, 32, 3)).astype("float32")
        return x, (np.arange(BATCH)[:, None] % 2).astype("float32")


def wide() -> keras.Model:
    """A frozen convolution that gives 100 kB of features a sample, and a head."""
    inputs = keras.Input((32, 32, 3))
    x = L.Conv2D(25, 3, padding="same", trainable=False)(inputs)
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(x))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))
    model.compile("adam", "binary_crossentropy")
    return model


WORK: dict[str, Callable[[], Work]] = {
    work.__name__: work
    for work in (
        mobilenet,
        resnet,
        bert_512,
        bert_4096,
        mobilenet_block_13,
        nothing_frozen,
        head_on_features,
        head_alone,
    )
}
OPTIONS = {"epochs": EPOCHS, "batch_size": BATCH, "verbose": 0}
__all__ = ["OPTIONS", "WORK", "Made", "Work", "ftk", "mobilenet_of", "wide"]
