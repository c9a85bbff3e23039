"""What happens when the input is wrong? An error that names it, says the remedy and harms nothing.

One table: what the user has (`given`), the mistake, the argument that the message must name, and a
regular expression that its remedy must match. Each error comes from finetunekit itself, never from
inside Keras or TensorFlow, and leaves the models, the data and the files as they were.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import re
import sys
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import metadata

SAMPLES = 12
PACKAGE = str(Path(ftk.__file__).parent)
LONGEST_MESSAGE = 1500


@dataclass
class Desk:
    """What the user has before the mistake."""

    folder: Path
    model: Any = None
    x: Any = None
    y: Any = None
    other: Any = None
    file: str = ""


@dataclass(frozen=True)
class Case:
    """A mistake; `argument` is what the message must name, `remedy` what it must advise."""

    name: str
    given: Callable[[Path], Desk]
    mistake: Callable[[Desk], object]
    argument: str
    remedy: str


# --- What the user has -----------------------------------------------------------------------


def image_backbone(name: str = "tiny", first: str = "conv1") -> keras.Model:
    image = keras.Input((8, 8, 3), name="image")
    hidden = keras.layers.Conv2D(4, 3, name=first)(image)
    hidden = keras.layers.BatchNormalization(name="bn")(hidden)
    hidden = keras.layers.Conv2D(4, 3, name="conv10")(hidden)
    return keras.Model(image, hidden, name=name)


def vector_backbone(name: str = "dense") -> keras.Model:
    inputs = keras.Input((4,), name="features")
    return keras.Model(inputs, keras.layers.Dense(5, name="hidden")(inputs), name=name)


def images(folder: Path) -> Desk:
    """An image classifier of three classes, compiled, with balanced data."""
    model = ftk.add_head(image_backbone(), "multiclass", 3)
    ftk.compile_for_task(model, run_eagerly=True)
    return Desk(folder, model, values(8, 8, 3), np.arange(SAMPLES) % 3)


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, *shape), "float32")


def task(name: str, num_classes: int | None, folder: Path) -> Desk:
    """A compiled model of vectors for a task, with data that fit."""
    model = ftk.add_head(vector_backbone(), name, num_classes)
    ftk.compile_for_task(model, run_eagerly=True)
    rows = np.arange(SAMPLES)
    labels = {
        "binary": rows % 2,
        "multiclass": rows % 3,
        "multilabel": np.stack([rows % 2, rows % 3 > 0, rows % 4 > 1], axis=1).astype("float32"),
        "regression": rows / SAMPLES,
    }
    return Desk(folder, model, values(4), labels[name])


binary = partial(task, "binary", None)
multiclass = partial(task, "multiclass", 3)
multilabel = partial(task, "multilabel", 3)
regression = partial(task, "regression", None)
two_targets = partial(task, "regression", 2)


def one_hot(folder: Path) -> Desk:
    desk = multiclass(folder)
    desk.y = np.eye(3, dtype="float32")[desk.y]
    return desk


def backbone(folder: Path) -> Desk:
    """A backbone, and a layer of another model."""
    return Desk(folder, image_backbone(), other=image_backbone("other").get_layer("conv1"))


def features(folder: Path) -> Desk:
    return Desk(folder, vector_backbone())


def with_pixels(folder: Path) -> Desk:
    """A backbone that is known to take pixels of 0 to 255."""
    model = image_backbone()
    metadata.remember(model, contract=ftk.InputContract(value_range=(0.0, 255.0)))
    return Desk(folder, model)


def without_conv1(folder: Path) -> Desk:
    return Desk(folder, image_backbone(first="conv11"))


def nested(folder: Path) -> Desk:
    """What most tutorials build: a whole model inside a Sequential."""
    return Desk(
        folder,
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                image_backbone(),
                keras.layers.Flatten(),
                keras.layers.Dense(3, activation="softmax", name="predictions"),
            ]
        ),
    )


def plain(folder: Path) -> Desk:
    """A classifier made with Keras alone."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax", name="predictions")(hidden)
    return Desk(folder, keras.Model(inputs, outputs), values(4), np.arange(SAMPLES) % 3)


def unbuilt(folder: Path) -> Desk:
    return Desk(folder, keras.Sequential([keras.layers.Dense(5), keras.layers.Dense(1)]))


@keras.saving.register_keras_serializable("wrong_inputs")
class Subclassed(keras.Model):
    """A model whose wiring stands in `call`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hidden = keras.layers.Dense(4, name="hidden")

    def call(self, inputs: Any) -> Any:
        return self.hidden(inputs)


def subclassed(folder: Path) -> Desk:
    model = Subclassed(name="own")
    model(values(4))
    return Desk(folder, model)


def normalisation_only(folder: Path) -> Desk:
    inputs = keras.Input((4,))
    return Desk(folder, keras.Model(inputs, keras.layers.BatchNormalization(name="bn")(inputs)))


def attention(folder: Path) -> Desk:
    tokens = keras.Input((6, 4))
    mixed = keras.layers.MultiHeadAttention(2, 2, name="attention")(tokens, tokens)
    return Desk(folder, keras.Model(tokens, mixed))


def two_outputs(folder: Path) -> Desk:
    """A model with two outputs, compiled as one does with Keras."""
    inputs = keras.Input((4,), name="features")
    outputs = {
        "kind": keras.layers.Dense(3, activation="softmax", name="kind")(inputs),
        "size": keras.layers.Dense(1, name="size")(inputs),
    }
    model = keras.Model(inputs, outputs)
    loss = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile("sgd", loss=loss, run_eagerly=True)
    return Desk(folder, model, values(4), {"kind": np.arange(SAMPLES) % 3, "size": values(1)})


def two_inputs(folder: Path) -> Desk:
    image, row = keras.Input((8, 8, 3), name="image"), keras.Input((4,), name="row")
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(image), row])
    model = ftk.add_head(keras.Model({"image": image, "row": row}, joined), "multiclass", 3)
    ftk.compile_for_task(model, run_eagerly=True)
    return Desk(folder, model, {"image": values(8, 8, 3), "row": values(4)}, np.arange(SAMPLES) % 3)


def uncompiled(folder: Path) -> Desk:
    model = ftk.add_head(vector_backbone(), "multiclass", 3)
    return Desk(folder, model, values(4), np.arange(SAMPLES) % 3)


def one_number(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(y_pred)


def reducing(folder: Path) -> Desk:
    desk = multiclass(folder)
    ftk.compile_for_task(desk.model, loss=one_number, metrics=None)
    return desk


def frozen(folder: Path) -> Desk:
    desk = multiclass(folder)
    ftk.freeze_layers(desk.model)
    return desk


def other_metric(folder: Path) -> Desk:
    """A model with a metric whose name does not say whether less of it is better."""
    desk = regression(folder)
    metrics = [keras.metrics.MeanAbsolutePercentageError(name="mape")]
    ftk.compile_for_task(desk.model, metrics=metrics, run_eagerly=True)
    return desk


def trained_optimizer(folder: Path) -> Desk:
    """A model to compile, and the optimizer of another model that has trained already."""
    desk = uncompiled(folder)
    desk.other = keras.optimizers.Adam(1e-3)
    model = vector_backbone("trained")
    model.compile(desk.other, "mse")
    desk.other.build(model.trainable_variables)
    return desk


def saved(folder: Path) -> Desk:
    """A model, and the file of it."""
    desk = multiclass(folder)
    desk.file = ftk.save(desk.model, folder / "tuned.keras", verbose=0)
    return desk


def undescribed(folder: Path) -> Desk:
    """A good file, and a model that Keras cannot save: a layer lacks `get_config`."""

    class Scaled(keras.layers.Layer):
        def __init__(self, table: np.ndarray) -> None:
            super().__init__()
            self.table = table

        def call(self, inputs: Any) -> Any:
            return inputs * self.table

    desk = saved(folder)
    inputs = keras.Input((4,))
    scaled = Scaled(np.ones(4, "float32"))(inputs)
    desk.model = keras.Model(inputs, keras.layers.Dense(1)(scaled))
    return desk


def file(name: str, damage: Callable[[bytes], bytes]) -> Callable[[Path], Desk]:
    """A file made of a whole one in the format of the ending, and a model that is fine."""

    def given(folder: Path) -> Desk:
        desk, target = uncompiled(folder), folder / name
        whole = folder / f"whole{target.suffix if target.suffix == '.h5' else '.keras'}"
        desk.model.save(whole)
        target.write_bytes(damage(whole.read_bytes()))
        whole.unlink()
        desk.file = str(target)
        return desk

    return given


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda whole: whole[: int(share * len(whole))]


def always(content: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: content


def with_member(name: str, content: bytes | None) -> Callable[[bytes], bytes]:
    """A `.keras` archive with one member added, replaced, or (None) left out."""

    def damage(whole: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(out, "w") as new:
            for member in old.namelist():
                if member != name:
                    new.writestr(member, old.read(member))
            if content is not None:
                new.writestr(name, content)
        return out.getvalue()

    return damage


def weights_only(folder: Path) -> Desk:
    desk = uncompiled(folder)
    desk.file = str(folder / "a.weights.h5")
    desk.model.save_weights(desk.file)
    return desk


def folder_named(name: str) -> Callable[[Path], Desk]:
    def given(folder: Path) -> Desk:
        desk = multiclass(folder)
        (folder / name).mkdir()
        desk.file = str(folder / name)
        return desk

    return given


def custom_file(folder: Path) -> Desk:
    """The file of a model with a class that the loading program does not know."""

    class Unknown(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    inputs = keras.Input((4,))
    desk = Desk(folder, keras.Model(inputs, Unknown()(inputs)), file=str(folder / "own.keras"))
    desk.model.save(desk.file)
    return desk


def code_file(folder: Path) -> Desk:
    """The file of a model with a Lambda layer."""
    inputs = keras.Input((4,))
    outputs = keras.layers.Lambda(lambda x: x * 2, output_shape=(4,))(inputs)
    desk = Desk(folder, keras.Model(inputs, outputs), file=str(folder / "code.keras"))
    desk.model.save(desk.file)
    return desk


def batches(desk: Desk, *, y: Any = None, size: int | None = 4, of: Any = None) -> Any:
    """A tf.data pipeline of the data on the desk."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(
        (desk.x, desk.y if y is None else y) if of is None else of
    )
    return data if size is None else data.batch(size)


