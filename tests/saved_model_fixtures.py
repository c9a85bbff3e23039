"""Small SavedModels of many kinds, written by the code that makes such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FEATURES = 6


class Encoder(tf.Module):
    """Two blocks: dense and batch normalization with its own statistics, then dense."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(0)

        def variable(path: str, shape: tuple[int, ...], trainable: bool = True) -> Any:
            value = random.normal(size=shape).astype("float32") * 0.5
            return tf.Variable(value, trainable=trainable, name=path)

        self.kernel1 = variable("block1/dense/kernel", (FEATURES, 5))
        self.gamma = variable("block1/bn/gamma", (5,))
        self.mean = variable("block1/bn/moving_mean", (5,), False)
        self.variance = tf.Variable(tf.ones(5), trainable=False, name="block1/bn/moving_variance")
        self.kernel2 = variable("block2/dense/kernel", (5, 4))
        self.mean2 = variable("block2/bn/moving_mean", (4,), False)
        self.variance2 = tf.Variable(tf.ones(4), trainable=False, name="block2/bn/moving_variance")

    def run(self, x: Any, training: bool) -> Any:
        x = self.normalised(x @ self.kernel1, self.mean, self.variance, training) * self.gamma
        x = self.normalised(tf.nn.relu(x) @ self.kernel2, self.mean2, self.variance2, training)
        return tf.tanh(x)

    @staticmethod
    def normalised(x: Any, mean: Any, variance: Any, training: bool) -> Any:
        if not training:
            return (x - mean) / tf.sqrt(variance + 1e-3)
        now, spread = tf.nn.moments(x, 0)
        mean.assign(0.9 * mean + 0.1 * now)
        variance.assign(0.9 * variance + 0.1 * spread)
        return (x - now) / tf.sqrt(spread + 1e-3)


def reusable(folder: Path) -> str:
    """As TF-Hub's reusable SavedModels: variables, trainable_variables, regularization_losses."""
    encoder = Encoder()

    @tf.function
    def call(inputs: Any, training: bool = False) -> Any:
        return encoder.run(inputs, training)

    @tf.function(input_signature=[])
    def penalty() -> Any:
        return 0.01 * tf.reduce_sum(encoder.kernel1**2)

    for training in (True, False):
        call.get_concrete_function(tf.TensorSpec((None, FEATURES), name="inputs"), training)
    exported = tf.train.Checkpoint()
    exported.encoder = encoder
    exported.variables = list(encoder.variables)
    exported.trainable_variables = list(encoder.trainable_variables)
    exported.regularization_losses = [penalty]
    exported.__call__ = call
    return saved(exported, folder)


class Plain(tf.Module):
    """Nameless variables in a list and a dict; two arguments; no `training`; nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = [tf.Variable(tf.ones((3, 2))), tf.Variable(tf.ones((4, 2)))]
        self.more = {"scale": tf.Variable(2.0)}

    @tf.function(
        input_signature=[tf.TensorSpec((None, 3), name="x"), tf.TensorSpec((None, 4), name="y")]
    )
    def __call__(self, x: Any, y: Any) -> Any:
        both = [x @ self.kernels[0], y @ self.kernels[1]]
        return {"sum": both[0] + both[1], "parts": [part * self.more["scale"] for part in both]}


class WithTable(tf.Module):
    """Words in, vectors out; the words stand in a text file among the assets."""

    def __init__(self, words: str) -> None:
        super().__init__()
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        reader = tf.lookup.TextFileInitializer(words, tf.string, line, tf.int64, number)
        self.table = tf.lookup.StaticHashTable(reader, 0)
        table = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
        self.embeddings = tf.Variable(table, name="words/embeddings")

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="words")])
    def __call__(self, words: Any) -> Any:
        return tf.nn.embedding_lookup(self.embeddings, self.table.lookup(words))


class Counted(tf.Module):
    """Dict input with integers, and a counter that each call moves."""

    def __init__(self) -> None:
        super().__init__()
        self.table = tf.Variable(tf.reshape(tf.range(12.0), (6, 2)), name="table")
        self.calls = tf.Variable(0, trainable=False, name="calls")

    @tf.function(
        input_signature=[
            {
                "tokens": tf.TensorSpec((None, 3), tf.int32, name="tokens"),
                "mask": tf.TensorSpec((None, 3), tf.float32, name="mask"),
            }
        ]
    )
    def __call__(self, inputs: Any) -> Any:
        self.calls.assign_add(1)
        vectors = tf.gather(self.table, inputs["tokens"])
        return tf.reduce_sum(vectors * inputs["mask"][:, :, None], 1)


class FileWriter(tf.Module):
    """Writes a file whenever it is called, hidden in an inner function."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self.weight = tf.Variable(1.0, name="weight")

    @tf.function
    def inner(self, x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(self.target, "written")]):
            return tf.identity(x) * self.weight

    @tf.function(input_signature=[tf.TensorSpec((None, 2), name="x")])
    def __call__(self, x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > -1e9, lambda: self.inner(x), lambda: x)


