"""Models of Keras 2, made with tf_keras: what the reader of old files has to understand."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Made = tuple[Any, Any]
MODELS: dict[str, Callable[[Any, Any], Made]] = {}


def model(function: Callable[[Any, Any], Made]) -> Callable[[Any, Any], Made]:
    """Registers a maker: `(tf_keras, tf_keras.layers) -> (model, inputs)`."""
    MODELS[function.__name__] = function
    return function


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Floats between 0 and 1."""
    return np.random.default_rng(seed).random(shape, dtype="float32")


@contextmanager
def quiet() -> Iterator[None]:
    """tf_keras warns of what it does all the time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make(name: str) -> tuple[Any, Any, list[np.ndarray]]:
    """A model with weights of its own, inputs, and its predictions."""
    with quiet():
        import tf_keras

        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(0)
        made, inputs = MODELS[name](tf_keras, tf_keras.layers)
        for number, weight in enumerate(made.weights):
            # Kernels are random already; a Normalization layer has used its statistics.
            if weight.shape.rank == 1 and weight.name not in ("mean:0", "variance:0"):
                low = 0.5 if "variance" in weight.name or "gamma" in weight.name else -0.2
                weight.assign(low + 0.5 * numbers(*weight.shape, seed=number))
        return made, inputs, outputs_of(made, inputs)


def outputs_of(made: Any, inputs: Any) -> list[np.ndarray]:
    """The outputs as a flat list."""
    import tensorflow as tf

    return [np.asarray(part) for part in tf.nest.flatten(made(inputs, training=False))]


def save(made: Any, path: Path) -> Path:
    """Writes the file as tf_keras does."""
    with quiet():
        import tf_keras

        tf_keras.models.save_model(made, str(path))
    return path


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes the model's config inside an HDF5 file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(change(config)).encode()


def without_modules(value: Any) -> Any:
    """A config as versions before 2.13 wrote it: neither modules nor registered names."""
    if isinstance(value, dict):
        dropped = ("module", "registered_name", "build_config")
        return {k: without_modules(v) for k, v in value.items() if k not in dropped}
    return [without_modules(part) for part in value] if isinstance(value, list) else value


def hard_sigmoid_of_keras_2(x: Any) -> float:
    """What tf_keras computes."""
    with quiet():
        import tensorflow as tf
        import tf_keras

        return float(tf_keras.activations.hard_sigmoid(tf.constant(x)))


def finished(k: Any, m: Any, x: Any, classes: int) -> Made:
    """Compiled and trained for a step, so that the file holds an optimizer's state."""
    m.compile(k.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    m.fit(x, np.eye(classes)[np.arange(len(x)) % classes], verbose=0)
    return m, x


@model
def cnn(k: Any, L: Any) -> Made:
    i = k.Input((32, 32, 3))
    x = L.BatchNormalization()(L.Conv2D(8, 3, use_bias=False)(i))
    x = L.DepthwiseConv2D(3, padding="same")(L.ReLU(6.0)(x))
    x = L.LeakyReLU(0.1)(L.SeparableConv2D(12, 3)(x))
    x = L.Conv2DTranspose(4, 3, strides=2)(L.ZeroPadding2D(1)(x))
    x = L.GlobalAveragePooling2D()(x)
    x = L.Dense(3, activation="softmax", kernel_regularizer=k.regularizers.l2(1e-3))(x)
    return finished(k, k.Model(i, x), numbers(3, 32, 32, 3), 3)


@model
def chain(k: Any, L: Any) -> Made:
    m = k.Sequential(
        [L.InputLayer(input_shape=(8,)), L.Dense(4, activation="tanh"), L.Dropout(0.3), L.Dense(2)]
    )
    return finished(k, m, numbers(2, 8), 2)


@model
def chain_without_input(k: Any, L: Any) -> Made:
    return k.Sequential([L.Dense(4, activation="tanh", input_shape=(8,)), L.Dense(2)]), numbers(
        2, 8
    )


@model
def chain_built_late(k: Any, L: Any) -> Made:
    m = k.Sequential([L.Dense(4, activation="tanh"), L.Dense(2)])
    m(np.zeros((1, 8)))
    return m, numbers(2, 8)


@model
def operations(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i = k.Input((8,))
    x = tf.nn.relu(i) * 2.0 + tf.reduce_mean(i, axis=-1, keepdims=True)
    return k.Model(i, L.Dense(2)(x)), numbers(2, 8)


@model
def slices(k: Any, L: Any) -> Made:
    i = k.Input((8,))
    return k.Model(i, L.Dense(2)(i[:, :4])), numbers(2, 8)


@model
def many_operations(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i, j = k.Input((8,), name="i"), k.Input((8,), name="j")
    x = tf.transpose(tf.reshape(tf.concat([i, j], axis=-1), [-1, 4, 4]), perm=[0, 2, 1])
    x = x[:, 1:, ::2]
    x = 2.0 ** (1.0 / (x + 2.0) - 3.0 * x)
    x = tf.where(x > 1.0, x, tf.zeros_like(x))
    x = tf.clip_by_value(tf.reduce_sum(tf.stack([x, x], 1), [1, 2]), -1.0, 1.0)
    y = tf.cast(tf.nn.softmax(tf.squeeze(tf.expand_dims(i, 1), [1])), tf.float32)
    a, b = tf.split(y, 2, axis=-1)
    y = tf.matmul(a[:, None, :], b[:, None, :], transpose_b=True)
    z = tf.image.resize(tf.reshape(j, [tf.shape(i)[0], 2, 4])[:, :, :, None], (4, 4))
    z = tf.pad(tf.nn.l2_normalize(tf.nn.relu(z), axis=-1), [[0, 0], [1, 1], [1, 1], [0, 0]])
    z = tf.math.pow(tf.maximum(-z, 0.1), 2.0)
    q = tf.gather(tf.tile(i, [1, 2]), [0, 1], axis=1)
    u = tf.math.squared_difference(i, j) + tf.sqrt(tf.abs(i)) - tf.exp(j) / (tf.sigmoid(i) + 1.0)
    v = tf.add_n([i, j, i]) + tf.constant([[1.0] * 8])
    w = tf.cast(tf.argmax(i, axis=-1), tf.float32)
    return k.Model([i, j], [x, y, z, q, i @ tf.ones((8, 3)), u, v, w]), [
        numbers(2, 8),
        numbers(2, 8, seed=1),
    ]


@model
def nested_frozen(k: Any, L: Any) -> Made:
    inner = _inner(k, L)
    inner.trainable = False
    i = k.Input((16, 16, 3))
    return k.Model(i, L.Dense(2)(inner(i, training=False))), numbers(2, 16, 16, 3)


@model
def nested_partly_frozen(k: Any, L: Any) -> Made:
    inner = _inner(k, L)
    inner.layers[2].trainable = False
    i = k.Input((16, 16, 3))
    return k.Model(i, L.Dense(2)(inner(i))), numbers(2, 16, 16, 3)


def _inner(k: Any, L: Any) -> Any:
    i = k.Input((16, 16, 3))
    x = L.Conv2D(4, 3)(L.BatchNormalization()(L.Conv2D(4, 3)(i)))
    return k.Model(i, L.GlobalAveragePooling2D()(x), name="inner")


@model
def nested_chain(k: Any, L: Any) -> Made:
    m = k.Sequential([k.Sequential([L.Dense(3, input_shape=(8,)), L.ReLU()]), L.Dense(2)])
    m(np.zeros((1, 8)))
    return m, numbers(2, 8)


@model
def nested_and_shared(k: Any, L: Any) -> Made:
    """Models in models in models, called on their own outputs and by several."""
    first, second, i = k.Input((3,)), k.Input((3,)), k.Input((3,))
    innermost = k.Model(first, L.Dense(3)(first), name="innermost")
    middle = k.Model(second, innermost(innermost(second)), name="middle")
    head = k.Sequential([L.Dense(2, input_shape=(3,)), L.Activation("relu")], name="head")
    late = k.Sequential([L.Dense(2)], name="late")
    x = middle(i)
    return k.Model(i, [head(x), head(middle(x)), late(x)]), numbers(2, 3)


@model
def recurrent(k: Any, L: Any) -> Made:
    i = k.Input((None,), dtype="int32")
    x = L.Embedding(20, 6, mask_zero=True)(i)
    x = L.GRU(4)(L.Bidirectional(L.LSTM(5, return_sequences=True))(x))
    return k.Model(i, L.Dense(1)(x)), np.array([[1, 2, 3, 0], [4, 5, 0, 0]], "int32")


@model
def recurrent_backwards(k: Any, L: Any) -> Made:
    i = k.Input((5, 3))
    x = L.Bidirectional(L.LSTM(2, go_backwards=True, return_sequences=True))(i)
    return k.Model(i, L.Bidirectional(L.GRU(2, go_backwards=True))(x)), numbers(2, 5, 3)


@model
def recurrent_without_reset_after(k: Any, L: Any) -> Made:
    i = k.Input((6,), dtype="int32")
    x = L.GRU(4, reset_after=False, implementation=1)(L.Embedding(20, 6, input_length=6)(i))
    return k.Model(i, L.Dense(1)(x)), np.array([[1, 2, 3, 0, 1, 1], [4, 5, 0, 0, 2, 2]], "int32")


@model
def recurrent_cell(k: Any, L: Any) -> Made:
    i = k.Input((5, 4))
    return k.Model(i, L.RNN(L.LSTMCell(3))(i)), numbers(2, 5, 4)


@model
def recurrent_cells(k: Any, L: Any) -> Made:
    i = k.Input((5, 4))
    return k.Model(i, L.RNN([L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(2)])(i)), numbers(2, 5, 4)


@model
def recurrent_states(k: Any, L: Any) -> Made:
    i = k.Input((5, 4))
    x, h, c = L.LSTM(3, return_state=True, recurrent_activation="hard_sigmoid")(i)
    return k.Model(i, L.LSTM(3)(i, initial_state=[h, c]) + x), 6 * numbers(2, 5, 4) - 3


@model
def recurrent_convolution(k: Any, L: Any) -> Made:
    i = k.Input((4, 8, 8, 3))
    return k.Model(i, L.ConvLSTM2D(3, 3)(i)), 6 * numbers(2, 4, 8, 8, 3) - 3


@model
def attention(k: Any, L: Any) -> Made:
    i = k.Input((5, 4))
    x = L.TimeDistributed(L.Dense(3))(i)
    x = L.LayerNormalization()(L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True))
    return k.Model(i, [x, L.Attention(use_scale=True)([x, x]), L.AdditiveAttention()([x, x])]), (
        numbers(2, 5, 4)
    )


@model
def shared(k: Any, L: Any) -> Made:
    a, c, d = k.Input((8,), name="a"), k.Input((8,), name="c"), L.Dense(4, name="shared")
    x, y = L.Concatenate()([d(a), d(c)]), L.Add()([d(a), d(c)])
    m = k.Model([a, c], [L.Dense(1, name="o1")(x), L.Dense(1, name="o2")(y)])
    return m, [numbers(2, 8), numbers(2, 8, seed=1)]


@model
def dictionaries(k: Any, L: Any) -> Made:
    a, c = k.Input((8,), name="a"), k.Input((8,), name="c")
    m = k.Model({"a": a, "c": c}, {"o": L.Dense(1)(L.Dot(1)([a, c]))})
    return m, {"a": numbers(2, 8), "c": numbers(2, 8, seed=1)}


@model
def own_loss(k: Any, L: Any) -> Made:
    import tensorflow as tf

    def distance(y: Any, found: Any) -> Any:
        return tf.reduce_mean(tf.abs(y - found))

    i = k.Input((8,))
    m = k.Model(i, L.Dense(2)(i))
    rate = k.optimizers.schedules.ExponentialDecay(1e-2, 10, 0.9)
    m.compile(k.optimizers.RMSprop(rate), loss=distance, metrics=["mae"])
    m.fit(np.zeros((2, 8)), np.zeros((2, 2)), verbose=0)
    return m, numbers(2, 8)


@model
def mixed_layer(k: Any, L: Any) -> Made:
    i = k.Input((8,))
    return k.Model(i, L.Dense(2, dtype="mixed_float16")(i)), numbers(2, 8)


@model
def mixed_policy(k: Any, L: Any) -> Made:
    k.mixed_precision.set_global_policy("mixed_float16")
    try:
        i = k.Input((8,))
        x = L.BatchNormalization()(L.Dense(3)(i))
        return k.Model(i, L.Dense(2, activation="softmax", dtype="float32")(x)), numbers(2, 8)
    finally:
        k.mixed_precision.set_global_policy("float32")


@model
def mobilenet(k: Any, L: Any) -> Made:
    return _application(k.applications.MobileNet, alpha=0.25)


@model
def mobilenet_v2(k: Any, L: Any) -> Made:
    return _application(k.applications.MobileNetV2, alpha=0.35)


@model
def mobilenet_v3(k: Any, L: Any) -> Made:
    return _application(k.applications.MobileNetV3Small, alpha=0.75)


@model
def resnet50(k: Any, L: Any) -> Made:
    return _application(k.applications.ResNet50)


@model
def efficientnet(k: Any, L: Any) -> Made:
    return _application(k.applications.EfficientNetB0)


def _application(function: Any, **options: Any) -> Made:
    m = function(weights=None, input_shape=(64, 64, 3), classes=5, **options)
    return m, 255 * numbers(1, 64, 64, 3)


@model
def preprocessing(k: Any, L: Any) -> Made:
    i = k.Input((16, 16, 3))
    x = L.RandomFlip("horizontal")(L.Rescaling(1 / 255.0)(i))
    x = L.CenterCrop(6, 6)(L.Resizing(8, 8)(L.RandomRotation(0.1)(x)))
    adapted = L.Normalization()
    adapted.adapt(numbers(10, 16, 16, 3))
    return k.Model(i, L.Dense(2)(L.Flatten()(adapted(x)))), 255 * numbers(2, 16, 16, 3)


@model
def nested_normalization(k: Any, L: Any) -> Made:
    inner_input, i = k.Input((4,)), k.Input((4,))
    adapted = L.Normalization()
    adapted.adapt(numbers(10, 4))
    inner = k.Model(inner_input, L.Dense(3)(adapted(inner_input)), name="inner")
    return k.Model(i, L.Dense(2)(inner(i))), numbers(2, 4)


@model
def lookups(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i, j = k.Input((1,), dtype="string"), k.Input((1,))
    x = L.CategoryEncoding(4, output_mode="one_hot")(L.Discretization([0.0, 1.0])(j))
    outputs = [L.StringLookup(vocabulary=["a", "b"])(i), x, L.IntegerLookup(vocabulary=[3, 4])(j)]
    m = k.Model([i, j], [*outputs, L.Hashing(3)(i)])
    return m, [tf.constant([["a"], ["zz"]]), tf.constant([[3.0], [0.5]])]


@model
def text(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i = k.Input((1,), dtype="string")
    words = L.TextVectorization(output_sequence_length=4, vocabulary=["good", "bad"])
    m = k.Model(i, L.Embedding(8, 3)(words(i)))
    return m, tf.constant([["A good film!"], ["bad"]])


@model
def activations(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i = k.Input((8,))
    x = L.Activation("swish")(L.PReLU()(L.Dense(4)(i)))
    x = L.ThresholdedReLU(0.5)(L.Activation(tf.nn.relu6)(x))
    y = L.Activation("hard_sigmoid")(i)
    return k.Model(i, [x, y, L.ELU(0.7)(i), L.Softmax()(i)]), 6 * numbers(2, 8) - 3


@model
def normalizations(k: Any, L: Any) -> Made:
    i = k.Input((8,))
    start = k.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    x = L.Dense(4, activation=k.activations.gelu, kernel_initializer=start)(i)
    x = L.GaussianNoise(0.1)(L.BatchNormalization(axis=-1, renorm=False)(x))
    x = L.BatchNormalization(renorm=True)(L.BatchNormalization(synchronized=True)(x))
    return k.Model(i, L.UnitNormalization()(L.GroupNormalization(2)(x))), numbers(2, 8)


@model
def old_sync_batch_normalization(k: Any, L: Any) -> Made:
    i = k.Input((8,))
    return k.Model(i, L.experimental.SyncBatchNormalization()(L.Dense(4)(i))), numbers(2, 8)


@model
def one_and_three_dimensions(k: Any, L: Any) -> Made:
    i, j = k.Input((12, 4)), k.Input((6, 6, 6, 2))
    x = L.Cropping1D(1)(L.UpSampling1D(2)(L.Conv1D(3, 3, padding="causal", dilation_rate=2)(i)))
    x = L.GlobalMaxPooling1D()(L.DepthwiseConv1D(3)(L.SeparableConv1D(4, 3)(x)))
    y = L.AveragePooling3D(2)(L.Conv3DTranspose(2, 2)(L.Conv3D(3, 2)(j)))
    return k.Model([i, j], [x, L.Flatten()(y)]), [numbers(2, 12, 4), numbers(2, 6, 6, 6, 2)]


@model
def names_with_slashes(k: Any, L: Any) -> Made:
    i = k.Input((8, 8, 3), name="image")
    x = L.BatchNormalization(name="block1/conv/bn")(L.Conv2D(4, 3, name="block1/conv")(i))
    return k.Model(i, L.Dense(4, name="head/dense")(L.Flatten()(x))), numbers(2, 8, 8, 3)


@model
def masks(k: Any, L: Any) -> Made:
    i = k.Input((5, 4))
    x = L.LSTM(3, return_sequences=True)(L.Masking(0.0)(i))
    x = L.GlobalAveragePooling1D()(x)
    values = numbers(2, 5, 4)
    values[:, 3:] = 0
    return k.Model(i, L.Reshape((3, 1))(L.RepeatVector(1)(x))), values


@model
def merging(k: Any, L: Any) -> Made:
    i, j = k.Input((6,)), k.Input((6,))
    layers = [L.Add(), L.Subtract(), L.Multiply(), L.Average(), L.Maximum(), L.Minimum()]
    outputs = [layer([i, j]) for layer in layers]
    return k.Model([i, j], L.Concatenate(axis=1)(outputs)), [numbers(2, 6), numbers(2, 6, seed=1)]


@model
def reused_names(k: Any, L: Any) -> Made:
    """Equal layers of equal shape: only names tell them apart."""
    i = k.Input((4,))
    x = y = i
    for number in (3, 1, 2):
        x, y = L.Dense(4, name=f"d{number}")(x), L.Dense(4, name=f"e{number}")(y)
    return k.Model(i, [y, x]), numbers(2, 4)


@model
def names_alike(k: Any, L: Any) -> Made:
    """They differ by a slash only, or are those of Keras' own nodes."""
    i = k.Input((4,), name="x")
    x = L.Dense(3, name="a_b")(L.Dense(5, name="a/b")(i))
    return k.Model(i, L.Dense(2, name="add")(x) + L.Dense(2, name="multiply")(x) * 2.0), numbers(
        2, 4
    )


@model
def whole_numbers(k: Any, L: Any) -> Made:
    """Small ones overflow when they are summed up; Keras 3 would widen them."""
    import tensorflow as tf

    i = k.Input((4,), dtype="int32")
    x = tf.reduce_sum(tf.cast(i, tf.int8), axis=-1)
    y = tf.image.resize(tf.reshape(i, (-1, 2, 2, 1)), (3, 3))
    return k.Model(i, [x, tf.reduce_max(i, axis=[1]), y]), np.array([[100, 90, 1, 2]], "int32")


@model
def shapes(k: Any, L: Any) -> Made:
    import tensorflow as tf

    i, j = k.Input((2, 3)), k.Input((6,))
    x = tf.reshape(i, tf.concat([tf.shape(i)[:1], [6]], axis=0))
    y = tf.clip_by_value(x, j - 0.3, j + 0.3)
    z = tf.concat([j, tf.zeros_like(j), j[:, ::-1], j[:, :2]], axis=-1)
    return k.Model([i, j], [y, z]), [numbers(2, 2, 3), numbers(2, 6, seed=1)]


@model
def sorted_outputs(k: Any, L: Any) -> Made:
    """Outputs of a nested model are counted in the order of their names."""
    inside, i = k.Input((4,)), k.Input((4,))
    outputs = {"z": L.Dense(3, name="first")(inside), "a": L.Dense(3, name="second")(inside)}
    nested = k.Model(inside, outputs, name="nested")(i)
    return k.Model(i, [nested["z"] * 2.0, L.Dense(1, name="third")(nested["a"])]), numbers(2, 4)


@model
def activation_layers(k: Any, L: Any) -> Made:
    i = k.Input((4,))
    x = L.Dense(4, activation=L.LeakyReLU(0.3))(i)
    return k.Model(i, L.Dense(4, activation=L.ReLU(1.0))(x)), numbers(2, 4) - 0.5