def of_length(desk: Desk, length: int) -> Any:
    """The same, but said to be of that length: -1 endless, -2 unknown."""
    import tensorflow as tf

    return batches(desk).apply(tf.data.experimental.assert_cardinality(length))


def generator(desk: Desk) -> Any:
    for _ in range(3):
        yield desk.x[:4], desk.y[:4]


def spoiled(array: np.ndarray, value: float) -> np.ndarray:
    """The array as floats, with one such value in it."""
    array = array.astype("float32")
    array.flat[5] = value
    return array


def fit(desk: Desk, x: Any = None, y: Any = None, **options: Any) -> object:
    """`finetunekit.fit` on what lies on the desk, but for what is given."""
    x, y = desk.x if x is None else x, desk.y if y is None else y
    return ftk.fit(desk.model, x, y, verbose=0, **options)


def fit_pipeline(desk: Desk, x: Any, **options: Any) -> object:
    return ftk.fit(desk.model, x, verbose=0, **options)


def sorted_split(desk: Desk) -> object:
    """Five times the data in the order of their classes, and the last quarter held out."""
    order = np.argsort(np.repeat(desk.y, 5, axis=0).reshape(5 * SAMPLES, -1)[:, 0], kind="stable")
    x, y = np.repeat(desk.x, 5, axis=0)[order], np.repeat(desk.y, 5, axis=0)[order]
    return ftk.fit(desk.model, x, y, validation_split=0.25, verbose=0)


def calling(verb: Callable[..., object]) -> Callable[..., Callable[[Desk], object]]:
    """What makes a mistake of arguments: the verb called with them on the model on the desk."""
    return lambda *arguments, **options: lambda desk: verb(desk.model, *arguments, **options)


freeze, unfreeze = calling(ftk.freeze_layers), calling(ftk.unfreeze_layers)
head, replacing = calling(ftk.add_head), calling(ftk.replace_head)
compiling, naming, saving = (
    calling(ftk.compile_for_task),
    calling(ftk.predict),
    calling(ftk.save),
)
dropout, penalty = calling(ftk.inject_dropout), calling(ftk.inject_regularizer)


def fitting(*data: Any, **options: Any) -> Callable[[Desk], object]:
    return lambda desk: fit(desk, *data, **options)


def loading(*source: Any, **options: Any) -> Callable[[Desk], object]:
    return lambda desk: ftk.load_backbone(*source, **options)


def stopping(monitor: str) -> list[keras.callbacks.Callback]:
    return [ftk.callbacks.EarlyStopping(monitor)]


def keeping(desk: Desk, monitor: str) -> list[keras.callbacks.Callback]:
    return [ftk.callbacks.SaveBest(desk.folder / "best.keras", monitor=monitor)]


def read(desk: Desk) -> object:
    return ftk.load_backbone(desk.file)


def load(desk: Desk) -> object:
    return ftk.load(desk.file)


# --- The mistakes ----------------------------------------------------------------------------
# A table: each mistake in one line or two.
# fmt: off

SELECTORS = [
    Case("freeze True", backbone, freeze(True), "layers", "an int"),
    Case("freeze False", backbone, freeze(False), "layers", "an int"),
    Case("freeze 0 layers", backbone, freeze(0), "layers", "an int"),
    Case("freeze None", backbone, freeze(None), "layers", "an int .* a name"),
    Case("freeze a slice", backbone, freeze(slice(0, 2)), "layers", "the first n layers"),
    Case("freeze a range of numbers", backbone, freeze(range(2)), "layers", "the first n layers"),
    Case("freeze a misspelt name", backbone, freeze("conv_10"), "layers", "Did you mean 'conv10'"),
    Case("freeze conv1 where there is conv10 only", without_conv1,
         freeze("conv1"), "layers", r"Did you mean .*'conv1[01]'"),
    Case("freeze a name that only one of a list has", backbone,
         freeze(["conv1", "block5"]), "layers", "Its layers are .*'conv10'"),
    Case("freeze a pattern with an open bracket", backbone,
         freeze("conv(1"), "layers", "regular expression"),
    Case("freeze a shell pattern", backbone, freeze("conv*"), "layers", r"'?conv\.\*"),
    Case("freeze a shell pattern that starts with a star", backbone,
         freeze("*conv10"), "layers", r"\.\*conv10"),
    Case("freeze an empty list", backbone, freeze([]), "layers", "a name|'.*'|an int|Its layers"),
    Case("freeze an empty string", backbone, freeze(""), "layers", "Its layers are .*'conv10'"),
    Case("freeze 150 %", backbone, freeze(1.5), "layers", r"\(0, 1\]"),
    Case("freeze not-a-number of the layers", backbone,
         freeze(float("nan")), "layers", r"\(0, 1\]"),
    Case("freeze by a share of parameters above 1", backbone,
         freeze(params=20), "params", r"\(0, 1\]"),
    Case("freeze by a share of parameters below that of the first layer", backbone,
         freeze(params=0.01), "params", "at least"),
    Case("freeze by a share of parameters in words", backbone,
         freeze(params="half"), "params", "number"),
    Case("freeze both a number and a share of parameters", backbone,
         freeze(2, params=0.5), "params", "one of them"),
    Case("freeze a layer of another model", backbone,
         lambda d: ftk.freeze_layers(d.model, d.other), "layers", "Its layers are .*'conv10'"),
    Case("freeze a type that the model has not", backbone,
         freeze(keras.layers.LSTM), "layers", "types .*'Conv2D'"),
    Case("freeze a type by its name", backbone, freeze("Conv2D"), "layers", "types .*'Conv2D'"),
    Case("freeze the backbone of a model without roles", backbone,
         freeze("backbone"), "layers", "add_head"),
    Case("freeze the head of a model without roles", nested, freeze("head"), "layers", "add_head"),
    Case("freeze 10 layers of a nested model", nested,
         freeze(10), "layers", "inside the nested model"),
    Case("freeze by a function of the layer alone", backbone,
         freeze(lambda layer: layer.name == "conv1"), "layers", r"\(path, layer\)"),
    Case("freeze by a function that chooses nothing", backbone,
         freeze(lambda path, layer: "dense" in path), "layers", "Its layers are .*'conv10'"),
    Case("freeze a list of layers instead of a model", backbone,
         lambda d: ftk.freeze_layers(d.model.layers[:2]), "model", "keras.Model"),
    Case("freeze a path instead of a model", saved,
         lambda d: ftk.freeze_layers(d.file, 2), "model", "keras.Model"),
    Case("freeze half of a model that is not built", unbuilt,
         freeze(0.5), "model", "Build it|calling it"),
    Case("unfreeze a misspelt name", frozen, unfreeze("hiden"), "layers", "Did you mean .*hidden"),
    Case("unfreeze BatchNormalization only", backbone,
         unfreeze(keras.layers.BatchNormalization), "layers", "batch_norm=True"),
    Case("find a misspelt name", backbone,
         lambda d: ftk.find_layers(d.model, "conv_1"), "layers", "Did you mean"),
    Case("summary of a path", saved,
         lambda d: ftk.trainable_summary(d.file), "model", "keras.Model"),
]