def saved(module: Any, folder: Path, **options: Any) -> str:
    """Writes it and returns the path."""
    tf.saved_model.save(module, str(folder), **options)
    return str(folder)


def file_writer(folder: Path) -> str:
    """A hostile one; its call would write `folder/written`."""
    folder.mkdir()
    return saved(FileWriter(str(folder / "written")), folder / "hostile")


def plain(folder: Path) -> str:
    return saved(Plain(), folder)


def with_table(folder: Path) -> str:
    folder.mkdir()
    words = folder / "words.txt"
    words.write_text("the\ncat\nsat\n")
    path = saved(WithTable(str(words)), folder / "table")
    words.unlink()
    return path


def counted(folder: Path) -> str:
    return saved(Counted(), folder)


def signature_only(folder: Path) -> str:
    """No `__call__`: one function, and a signature of it with one output."""
    encoder = Encoder()
    run = tf.function(
        lambda x: {"y": encoder.run(x, False)},
        input_signature=[tf.TensorSpec((None, FEATURES), name="x")],
    )
    return saved(encoder, folder, signatures=run.get_concrete_function())


def uncallable(folder: Path) -> str:
    """A function of its own name, and no signature."""
    encoder = Encoder()
    encoder.encode = tf.function(
        lambda x: encoder.run(x, False),
        input_signature=[tf.TensorSpec((None, FEATURES), name="x")],
    )
    return saved(encoder, folder)


def keras_export(folder: Path) -> str:
    """What Keras 3's `model.export` writes."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(5, name="first"),
            layers.BatchNormalization(name="bn"),
            layers.Dense(3, name="second"),
        ]
    )
    model.export(str(folder), verbose=False)
    return str(folder)


def legacy_keras(folder: Path) -> str:
    """What tf_keras writes: traces with and without training, Keras metadata, a penalty."""
    import tf_keras

    layers = tf_keras.layers
    inputs = tf_keras.Input((FEATURES,))
    x = layers.Dense(5, kernel_regularizer="l2", name="first")(inputs)
    x = layers.Dropout(0.5)(layers.BatchNormalization(name="bn")(x))
    model = tf_keras.Model(inputs, layers.Dense(3, name="second")(x))
    model.save(str(folder), save_format="tf")
    return str(folder)


def version_one(folder: Path) -> str:
    """TensorFlow 1's format: a graph and a signature, no objects."""
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 3), name="x")
        weight = v1.get_variable("dense/kernel", initializer=np.ones((3, 2), "float32"))
        y = tf.matmul(x, weight)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    return str(folder)


def version_one_words(folder: Path) -> str:
    """TensorFlow 1's format with two graphs, of the tags serve and train, and a vocabulary."""
    v1 = tf.compat.v1
    folder.mkdir()
    words = folder / "words.txt"
    words.write_text("the\ncat\nsat\n")
    line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    builder = v1.saved_model.Builder(str(folder / "model"))
    for tag in ("serve", "train"):
        with v1.Graph().as_default() as graph, v1.Session() as session:
            x = v1.placeholder(tf.string, (None,), name="x")
            reader = tf.lookup.TextFileInitializer(str(words), tf.string, line, tf.int64, number)
            table = tf.lookup.StaticHashTable(reader, 0)
            assets = v1.GraphKeys.ASSET_FILEPATHS
            v1.add_to_collection(assets, graph.get_tensor_by_name("asset_path:0"))
            weight = v1.get_variable("embeddings", initializer=np.ones((3, 2), "float32"))
            y = tf.gather(weight, table.lookup(x)) * tf.cast(table.lookup(x), tf.float32)[:, None]
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            options = {
                "signature_def_map": {
                    "serving_default": v1.saved_model.predict_signature_def({"x": x}, {"y": y})
                },
                "assets_collection": v1.get_collection(assets),
            }
            if tag == "serve":
                start = v1.tables_initializer()
                builder.add_meta_graph_and_variables(session, [tag], main_op=start, **options)
            else:
                builder.add_meta_graph([tag], **options)
    builder.save()
    words.unlink()
    return str(folder / "model")
