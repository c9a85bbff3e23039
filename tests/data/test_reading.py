"""Data of every form become the batches that were asked for, checked before anything is drawn."""

from __future__ import annotations

import functools
import logging
import random
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.data.array_batches import ArrayBatches, MixedArrayBatches, TextBatches
from finetunekit.data.pipeline_batches import DatasetBatches, GeneratedBatches, PyDatasetBatches
from finetunekit.data.reading import Given, read
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract, Task
from text_models import letters, with_tokenizer

L = keras.layers
BINARY = Task(name="binary", num_classes=1)
X = np.arange(24, dtype="float32").reshape(12, 2)
Y = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0])


@functools.cache
def binary(loss: Any = "binary_crossentropy") -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, activation="sigmoid")])
    model.compile("sgd", loss)
    return model


def given(x: Any = X, y: Any = Y, **options: Any) -> Given:
    plain: dict[str, Any] = {
        "sample_weight": None,
        "class_weight": None,
        "split": 0.0,
        "validation": None,
        "mix": (),
        "shuffle": True,
        "seed": 3,
        "size": None,
        "steps": None,
        "validation_size": None,
        "validation_steps": None,
        "by_length": False,
        "deterministic": False,
    }
    return Given(x=x, y=y, **(plain | options))


def arrays_of(x: Any = X, y: Any = Y, task: Task | None = BINARY, **options: Any) -> ArrayBatches:
    batches, validation = read(given(x, y, **options), binary(), task)
    assert type(batches) is ArrayBatches
    assert validation is None
    return batches