SHAPES = [
    Case("grey images", images, lambda d: fit(d, values(8, 8)), "x", r"np\.repeat"),
    Case("grey images, one channel", images, lambda d: fit(d, values(8, 8, 1)), "x", r"np\.repeat"),
    Case("images with alpha", images, lambda d: fit(d, values(8, 8, 4)), "x", r":3\]|RGB"),
    Case("channels first", images, lambda d: fit(d, values(3, 8, 8)), "x", r"np\.moveaxis"),
    Case("images too large", images, lambda d: fit(d, values(16, 16, 3)), "x", "Resize"),
    Case("images as flat rows", images, lambda d: fit(d, values(192)), "x", "reshape"),
    Case("one image without batch axis", images,
         lambda d: fit(d, d.x[0], d.y[:1]), "x", r"x\[None\]"),
    Case("one image with a bare label", images,
         lambda d: fit(d, d.x[0], 1), "x", r"x\[None\]|\[1\]|array"),
    Case("images of several sizes", images,
         lambda d: fit(d, [np.zeros((8, 8, 3)), np.zeros((9, 8, 3))], [0, 1]),
         "x", "one shape|[Rr]esize"),
    Case("paths of images", images, fitting(["a.jpg"] * SAMPLES), "x", "numbers"),
    Case("path of a folder as data", images,
         lambda d: fit_pipeline(d, "train/"), "x", "arrays|image_dataset_from_directory"),
    Case("no data", images, lambda d: fit_pipeline(d, None), "x", "arrays"),
    Case("no labels", images, lambda d: fit_pipeline(d, d.x), "y", "labels"),
    Case("images and labels as one tuple", images,
         lambda d: fit_pipeline(d, (d.x, d.y)), "x", r"x, y|\by=|`y`"),
    Case("a label is missing", images, lambda d: fit(d, y=d.y[:-1]), "y", "same number of samples"),
    Case("one label for all", images, lambda d: fit(d, y=d.y[:1]), "y", "same number of samples"),
    Case("empty arrays", images, lambda d: fit(d, d.x[:0], d.y[:0]), "x", "samples"),
    Case("a dict with a misspelt input", images, lambda d: fit(d, {"imgae": d.x}), "x", "'image'"),
    Case("two inputs, one misspelt", two_inputs,
         lambda d: fit(d, {"image": d.x["image"], "rows": d.x["row"]}), "x", "'row'"),
    Case("two inputs, one missing", two_inputs,
         lambda d: fit(d, {"image": d.x["image"]}), "x", "'row'"),
    Case("two inputs, one of wrong size", two_inputs,
         lambda d: fit(d, {"image": values(16, 16, 3), "row": d.x["row"]}),
         "x", r"8, 8, 3|[Rr]esize"),
    Case("two inputs of unequal length", two_inputs,
         lambda d: fit(d, {"image": d.x["image"], "row": d.x["row"][:-1]}),
         "x", "same number of samples"),
    Case("two outputs, one label too many", two_outputs,
         lambda d: fit(d, y={"kind": np.append(d.y["kind"], 0), "size": d.y["size"]}),
         "y", "same number of samples"),
    Case("two outputs, labels of one", two_outputs,
         lambda d: fit(d, y={"kind": d.y["kind"]}), "y", "'size'"),
    Case("sample_weight too short", images,
         lambda d: fit(d, sample_weight=np.ones(3)), "sample_weight", "one weight a sample"),
    Case("sample_weight with NaN", images,
         lambda d: fit(d, sample_weight=spoiled(np.ones(SAMPLES), np.nan)),
         "sample_weight", "fill|[Dd]rop|finite"),
    Case("validation images too large", images,
         lambda d: fit(d, validation_data=(values(16, 16, 3), d.y)), "validation_data", "Resize"),
    Case("validation labels from 1", images,
         lambda d: fit(d, validation_data=(d.x, d.y + 1)), "validation_data", "y - 1"),
    Case("validation rows, training integer labels", multiclass,
         lambda d: fit(d, validation_data=(d.x, np.eye(3)[d.y])),
         "validation_data", "rows|integer labels|one-hot"),
    Case("validation images without labels", images,
         lambda d: fit(d, validation_data=d.x), "validation_data", r"\(x, y\)"),
    Case("validation images in a tuple of one", images,
         lambda d: fit(d, validation_data=(d.x,)), "validation_data", r"\(x, y\)"),
    Case("validation_split in percent", images,
         fitting(validation_split=20), "validation_split", r"\(0, 1\)"),
    Case("validation_split negative", images,
         fitting(validation_split=-0.2), "validation_split", r"\(0, 1\)"),
    Case("validation_split as text", images,
         fitting(validation_split="0.2"), "validation_split", r"\(0, 1\)"),
    Case("validation_split that leaves nothing to train on", images,
         lambda d: fit(d, d.x[:2], d.y[:2], validation_split=0.9), "validation_split", "empty"),
    Case("sorted labels with validation_split", images,
         sorted_split, "validation_split", "Shuffle"),
    Case("sorted rows with validation_split", one_hot, sorted_split, "validation_split", "Shuffle"),
    Case("sorted yes and no with validation_split", binary,
         sorted_split, "validation_split", "Shuffle"),
    Case("predict one image without batch axis", images,
         lambda d: ftk.predict(d.model, d.x[0]), "x", r"x\[None\]"),
    Case("predict images too large", images,
         lambda d: ftk.predict(d.model, values(16, 16, 3)), "x", "Resize"),
    Case("predict channels first", images,
         lambda d: ftk.predict(d.model, values(3, 8, 8)), "x", r"np\.moveaxis"),
    Case("predict a path that is not there", images, naming("cat.jpg"), "x", "looked for in"),
    Case("predict a path for a model of numbers", regression,
         naming("cat.jpg"), "x", "arrays"),
    Case("evaluate without labels", images, lambda d: ftk.evaluate(d.model, d.x), "y", "Give"),
    Case("evaluate with labels from 1", multiclass,
         lambda d: ftk.evaluate(d.model, d.x, d.y + 1), "y", "y - 1"),
    Case("evaluate with fewer labels", multiclass,
         lambda d: ftk.evaluate(d.model, d.x, d.y[1:]), "y", "same number"),
    Case("predict NaN", images,
         lambda d: ftk.predict(d.model, spoiled(d.x, np.nan)), "x", "fill|[Dd]rop"),
]

LABELS = [
    Case("labels from 1", multiclass, lambda d: fit(d, y=d.y + 1), "y", r"y - 1"),
    Case("labels with -1", multiclass, lambda d: fit(d, y=d.y - 1), "y", r"y \+ 1"),
    Case("labels beyond the classes", multiclass,
         lambda d: fit(d, y=np.where(d.y == 2, 7, d.y)), "y", "num_classes=8"),
    Case("labels as numbers with halves", multiclass, lambda d: fit(d, y=d.y / 2), "y", "regress"),
    Case("labels as words", multiclass,
         lambda d: fit(d, y=np.array(["cat", "dog", "bird"])[d.y]), "y", r"class_names\.index"),
    Case("labels as a list of words", binary,
         fitting(y=["no", "yes"] * 6), "y", r"class_names\.index"),
    Case("labels with gaps", multiclass,
         fitting(y=[0, 1, None] * 4), "y", "missing|None|[Dd]rop|fill"),
    Case("one-hot rows of another number of classes", multiclass,
         lambda d: fit(d, y=np.eye(4)[d.y]), "y", "num_classes"),
    Case("several classes at once for multiclass", multiclass,
         lambda d: fit(d, y=np.ones((SAMPLES, 3))), "y", "'multilabel'"),
    Case("one-hot rows for yes or no", binary, lambda d: fit(d, y=np.eye(2)[d.y]), "y", "'multicl"),
    Case("yes and no as 1 and -1", binary, lambda d: fit(d, y=2 * d.y - 1), "y", r"\(y > 0\)"),
    Case("yes and no as 1 and 2", binary, lambda d: fit(d, y=d.y + 1), "y", "y - 1"),
    Case("yes and no as 0 and 255", binary, lambda d: fit(d, y=255 * d.y), "y", r"255|y > 0"),
    Case("integer labels for yes or no", binary,
         lambda d: fit(d, y=np.arange(SAMPLES) % 3), "y", "'multiclass'"),
    Case("integer labels for multilabel", multilabel,
         lambda d: fit(d, y=np.arange(SAMPLES) % 3), "y", "'multiclass'"),
    Case("multilabel rows one column short", multilabel,
         lambda d: fit(d, y=d.y[:, :2]), "y", "num_classes|one column a label"),
    Case("multilabel rows with 2", multilabel, lambda d: fit(d, y=2 * d.y), "y", "0 .*1"),
    Case("one target for two outputs", two_targets,
         lambda d: fit(d, y=np.zeros(SAMPLES)), "y", "num_classes"),
    Case("two targets for one output", regression,
         lambda d: fit(d, y=np.zeros((SAMPLES, 2))), "y", "num_classes"),
    Case("a target as text", regression,
         lambda d: fit(d, y=[f"{value:.2f}" for value in d.y]), "y", "float"),
    Case("a target as dates", regression,
         lambda d: fit(d, y=np.arange(SAMPLES).astype("datetime64[D]")), "y", "number"),
    Case("NaN in x", images, lambda d: fit(d, spoiled(d.x, np.nan)), "x", "Drop|fill"),
    Case("infinity in x", images, lambda d: fit(d, spoiled(d.x, np.inf)), "x", "Drop|fill"),
    Case("NaN in y", regression, lambda d: fit(d, y=spoiled(d.y, np.nan)), "y", "Drop|fill"),
    Case("infinity in y", regression, lambda d: fit(d, y=spoiled(d.y, np.inf)), "y", "Drop|fill"),
    Case("NaN among classes", multiclass, lambda d: fit(d, y=spoiled(d.y, np.nan)), "y", "Drop"),
    Case("NaN in one of two inputs", two_inputs,
         lambda d: fit(d, {**d.x, "row": spoiled(d.x["row"], np.nan)}), "x", "row"),
    Case("NaN in x of a model with two outputs", two_outputs,
         lambda d: fit(d, spoiled(d.x, np.nan)), "x", "Drop|fill"),
    Case("NaN in validation data", regression,
         lambda d: fit(d, validation_data=(d.x, spoiled(d.y, np.nan))),
         "validation_data", "Drop|fill"),
    Case("class_weight on regression", regression,
         fitting(class_weight={0: 1.0, 1: 2.0}), "class_weight", "sample_weight"),
    Case("class_weight beside a loss of one number", reducing,
         fitting(class_weight="balanced"), "loss", "one number a sample"),
    Case("sample_weight beside a loss of one number", reducing,
         fitting(sample_weight=np.ones(SAMPLES)), "loss", "one number a sample"),
    Case("class_weight from 1", multiclass,
         fitting(class_weight={1: 1.0, 2: 2.0, 3: 3.0}), "class_weight", "0 to 2"),
    Case("class_weight from 1, labels as rows", one_hot,
         fitting(class_weight={1: 1.0, 2: 2.0, 3: 3.0}), "class_weight", "0 to 2"),
    Case("class_weight by class name", multiclass,
         fitting(class_weight={"cat": 1.0, "dog": 2.0}), "class_weight", "0 to 2"),
    Case("class_weight as a list", multiclass,
         fitting(class_weight=[1.0, 2.0, 3.0]), "class_weight", "dict"),
    Case("class_weight misspelt", multiclass,
         fitting(class_weight="balance"), "class_weight", "'balanced'"),
    *(
        Case(f"class_weight {weight!r}", multiclass,
             fitting(class_weight={0: weight}), "class_weight", "number|finite|at least 0|above 0")
        for weight in ("high", -1.0, float("nan"), None)
    ),
    Case("class_weight numbers on multilabel", multilabel,
         fitting(class_weight={0: 1.0}), "class_weight", "'balanced'"),
    Case("class_weight on two outputs", two_outputs,
         fitting(class_weight="balanced"), "class_weight", "sample_weight"),
]