class Numbers(keras.utils.PyDataset):
    """Batches that are listed."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def pipeline(size: int = 4) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


def test_arrays_are_batched_in_a_seeded_order() -> None:
    batches = arrays_of(size=5)
    np.testing.assert_array_equal(batches.arrays.x, X)
    np.testing.assert_array_equal(batches.arrays.y.ravel(), Y)
    assert batches.arrays.weights is None
    assert (batches.size, batches.steps, batches.samples, batches.kind) == (5, 3, 12, "samples")
    assert batches.order is not None
    for epoch in (0, 2):
        expected = np.random.default_rng((3, epoch)).permutation(12)
        np.testing.assert_array_equal(batches.order(epoch), expected)


def test_labels_of_classes_stay_whole_numbers() -> None:
    y = Y + np.arange(12) % 2
    model = keras.Sequential([keras.Input((2,)), L.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    data = given(x=X, y=y, validation=(X, y))
    for found in read(data, model, Task(name="multiclass", num_classes=3)):
        assert isinstance(found, ArrayBatches)
        assert found.arrays.y.dtype.kind == "i"
        np.testing.assert_array_equal(found.arrays.y, y)


def test_a_seed_of_nought_is_a_seed() -> None:
    order = arrays_of(seed=0).order
    assert order is not None
    np.testing.assert_array_equal(order(1), np.random.default_rng((0, 1)).permutation(12))


def test_without_a_seed_pythons_random_draws_one() -> None:
    model = binary()
    random.seed(5)
    expected = random.Random(5).randrange(2**32)
    batches, _ = read(given(seed=None), model, BINARY)
    assert isinstance(batches, ArrayBatches)
    order = batches.order
    assert order is not None
    np.testing.assert_array_equal(order(0), np.random.default_rng((expected, 0)).permutation(12))


def test_without_shuffling_samples_keep_their_order_and_no_seed_is_drawn() -> None:
    model = binary()
    random.seed(5)
    batches, _ = read(given(shuffle=False, seed=None), model, BINARY)
    assert isinstance(batches, ArrayBatches)
    assert batches.order is None
    assert batches.for_keras(0).shuffle is False
    assert random.random() == random.Random(5).random()


@pytest.mark.parametrize("shuffle", [True, False])
def test_with_steps_the_order_is_left_to_keras(
    shuffle: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "finetunekit"):
        batches = arrays_of(shuffle=shuffle, steps=7, size=4)
    assert (batches.order, batches.keras_steps, batches.steps) == (None, 7, 7)
    data = batches.for_keras(0)
    assert (data.shuffle, data.batch_size) == (shuffle, 4)
    words = "with steps_per_epoch the order of arrays is left to Keras, which may repeat it"
    assert [record.getMessage() for record in caplog.records] == ([words] if shuffle else [])


@pytest.mark.parametrize("shuffle", [True, False])
def test_nothing_is_said_where_the_order_is_ours(
    shuffle: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "finetunekit"):
        arrays_of(shuffle=shuffle)
    assert caplog.records == []


def test_class_and_sample_weights_are_multiplied() -> None:
    sample_weight = np.linspace(0.5, 6, 12)
    found = arrays_of(class_weight={0: 1.0, 1: 3.0}, sample_weight=sample_weight).arrays.weights
    np.testing.assert_allclose(found, np.where(Y == 1, 3.0, 1.0) * sample_weight, rtol=1e-6)


def test_the_last_samples_are_held_out_and_not_weighted_by_class() -> None:
    sample_weight = np.linspace(0.5, 6, 12).astype("float32")
    options = given(
        split=0.25,
        class_weight="balanced",
        sample_weight=sample_weight,
        size=4,
        validation_size=2,
    )
    batches, validation = read(options, binary(), BINARY)
    assert isinstance(batches, ArrayBatches)
    assert type(validation) is ArrayBatches
    np.testing.assert_array_equal(batches.arrays.x, X[:9])
    np.testing.assert_array_equal(validation.arrays.x, X[9:])
    np.testing.assert_array_equal(validation.arrays.y.ravel(), Y[9:])
    np.testing.assert_array_equal(validation.arrays.weights, sample_weight[9:])
    # Of the nine samples that train, three are of class 0.
    balance = np.where(Y[:9] == 1, 9 / (2 * 6), 9 / (2 * 3))
    np.testing.assert_allclose(batches.arrays.weights, balance * sample_weight[:9], rtol=1e-6)
    assert (validation.kind, validation.size, validation.steps) == ("validation samples", 2, 2)
    assert validation.order is None
    assert batches.size == 4


def test_validation_arrays_bring_their_own_weights_and_steps() -> None:
    weights = np.array([1.0, 2.0, 3.0], "float32")
    held_out = (X[:3] + 1, Y[:3], weights)
    options = given(validation=held_out, validation_steps=2, class_weight={0: 1.0, 1: 3.0})
    _, validation = read(options, binary(), BINARY)
    assert type(validation) is ArrayBatches
    np.testing.assert_array_equal(validation.arrays.x, X[:3] + 1)
    np.testing.assert_array_equal(validation.arrays.weights, weights)
    assert (validation.keras_steps, validation.size) == (2, 32)


@pytest.mark.parametrize("train", ["arrays", "pipeline"])
def test_a_pipeline_to_validate_on_stays_one(train: str) -> None:
    held_out = pipeline()
    data = (X, Y) if train == "arrays" else (pipeline(), None)
    _, validation = read(given(*data, validation=held_out), binary(), BINARY)
    assert type(validation) is DatasetBatches
    assert validation.source is held_out
    assert (validation.kind, validation.steps) == ("validation samples", 3)
    options = given(*data, validation=held_out, validation_steps=2)
    _, validation = read(options, binary(), BINARY)
    assert validation is not None
    assert validation.steps == 2


def test_a_pipeline_is_validated_on_arrays_and_the_other_way_round() -> None:
    options = given(pipeline(), None, validation=(X[:3], Y[:3]), validation_size=2)
    batches, validation = read(options, binary(), BINARY)
    assert type(batches) is DatasetBatches
    assert type(validation) is ArrayBatches
    assert (validation.kind, validation.size) == ("validation samples", 2)


def test_what_to_validate_on_is_said_once() -> None:
    words = (
        "`validation_split` and `validation_data` both say what to validate on; give one. "
        "Received: validation_split=0.25"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        read(given(split=0.25, validation=(X, Y)), binary(), BINARY)


@pytest.mark.parametrize(
    "path", ["images", b"images", Path("images")], ids=["str", "bytes", "Path"]
)
def test_a_path_is_not_data(path: Any) -> None:
    with pytest.raises(TypeError, match="`x` is a path or text, not data"):
        read(given(path), binary(), BINARY)


def test_a_pipeline_keeps_its_steps_and_class_weights() -> None:
    data = pipeline()
    options = given(data, None, class_weight={0: 1.0, 1: 2.0}, deterministic=True)
    batches, validation = read(options, binary(), BINARY)
    assert type(batches) is DatasetBatches
    assert validation is None
    assert (batches.source, batches.steps, batches.kind) == (data, 3, "samples")
    assert batches.for_keras(0).class_weight == {0: 1.0, 1: 2.0}
    repeated, _ = read(given(data.repeat(), None, steps=5), binary(), BINARY)
    assert repeated.steps == 5


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_py_dataset_is_shuffled_by_keras(shuffle: bool) -> None:
    data = Numbers([(X[:4], Y[:4]), (X[4:8], Y[4:8])])
    batches, _ = read(given(data, None, shuffle=shuffle), binary(), BINARY)
    assert type(batches) is PyDatasetBatches
    assert batches.steps == 2
    assert batches.for_keras(0).shuffle is shuffle


def test_a_generator_is_read_by_keras_alone() -> None:
    data = (row for row in [(X, Y)])
    batches, _ = read(given(data, None, steps=1), binary(), BINARY)
    assert type(batches) is GeneratedBatches
    assert batches.source is data
    assert next(data)[0] is X, "nothing was drawn"


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (None, {"y": None}, "`x` is missing"),
        (pipeline(), {"y": Y}, "which brings its own y"),
        (pipeline(), {"sample_weight": Y}, "which brings its own sample_weight"),
        (pipeline(), {"split": 0.25}, "`validation_split` needs arrays"),
        (pipeline(), {"class_weight": "balanced"}, "`class_weight='balanced'` needs arrays"),
        (pipeline(), {"class_weight": {5: 1.0}}, "`class_weight`"),
        (pipeline().map(lambda x, y: x), {}, "`x` gives no labels"),
        (pipeline().map(lambda x, y: (x[:, :1], y)), {}, "`x` must give batches of shape"),
        (pipeline().repeat(), {}, "`x` is an endless dataset.* Give `steps_per_epoch=`"),
        (pipeline(), {"steps": 2, "deterministic": True}, "`steps_per_epoch=2` of 3 batches"),
    ],
    ids=[
        "nothing", "y", "weights", "split", "balanced", "class", "labels", "shape", "endless",
        "deterministic",
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_pipeline(data: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(given(data, **({"y": None} | options)), binary(), BINARY)


def test_epochs_may_be_parts_of_a_pipeline_unless_each_is_said_to_be_the_same() -> None:
    batches, _ = read(given(pipeline(), None, steps=2), binary(), BINARY)
    assert batches.steps == 2


def test_a_model_with_a_loss_of_its_own_needs_no_labels() -> None:
    batches, _ = read(given(pipeline().map(lambda x, y: x), None), binary(), None)
    assert batches.steps == 3


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        ((X, Y[:3]), "^In `validation_data`: `x` and `y` must hold the same number"),
        (pipeline().repeat(), "`validation_data` is an endless dataset.*`validation_steps=`"),
    ],
    ids=["arrays", "pipeline"],
)
def test_what_cannot_be_validated_on_is_refused(held_out: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(given(validation=held_out), binary(), BINARY)


DATA = {
    "arrays": lambda: (X, Y),
    "tf.data": lambda: (pipeline(), None),
    "PyDataset": lambda: (Numbers([(X, Y)]), None),
    "generator": lambda: ((row for row in [(X, Y)]), None),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_loss_that_does_not_fit_is_warned_of(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model = binary(keras.losses.BinaryCrossentropy(from_logits=True))
    steps = 1 if kind == "generator" else None
    with caplog.at_level(logging.INFO, "finetunekit"):
        read(given(*DATA[kind](), steps=steps, shuffle=False), model, BINARY)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "is told that it gets logits" in record.getMessage()


@functools.cache
def text_model() -> keras.Model:
    """It takes tokens of letters, in texts of any length."""
    return ftk.add_head(with_tokenizer(segments=False), "binary")


@functools.cache
def token_model() -> keras.Model:
    inputs = keras.Input((3,), dtype="int32")
    x = L.GlobalAveragePooling1D()(L.Embedding(5, 2)(inputs))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))
    model.compile("sgd", "binary_crossentropy")
    return model


def test_known_batches_are_compared_with_the_model_and_a_pipeline_is_not_drawn_from() -> None:
    beyond, y = np.full((4, 3), 5, "int32"), Y[:4]
    for data in ((beyond, y), (Numbers([(beyond, y)]), None)):
        with pytest.raises(ValueError, match="`x` must hold token ids of 0 to 4"):
            read(given(*data), token_model(), BINARY)
    drawn: list[int] = []

    def batches() -> Any:
        drawn.append(1)
        yield beyond, y

    spec = (tf.TensorSpec((4, 3), "int32"), tf.TensorSpec((4,), "int64"))
    source = tf.data.Dataset.from_generator(batches, output_signature=spec)
    source = source.apply(tf.data.experimental.assert_cardinality(1))
    read(given(source, None), token_model(), BINARY)
    assert drawn == []


@pytest.mark.parametrize("kind", ["arrays", "PyDataset"])
def test_pixels_of_another_scale_are_warned_of_once(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.linspace(0, 1, 192, dtype="float32").reshape(4, 4, 4, 3)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), L.Flatten(), L.Dense(1, activation="sigmoid")]
    )
    model.compile("sgd", "binary_crossentropy")
    contract = InputContract(value_range=(0.0, 255.0), preprocessing="inside")
    metadata.remember(model, contract=contract)
    data = (x, Y[:4]) if kind == "arrays" else (Numbers([(x, Y[:4])]), None)
    with caplog.at_level(logging.INFO, "finetunekit"):
        read(given(*data), model, BINARY)
    said = [record.getMessage() for record in caplog.records]
    assert len([words for words in said if "0 to 255" in words]) == len(said) == 1


@pytest.mark.parametrize(
    ("options", "train", "held_out"),
    [
        ({}, TextBatches, TextBatches),
        ({"validation_steps": 2}, TextBatches, ArrayBatches),
        ({"steps": 3}, ArrayBatches, ArrayBatches),
        ({"by_length": False}, ArrayBatches, ArrayBatches),
    ],
    ids=["both", "validation steps", "steps", "not allowed"],
)
def test_batches_of_texts_are_cut_to_their_longest_where_the_batches_are_ours(
    options: dict[str, Any], train: type, held_out: type
) -> None:
    model, (texts, y) = text_model(), letters(8)
    data = given(texts, y, **({"by_length": True, "split": 0.25, "size": 3} | options))
    batches, validation = read(data, model, BINARY)
    assert type(batches) is train
    assert type(validation) is held_out
    lengths = np.array([len(text.split()) + 2 for text in texts])  # With [CLS] and [SEP].
    for found, rows in ((batches, slice(6)), (validation, slice(6, None))):
        assert isinstance(found, ArrayBatches)
        expected = lengths[rows] if isinstance(found, TextBatches) else None
        np.testing.assert_array_equal(found.lengths, expected)
        filled = found.arrays.x["padding_mask"].sum(axis=1)
        np.testing.assert_array_equal(filled, lengths[rows])


def test_texts_beside_a_pipeline_are_validated_on_in_whole_batches() -> None:
    model, (texts, y) = text_model(), letters(8)
    x = ftk.tokenize(model, texts)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    options = given(data, None, validation=(texts, y), by_length=True)
    _, validation = read(options, model, BINARY)
    assert type(validation) is ArrayBatches


@functools.cache
def image_model() -> keras.Model:
    inputs = keras.Input((2, 2, 1))
    x = L.Dense(3, activation="softmax")(L.Flatten()(inputs))
    model = keras.Model(inputs, x)
    model.compile("sgd", "categorical_crossentropy")
    return model


def test_mixed_batches_have_labels_as_rows_on_both_sides() -> None:
    task = Task(name="multiclass", num_classes=3)
    x = np.linspace(0, 1, 32, dtype="float32").reshape(8, 2, 2, 1)
    y = np.array([0, 1, 2, 2, 1, 0, 1, 2])
    layer = L.MixUp(seed=1)
    batches, validation = read(given(x, y, mix=(layer,), split=0.375, size=2), image_model(), task)
    assert type(batches) is MixedArrayBatches
    assert list(batches.random_layers) == [layer]
    assert batches.size == 2
    np.testing.assert_array_equal(batches.arrays.y, np.eye(3)[y[:5]])
    assert type(validation) is ArrayBatches
    np.testing.assert_array_equal(validation.arrays.y, np.eye(3)[y[5:]])
    np.testing.assert_array_equal(validation.arrays.x, x[5:])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sample_weight", {"sample_weight": Y}),
        ("class_weight", {"class_weight": "balanced"}),
        ("steps_per_epoch", {"steps": 2}),
    ],
)
def test_what_does_not_go_with_mixing(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`mix` and `{name}` do not go together"):
        read(given(mix=(L.MixUp(),), **options), binary(), BINARY)


def test_nothing_is_mixed_without_a_task() -> None:
    with pytest.raises(ValueError, match="`mix` mixes images and the labels of classes"):
        read(given(mix=(L.MixUp(),)), binary(), None)