PIPELINES = [
    Case("generator without steps", images,
         lambda d: fit_pipeline(d, generator(d)), "x", "steps_per_epoch="),
    Case("tf.data of unknown length", images,
         lambda d: fit_pipeline(d, of_length(d, -2)), "x", "assert_cardinality"),
    Case("tf.data without end", images,
         lambda d: fit_pipeline(d, of_length(d, -1)), "x", "steps_per_epoch="),
    Case("validation tf.data without end", images,
         lambda d: fit(d, validation_data=of_length(d, -1)), "validation_data", "validation_steps"),
    Case("tf.data not batched", images,
         lambda d: fit_pipeline(d, batches(d, size=None)), "x", "batch"),
    Case("tf.data without labels", images,
         lambda d: fit_pipeline(d, batches(d, of=d.x)), "x", "labels"),
    Case("tf.data of wrong size", images,
         lambda d: fit_pipeline(d, batches(d, of=(values(16, 16, 3), d.y))), "x", "[Rr]esize"),
    Case("tf.data of bytes as labels", binary,
         lambda d: fit_pipeline(d, batches(d, y=255 * d.y)), "x", r"y = \(y > 0\)"),
    Case("tf.data of labels from 1", binary,
         lambda d: fit_pipeline(d, batches(d, y=d.y + 1)), "x", "y = y - 1"),
    Case("tf.data of a class too many", multiclass,
         lambda d: fit_pipeline(d, batches(d, y=d.y + 1)), "x", "y = y - 1"),
    Case("tf.data of three targets for one", regression,
         lambda d: fit_pipeline(d, batches(d, y=np.zeros((SAMPLES, 3)))), "x", "num_classes"),
    Case("tf.data of NaN as labels", regression,
         lambda d: fit_pipeline(d, batches(d, y=d.y + np.nan)), "x", "Drop these samples"),
    Case("tf.data of names as labels", multiclass,
         lambda d: fit_pipeline(d, batches(d, y=d.y.astype(str))), "x", "StringLookup"),
    Case("tf.data of no batches", images,
         lambda d: fit_pipeline(d, batches(d).take(0)), "x", "filtered"),
    Case("validation tf.data of a class too many", multiclass,
         lambda d: fit(d, validation_data=batches(d, y=np.eye(4)[d.y])), "validation_data",
         "num_classes"),
    Case("labels with a hole", binary,
         lambda d: fit(d, y=np.array([None, *d.y[1:]], object)), "y", "first in sample 0.*Drop"),
    Case("fine_tune with a label that is missing", features,
         lambda d: ftk.fine_tune(d.model, (values(4), ["a", "b", None] * 4), verbose=0),
         "train", "rows 2, 5, 8 and 11"),
    Case("fine_tune without labels", features,
         lambda d: ftk.fine_tune(d.model, (values(4), None), verbose=0), "train", "has no labels"),
    Case("x and y swapped", images,
         lambda d: ftk.fit(d.model, d.y, d.x), "x", "looks like labels"),
    Case("fine_tune with no validation samples", features,
         lambda d: ftk.fine_tune(
             d.model, (values(4), ["a", "b"] * 6), (values(4)[:0], []), verbose=0
         ), "validation_data", "holds no labels"),
    Case("augmentation in another range", with_pixels,
         lambda d: ftk.add_head(
             d.model, "binary",
             augmentation=keras.layers.RandomBrightness(0.2, value_range=(0, 1)),
         ), "augmentation", r"value_range=\(0, 255\)"),
    Case("tf.data with labels beside it", images,
         lambda d: fit(d, batches(d)), "y", "leave `y` out"),
    Case("tf.data with validation_split", images,
         lambda d: fit_pipeline(d, batches(d), validation_split=0.2),
         "validation_split", "validation_data"),
    Case("tf.data with balanced classes", images,
         lambda d: fit_pipeline(d, batches(d), class_weight="balanced"), "class_weight", "dict"),
    Case("tf.data with class_weight from 1", images,
         lambda d: fit_pipeline(d, batches(d), class_weight={1: 1.0, 2: 2.0, 3: 3.0}),
         "class_weight", "0 to 2"),
    Case("tf.data with class_weight on regression", regression,
         lambda d: fit_pipeline(d, batches(d), class_weight={0: 1.0, 1: 2.0}),
         "class_weight", "sample_weight"),
    Case("batch_size 0", images, fitting(batch_size=0), "batch_size", "positive|at least"),
    Case("batch_size as text", images, fitting(batch_size="32"), "batch_size", "int"),
    Case("batch_size 4.5", images, fitting(batch_size=4.5), "batch_size", "int"),
    Case("epochs as text", images, fitting(epochs="3"), "epochs", "int"),
    Case("epochs 0", images, fitting(epochs=0), "epochs", "at least|positive|above"),
    Case("going on at epoch 5 of 5", images,
         fitting(epochs=5, initial_epoch=5), "epochs", "initial_epoch"),
    Case("seed negative", images, fitting(seed=-1), "seed", "at least 0|negative"),
    Case("fit option misspelt", images, fitting(epoch=3), "epoch", "'epochs'|`epochs`"),
    Case("learning rate for fit", images, fitting(lr=1e-3), "lr", "compile"),
    Case("tf.data with class_weight on multilabel", multilabel,
         lambda d: fit_pipeline(d, batches(d), class_weight={0: 1.0, 1: 2.0}),
         "class_weight", "sample_weight|'balanced'"),
]

COMPILING = [
    Case("fit without compile", uncompiled, fit, "model", "compile_for_task"),
    Case("fit with nothing trainable", frozen, fit, "model", "unfreeze_layers"),
    Case("fit a path", saved, lambda d: ftk.fit(d.file, d.x, d.y), "model", "keras.Model"),
    Case("compile with nothing trainable", frozen, compiling(), "model", "unfreeze_layers"),
    Case("compile a model that is not built", unbuilt,
         compiling("regression"), "model", "[Bb]uil[dt]|Input|call"),
    Case("compile a model with two outputs", two_outputs,
         compiling(), "model", "add_head|one output"),
    Case("task unknown", uncompiled, compiling("classification"), "task", "'multiclass'"),
    Case("task misspelt", uncompiled,
         compiling("multi-class"), "task", "Did you mean 'multiclass'"),
    Case("task None", uncompiled, compiling(None), "task", "'multiclass'"),
    Case("task of one output for three", uncompiled, compiling("binary"), "task", "replace_head"),
    Case("task multilabel on a softmax", uncompiled,
         compiling("multilabel"), "task", "add_head|replace_head"),
    Case("task regression on a softmax", uncompiled,
         compiling("regression"), "task", "add_head|replace_head"),
    Case("task not told by the output", features, compiling(), "task", "'multiclass'"),
    Case("optimizer unknown", uncompiled,
         compiling(optimizer="adamx"), "optimizer", "Did you mean .*'adam'"),
    Case("optimizer of Keras by name", uncompiled,
         compiling(optimizer="rmsprop"), "optimizer", "optimizer object"),
    Case("optimizer as a class", uncompiled,
         compiling(optimizer=keras.optimizers.Adam), "optimizer", "object"),
    Case("optimizer None", uncompiled, compiling(optimizer=None), "optimizer", "'adam'"),
    Case("optimizer of another model", trained_optimizer,
         lambda d: ftk.compile_for_task(d.model, optimizer=d.other), "optimizer", "from_config"),
    Case("optimizer object with a rate", uncompiled,
         lambda d: compiling(optimizer=keras.optimizers.Adam(1e-3), learning_rate=1e-4)(d),
         "learning_rate", "by name|to the optimizer"),
    *(
        Case(f"learning_rate {rate!r}", uncompiled,
             compiling(learning_rate=rate), "learning_rate", "positive number")
        for rate in (-1e-3, 0, "1e-3", None, True, float("nan"), float("inf"))
    ),
    Case("compile option misspelt", uncompiled, compiling(lr=1e-3), "lr", "learning_rate"),
    Case("loss misspelt", uncompiled,
         compiling(loss="crossentropy"), "loss", "'auto'|categorical_crossentropy"),
    Case("metric misspelt", uncompiled,
         compiling(metrics=["acuracy"]), "metrics", "'auto'|accuracy"),
    Case("metric of yes or no", uncompiled,
         compiling(metrics=["binary_accuracy"]), "metrics", "'accuracy'"),
    Case("weighted metric of yes or no", uncompiled,
         compiling(weighted_metrics=["binary_accuracy"]), "metrics", "'accuracy'"),
    Case("top 5 of 3", uncompiled,
         compiling(metrics=["sparse_top_k_categorical_accuracy"]), "metrics", "k=2"),
    Case("metric that lacks an argument", uncompiled,
         compiling(metrics=["PrecisionAtRecall"]), "metrics", r"PrecisionAtRecall\(recall="),
]

HEADS = [
    Case("no num_classes", features, head("multiclass"), "num_classes", "class_names"),
    Case("one class", features, head("multiclass", 1), "num_classes", "'binary'"),
    Case("no label", features, head("multilabel", 0), "num_classes", "at least 1"),
    Case("minus three classes", features, head("multiclass", -3), "num_classes", "at least 2"),
    *(
        Case(f"num_classes {number!r}", features,
             head("multiclass", number), "num_classes", "an int")
        for number in (True, 3.0, "3", ["cat", "dog"])
    ),
    Case("two classes for yes or no", features,
         head("binary", 2), "num_classes", "'multiclass'|out"),
    Case("class names twice", features,
         head("multiclass", class_names=["cat", "dog", "cat"]), "class_names", "differ"),
    *(
        Case(f"class_names as a {type(names).__name__}", features,
             head("multiclass", class_names=names), "class_names", "list")
        for names in ("cat", [0, 1, 2], 3, {"cat", "dog"}, {"cat": 1, "dog": 0})
    ),
    Case("no class names", features,
         head("multiclass", class_names=[]), "class_names", "at least 2|binary"),
    Case("three names for yes or no", features,
         head("binary", class_names=["a", "b", "c"]), "class_names", "two names"),
    Case("fewer classes than names", features,
         head("multiclass", 2, class_names=["a", "b", "c"]), "num_classes", "left out"),
    Case("task of a head unknown", features, head("classification", 3), "task", "'multiclass'"),
    Case("number of classes as the task", features, head(3), "task", "'multiclass'"),
    Case("Task with a misspelt name", features,
         head(ftk.Task(name="binry", num_classes=1)), "task", "Did you mean 'binary'"),
    *(
        Case(f"hidden_units {units!r}", features,
             head("binary", hidden_units=units), "hidden_units", "list of positive ints")
        for units in ([0], [-8], [8.0], "128", None, True)
    ),
    *(
        Case(f"head dropout {rate!r}", features,
             head("binary", dropout=rate), "dropout", r"\[0, 1\)")
        for rate in (1.0, -0.1, 50, "0.5", None, True)
    ),
    Case("head l2 negative", features, head("binary", l2=-1e-4), "l2", "at least 0"),
    Case("pooling unknown", backbone, head("binary", pooling="average"), "pooling", "'avg'"),
    Case("softmax for yes or no", features,
         head("binary", activation="softmax"), "activation", "'sigmoid'"),
    Case("activation unknown", features,
         head("regression", activation="softpluss"), "activation", "softplus"),
    Case("softmax for one number", features,
         head("regression", activation="softmax"), "activation", "None|'softplus'|'multiclass'"),
    Case("head on a path", saved,
         lambda d: ftk.add_head(d.file, "binary"), "backbone", "load_backbone"),
    Case("head on a model that is not built", unbuilt, head("binary"), "backbone", r"keras\.Input"),
    Case("head on a subclassed model", subclassed, head("binary"), "backbone", r"keras\.Input"),
    Case("head on one of two outputs, not said which", two_outputs,
         head("binary"), "output", "'kind', 'size'"),
    Case("head on an output misspelt", two_outputs,
         head("binary", output="sizes"), "output", "'kind', 'size'"),
    Case("head on the third of two outputs", two_outputs,
         head("binary", output=2), "output", "'kind', 'size'"),
    Case("head on a model that has one", multiclass, head("binary"), "backbone", "replace_head"),
    Case("augmentation as a function", backbone,
         head("binary", augmentation=np.fliplr), "augmentation", "Keras layer"),
    Case("augmentation by name", backbone,
         head("binary", augmentation="flip"), "augmentation", "Keras layer"),
    Case("replace a head that is not there", backbone, replacing("binary"), "model", "add_head"),
    Case("replace the head of a path", saved,
         lambda d: ftk.replace_head(d.file, "binary"), "model", r"keras\.Model"),
    Case("replace a head, no num_classes", multiclass,
         replacing("multiclass"), "num_classes", "class_names"),
    Case("build_head for a number of features", features,
         lambda d: ftk.build_head(1280, "binary"), "feature_shape", r"\(1280,\)"),
    Case("build_head for features of unknown width", features,
         lambda d: ftk.build_head((None,), "binary"),
         "feature_shape", "last|width|channels|number"),
]

REGULARIZATION = [
    *(
        Case(f"inject dropout {rate!r}", multiclass,
             dropout(rate, after="hidden"), "rate", r"\(0, 1\)")
        for rate in (1.0, 0, -0.2, 50, "0.2", True)
    ),
    Case("dropout after the head", multiclass,
         dropout(0.2, after="head"), "after", "inside the model"),
    Case("dropout after every layer", multiclass,
         dropout(0.2, after=keras.layers.Dense), "after", "inside the model"),
    Case("dropout after the output of a Keras model", plain,
         dropout(0.2, after="predictions"), "after", "inside the model"),
    Case("dropout after a misspelt layer", multiclass,
         dropout(0.2, after="hiden"), "after", "Did you mean .*hidden"),
    Case("dropout after the input", plain,
         dropout(0.2, after=keras.layers.InputLayer), "after", "inside the model"),
    Case("dropout in a subclassed model", subclassed,
         dropout(0.2, after="hidden"), "model", "Functional"),
    Case("dropout inside attention", attention,
         dropout(0.2, after="query"), "model", "outside of it"),
    Case("dropout while fitting, rate 1.0", multiclass,
         lambda d: ftk.callbacks.DropoutInjection(1.0, after="hidden"), "rate", r"\(0, 1\)"),
    Case("dropout while fitting, after a misspelt layer", multiclass,
         lambda d: fit(d, callbacks=[ftk.callbacks.DropoutInjection(0.2, after="hiden")]),
         "after", "Did you mean .*hidden"),
    Case("no penalty", features, penalty(), "l2", "above 0"),
    Case("l2 0", features, penalty(l2=0), "l2", "above 0"),
    Case("l1 -1", features, penalty(l1=-1), "l1", "at least 0"),
    Case("l2 text", features, penalty(l2="a"), "l2", "number"),
    Case("l2 True", features, penalty(l2=True), "l2", "number"),
    Case("penalty on a misspelt layer", features,
         penalty(l2=1e-4, layers="hiden"), "layers", "Did you mean .*hidden"),
    Case("penalty on layers without kernel", backbone,
         penalty(l2=1e-4, layers="bn"), "layers", "Layers with one are: 'conv1'"),
    Case("penalty on a model without kernels", normalisation_only,
         penalty(l2=1e-4), "layers", "Layers with one are: none"),
    Case("penalty taken out that was never put in", features,
         lambda d: ftk.remove_regularizer(d.model), "layers", "Such layers are: none"),
    Case("penalty while fitting, none given", features,
         lambda d: ftk.callbacks.L1L2Injection(), "l2", "above 0"),
    Case("penalty while fitting, on a misspelt layer", multiclass,
         lambda d: fit(d, callbacks=[ftk.callbacks.L1L2Injection(l2=1e-3, layers="hiden")]),
         "layers", "Did you mean .*hidden"),
]

CALLBACKS = [
    Case("monitor of validation without validation", multiclass,
         lambda d: fit(d, callbacks=stopping("val_loss")),
         "monitor", "validation_split"),
    Case("monitor misspelt", multiclass,
         lambda d: fit(d, validation_split=0.25, callbacks=stopping("val_acc")),
         "monitor", "'val_accuracy'"),
    Case("monitor of SaveBest misspelt", multiclass,
         lambda d: fit(d, callbacks=keeping(d, "acc")),
         "monitor", "'accuracy'"),
    Case("mode of SaveBest in words", features,
         lambda d: ftk.callbacks.SaveBest(d.folder / "best.keras", mode="minimum"),
         "mode", "'min'"),
    Case("mode of EarlyStopping in words", features,
         lambda d: ftk.callbacks.EarlyStopping(mode="minimum"), "mode", "'min'"),
    Case("a callback as a class", multiclass,
         lambda d: fit(d, callbacks=[ftk.callbacks.EarlyStopping]),
         "callbacks", r"EarlyStopping\(|object|instance"),
    Case("a callback by name", multiclass,
         fitting(callbacks="early_stopping"), "callbacks", r"object|instance|Callback"),
    Case("SaveBest to another ending", features,
         lambda d: ftk.callbacks.SaveBest(d.folder / "best.h5"), "path", "end in '.keras'"),
    Case("SaveBest to a missing folder", features,
         lambda d: ftk.callbacks.SaveBest(d.folder / "runs" / "best.keras"), "path", "makedirs"),
    Case("SaveBest to nowhere", features,
         lambda d: ftk.callbacks.SaveBest(None), "path", "string or a path"),
    Case("a threshold for numbers", regression,
         lambda d: ftk.predict(d.model, d.x, threshold=0.5), "threshold", "leave it out"),
    *(
        Case(f"threshold {threshold!r}", binary,
             lambda d, threshold=threshold: naming(d.x, threshold=threshold)(d),
             "threshold", r"\[0, 1\]")
        for threshold in (50, -0.1, "0.5", float("nan"))
    ),
    Case("monitor that may go either way", other_metric,
         lambda d: fit(d, callbacks=stopping("mape")), "mode", "'min'"),
    Case("monitor of SaveBest that may go either way", other_metric,
         lambda d: fit(d, callbacks=keeping(d, "mape")),
         "mode", "'min'"),
]

FILES = [
    Case("source unknown", features, loading("myresnet"), "source", "Names are"),
    Case("source misspelt", features,
         loading("mobilenet_v22"), "source", "Did you mean .*MobileNetV2"),
    Case("source of a server that is not there", features,
         loading("http://127.0.0.1:9/module.tar.gz"), "source", "connection|refused"),
    Case("source of another protocol", features,
         loading("ftp://127.0.0.1/module.tar.gz"), "source", "files end in"),
    Case("source is a folder without a model", features,
         lambda d: ftk.load_backbone(d.folder), "source", "saved_model.pb"),
    Case("signature for a file", features,
         loading("model.keras", signature="serve"), "signature", "no effect"),
    Case("reference for a model", backbone,
         lambda d: ftk.load_backbone(d.model, reference=(1, 2)), "reference", "no effect"),
    Case("report on a model made elsewhere", backbone,
         lambda d: ftk.load_report(d.model), "model", "load_backbone"),
    Case("report on a path", features, lambda d: ftk.load_report("a.h5"), "model", "keras.Model"),
    Case("contract of a path", features,
         lambda d: ftk.input_contract("a.h5"), "model", "keras.Model"),
    Case("weights of a file that is not there", backbone,
         lambda d: ftk.load_weights(d.model, "none.h5"), "path", "not there"),
    Case("features of no layer", backbone,
         lambda d: ftk.backbone_features(d.model, ["conv_10"]), "layers", "Did you mean 'conv10'"),
    Case("features of neither layers nor levels", backbone,
         lambda d: ftk.backbone_features(d.model), "layers", "levels"),
    Case("features of layers and levels", backbone,
         lambda d: ftk.backbone_features(d.model, ["conv10"], levels=2), "levels", "either"),
    Case("features of more levels than there are", backbone,
         lambda d: ftk.backbone_features(d.model, levels=9), "levels", "at most"),
    Case("a batch of another size", backbone,
         lambda d: ftk.check_batch(d.model, np.zeros((2, 7, 7, 3))), "x", "must have shape"),
    Case("a batch for a path", features,
         lambda d: ftk.check_batch("a.h5", np.zeros((2, 3))), "model", "keras.Model"),
    *(
        Case(f"source {source!r}", features,
             loading(source), "source", "a path, a name or a keras.Model")
        for source in (None, 50, ["a.keras"])
    ),
    Case("source is a class", features,
         loading(keras.Model), "source", "a path, a name or a keras.Model"),
    Case("source is a layer", backbone,
         lambda d: ftk.load_backbone(d.other), "source", "a path, a name or a keras.Model"),
    Case("source is a missing file", saved,
         lambda d: ftk.load_backbone(d.folder / "tunde.keras"),
         "source", "Did you mean 'tuned.keras'"),
    Case("source is a missing file of a misspelt ending", saved,
         lambda d: ftk.load_backbone(d.folder / "tuned.kears"),
         "source", "Did you mean '.*tuned.keras'"),
    Case("source is a TensorFlow checkpoint", file("w.index", always(b"any")),
         lambda d: ftk.load_backbone(d.folder / "w"), "source", "tf_keras"),
    Case("source is a file of a TensorFlow checkpoint", file("w.index", always(b"any")),
         read, "source", "tf_keras"),
    Case("source is the folder of a TensorFlow checkpoint", file("checkpoint", always(b"any")),
         lambda d: ftk.load_backbone(d.folder), "source", "tf_keras"),
    Case("weights are a TensorFlow checkpoint", file("w.index", always(b"any")),
         lambda d: ftk.load_weights(d.model, d.folder / "w"), "path", "tf_keras"),
    Case("weights first, config second", saved,
         lambda d: ftk.load_backbone(d.file, weights="model.json"),
         "weights", "config comes first"),
    Case("a page in place of a config", file("m.json", always(b"<html>404</html>")),
         read, "source", "is a web page"),
    Case("HDF5 for torch's weights", file("a.h5", lambda whole: whole),
         lambda d: ftk.load_weights_from_torch(d.model, d.file), "path", "HDF5.*`load_weights`"),
    Case("source in a missing folder", saved,
         lambda d: ftk.load_backbone(d.folder / "models" / "tuned.h5"), "source", "looked for in"),
    Case("source in a home that is not expanded", features,
         loading("~/tuned.keras"), "source", "expanduser"),
    Case("source is a folder", folder_named("model"), read, "source", "[Gg]ive|a file|files"),
    Case("source is a folder named .keras", folder_named("model.keras"),
         read, "source", "[Gg]ive|a file|files"),
    Case("source is a text file", file("notes.txt", always(b"my best model\n")),
         read, "source", r"'\.keras'"),
    Case("source is a damaged torch file", file("resnet.pth", always(b"PK\x03\x04")),
         read, "source", r"torch\.save"),
    Case("text named .h5", file("a.h5", always(b"<html>404 not found</html>")),
         read, "source", "direct link"),
    Case("text named .keras", file("a.keras", always(b"version https://git-lfs.github.com/spec/v1\n")),
         read, "source", "git lfs pull"),
    Case("empty .h5", file("a.h5", always(b"")), read, "source", "again"),
    Case("weights only, .h5", weights_only, read, "source", "load_weights"),
    Case("empty .keras", file("a.keras", always(b"")), read, "source", "again"),
    Case("random bytes named .keras", file("a.keras", always(np.random.default_rng(0).bytes(5000))),
         read, "source", "again"),
    *(
        Case(f"{ending} cut at {share:.0%}", file(f"a{ending}", cut(share)),
             read, "source", "again")
        for ending in (".h5", ".keras") for share in (0.05, 0.5, 0.99)
    ),
    Case("zip of something else named .keras", file("a.keras", with_member("config.json", None)),
         read, "source", "again"),
    Case(".keras without its weights", file("a.keras", with_member("model.weights.h5", None)),
         read, "source", "again"),
    Case(".h5 named .keras", file("a.keras", always(b"\x89HDF\r\n\x1a\n" + bytes(2000))),
         read, "source", "again|rename|'.h5'"),
    Case("file with a class of its own", custom_file,
         read, "source", "custom_objects=.*Unknown|Unknown.*custom_objects="),
    Case("file with code", code_file, read, "source", "safe_mode=False"),
    Case("file with an input_shape", saved,
         lambda d: ftk.load_backbone(d.file, input_shape=(224, 224, 3)),
         "input_shape", "leave it out"),
    Case("model with custom_objects", features,
         lambda d: ftk.load_backbone(d.model, custom_objects={"A": Subclassed}),
         "custom_objects", "leave it out"),
    Case("include_top in words", features,
         loading("builtin:mobilenet_v2", include_top="no"), "include_top", "True or False"),
    Case("preprocessing as a bool", features,
         loading("builtin:mobilenet_v2", preprocessing=False), "preprocessing", "'inside'"),
    Case("dtype misspelt", features,
         loading("builtin:mobilenet_v2", dtype="mixed_float61"), "dtype", "'mixed_bfloat16'"),
    *(
        Case(f"built-in weights {weights!r}", features,
             loading("builtin:mobilenet_v2", weights=weights), "weights", '"pretrained"')
        for weights in ("imagenet", True, "missing.npz")
    ),
    *(
        Case(f"built-in shape {shape!r}", features,
             loading("builtin:mobilenet_v2", input_shape=shape),
             "input_shape", r"\(None, None, 3\)")
        for shape in ((224, 224, 0), (3, 224, 224), (16, 16, 3), (224, 224), 224, (None, 96, 96, 3))
    ),
    *(
        Case(f"named shape {shape!r}", features,
             loading("mobilenet_v2", weights=None, input_shape=shape),
             "input_shape", "at least 32|height|3")
        for shape in ((16, 16, 3), (224, 224), 224)
    ),
    Case("named weights in a missing file", features,
         loading("mobilenet_v2", weights="missing.h5"), "weights", "path"),
    Case("load a missing file", saved,
         lambda d: ftk.load(d.folder / "tunde.keras"), "path", "Did you mean 'tuned.keras'"),
    Case("load None", saved, lambda d: ftk.load(None), "path", "string or a path"),
    Case("load a folder", folder_named("model.keras"), load, "path", "[Gg]ive|a file|files"),
    Case("load an .h5", file("a.h5", cut(1)), load, "path", "load_backbone"),
    *(
        Case(f"load a .keras cut at {share:.0%}", file("a.keras", cut(share)),
             load, "path", "again")
        for share in (0.05, 0.5, 0.99)
    ),
    *(
        Case(f"load a .keras whose record is {content!r}",
             file("a.keras", with_member("finetunekit.json", content)),
             load, "path", "again|pip install -U")
        for content in (b"{", b"[]", b'{"version": 1}', b'{"version": 99}', b"\xff\xfe")
    ),
    Case("save to another ending", saved,
         lambda d: ftk.save(d.model, d.folder / "tuned.h5"), "path", r"end in '\.keras'"),
    Case("save to no ending", saved,
         lambda d: ftk.save(d.model, d.folder / "tuned"), "path", r"end in '\.keras'"),
    Case("save to a missing folder", saved,
         lambda d: ftk.save(d.model, d.folder / "runs" / "tuned.keras"), "path", "makedirs"),
    Case("save to a home that is not expanded", saved,
         saving("~/tuned.keras"), "path", "expanduser"),
    Case("save below a file", saved,
         lambda d: ftk.save(d.model, Path(d.file) / "tuned.keras"),
         "path", "is a file|not a folder"),
    Case("save to a folder", folder_named("model.keras"),
         lambda d: ftk.save(d.model, d.file), "path", "Give a file"),
    Case("save to None", saved, saving(None), "path", "string or a path"),
    Case("save path and model swapped", saved,
         lambda d: ftk.save(d.file, d.model), "model", r"keras\.Model"),
    Case("save over a file that must stay", saved,
         lambda d: ftk.save(d.model, d.file, overwrite=False), "path", "overwrite=True"),
    Case("save a model that is not built", unbuilt,
         lambda d: ftk.save(d.model, d.folder / "tuned.keras"), "model", "Call it"),
    Case("save a layer that has no config over a good file", undescribed,
         lambda d: ftk.save(d.model, d.file), "model", "get_config"),
]

# fmt: on

TABLE = [
    *SELECTORS,
    *SHAPES,
    *LABELS,
    *PIPELINES,
    *COMPILING,
    *HEADS,
    *REGULARIZATION,
    *CALLBACKS,
    *FILES,
]


# --- What must hold for each -----------------------------------------------------------------


def digest(array: Any) -> str:
    values = np.ascontiguousarray(keras.ops.convert_to_numpy(array))
    return hashlib.sha256(f"{values.dtype} {values.shape}".encode() + values.tobytes()).hexdigest()


def state(desk: Desk) -> dict[str, object]:
    """All that the user would miss: weights, flags, optimizer, data, files."""
    found: dict[str, object] = {
        f"file {path.relative_to(desk.folder)}": path.is_file() and path.read_bytes()
        for path in sorted(desk.folder.rglob("*"))
    }
    for name, data in (("x", desk.x), ("y", desk.y)):
        for number, part in enumerate(keras.tree.flatten(data)):
            found[f"{name} {number}"] = digest(part)
    return found | (model_state(desk.model) if desk.model is not None else {})


def model_state(model: keras.Model) -> dict[str, object]:
    layers = {"model": model, **ftk.find_layers(model)}
    found: dict[str, object] = {"losses": len(model.losses), "compiled": model.compiled}
    for path, layer in layers.items():
        found[f"{path} flags"] = (layer.name, layer.trainable, "call" in vars(layer))
        for number, variable in enumerate(layer.weights):
            found[f"{path} weight {number}"] = (
                digest(variable),
                variable.trainable,
                id(variable.regularizer),
            )
    if model.compiled:
        found["loss"] = id(model.loss)
        for variable in model.optimizer.variables:
            found[f"optimizer {variable.path}"] = digest(variable)
    return found


# What those without a file on the desk have is made once: a mistake leaves it as it was.
MADE_ONCE = {images, binary, multiclass, multilabel, regression, two_targets, one_hot, backbone}
MADE_ONCE |= {features, with_pixels, without_conv1, nested, plain, unbuilt, subclassed, frozen}
MADE_ONCE |= {normalisation_only, attention, two_outputs, two_inputs, uncompiled, reducing}


@functools.cache
def made_once(given: Callable[[Path], Desk]) -> Desk:
    return given(Path())


def desk_of(case: Case, folder: Path) -> Desk:
    if case.given in MADE_ONCE:
        return dataclasses.replace(made_once(case.given), folder=folder)
    return case.given(folder)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in TABLE])
def test_a_wrong_input_is_named_with_its_remedy_and_harms_nothing(
    case: Case, tmp_path: Path
) -> None:
    desk = desk_of(case, tmp_path)
    before = state(desk)
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        case.mistake(desk)
    message = str(caught.value)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename.startswith(PACKAGE), f"raised by {frames[-1].filename}: {message}"
    name = re.escape(case.argument)
    named = re.search(rf"`{name}[`=\[]|\b{name}=", message)
    assert named, f"{case.argument!r} not named: {message}"
    advice, received, _ = message.partition("Received: ")
    assert re.search(case.remedy, advice, re.DOTALL), f"no remedy {case.remedy!r}: {message}"
    assert received, f"not said what was given: {message}"
    assert len(message) < LONGEST_MESSAGE
    after = state(desk)
    harmed = [key for key in before | after if before.get(key) != after.get(key)]
    if harmed:  # No other case is to begin with it.
        made_once.cache_clear()
    assert harmed == []


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in TABLE]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is a thing of Linux")
def test_a_place_that_cannot_be_written_to_is_an_error_that_says_so(tmp_path: Path) -> None:
    desk = multiclass(tmp_path)
    before = state(desk)
    for attempt in (
        lambda: ftk.save(desk.model, "/proc/tuned.keras"),
        lambda: ftk.callbacks.SaveBest("/proc/best.keras"),
    ):
        with pytest.raises(OSError, match=r"`path` cannot be written to .* folder of your own"):
            attempt()
    assert state(desk) == before
