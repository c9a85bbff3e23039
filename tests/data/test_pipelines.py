"""Is of a pipeline seen what can be seen without drawing from it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.data import pipelines
from text_models import with_tokenizer

X, Y = np.zeros((20, 3), "float32"), np.arange(20)


class Own(keras.utils.PyDataset):
    """Batches of eight; without labels or end if asked."""

    def __init__(self, *, labelled: bool = True, length: int | None = 3) -> None:
        super().__init__()
        self.labelled, self.length = labelled, length

    @property
    def num_batches(self) -> int | None:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return (X[:8], Y[:8]) if self.labelled else X[:8]


def dataset(*parts: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0]).batch(8)


def unread() -> tf.data.Dataset:
    """Fails as soon as something is drawn."""

    def draw() -> Iterator[Any]:
        raise AssertionError("drawn from")
        yield

    spec = (tf.TensorSpec((None, 3)), tf.TensorSpec((None,), "int64"))
    return tf.data.Dataset.from_generator(draw, output_signature=spec)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def test_the_parts_of_a_batch() -> None:
    x, y = pipelines.batch_parts(unread())  # type: ignore[misc]
    assert [pipelines.known_shape(x), pipelines.known_shape(y)] == [(None, 3), (None,)]
    x, y = pipelines.batch_parts(Own())  # type: ignore[misc]
    assert [x.shape, y.shape] == [(8, 3), (8,)]
    alone = pipelines.batch_parts(dataset(X))
    assert alone is not None
    assert alone[1] is None
    assert pipelines.batch_parts(iter([(X, Y)])) is None


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (lambda: dataset(X, Y), 3),
        (lambda: dataset(X, Y).repeat(), None),
        (unread, None),
        (Own, 3),
        (lambda: Own(length=None), None),
        (lambda: iter([]), None),
    ],
)
def test_the_number_of_batches(data: Any, count: int | None) -> None:
    assert pipelines.batch_count(data()) == count


def test_shapes_that_are_known() -> None:
    assert pipelines.known_shape(X) == (20, 3)
    assert pipelines.known_shape(tf.TensorSpec(None)) is None
    assert pipelines.known_shape(tf.TensorSpec((None, 2))) == (None, 2)
    assert pipelines.known_shape("text") is None


def test_what_cannot_be_trained_on(model: keras.Model) -> None:
    pipelines.check(unread(), model, "x", labelled=True)
    pipelines.check(iter([]), model, "x", labelled=True)
    pipelines.check(dataset(X), model, "x", labelled=False)
    for data in (dataset(X), Own(labelled=False)):
        with pytest.raises(ValueError, match=r"`x` gives no labels.*Zip them"):
            pipelines.check(data, model, "x", labelled=True)
    with pytest.raises(ValueError, match=r"`validation_data` must give batches of shape"):
        pipelines.check(dataset(X[:, :2], Y), model, "validation_data", labelled=True)


def two_inputs(kind: str) -> keras.Model:
    a, b = keras.Input((3,), name="a"), keras.Input((5,), name="b")
    return keras.Model({"b": b, "a": a} if kind == "dict" else [a, b], keras.layers.Dense(1)(a))


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_each_of_several_inputs_has_its_shape(kind: str) -> None:
    right, wrong = np.zeros((8, 5), "float32"), np.zeros((8, 4), "float32")
    for given, fits in ((right, True), (wrong, False)):
        for x in ({"a": X[:8], "b": given, "0": wrong}, (X[:8], given)):
            if kind == "dict" and isinstance(x, tuple):
                continue
            data = tf.data.Dataset.from_tensors((x, Y[:8]))
            if fits:
                pipelines.check(data, two_inputs(kind), "x", labelled=True)
            else:
                words = r"`x\['b'\]` must give batches of shape \(n, 5\).*shape \(8, 4\)"
                with pytest.raises(ValueError, match=words):
                    pipelines.check(data, two_inputs(kind), "x", labelled=True)


def test_a_pipeline_without_a_batch_trains_nothing() -> None:
    for data in (dataset(X, Y).take(0), Own(length=0)):
        assert pipelines.shown_batch(data) is None or hasattr(data, "element_spec")
        for steps in (None, 3):
            with pytest.raises(ValueError, match="`validation_data` gives no batches"):
                pipelines.check_length(data, steps, "validation_data", "validation_steps")


def test_texts_have_to_be_tokenized_before() -> None:
    texts = dataset(np.array(["a b"] * 4), Y[:4])
    with pytest.raises(ValueError, match=r"gives texts.*ftk\.tokenize\(model, texts\)"):
        pipelines.check(texts, with_tokenizer(), "x", labelled=True)


@pytest.mark.parametrize(
    ("data", "words", "validates"),
    [
        (lambda: dataset(X, Y).repeat(), "an endless dataset", False),
        (unread, "a dataset of unknown length", True),
        (lambda: Own(length=None), "a PyDataset of unknown length", True),
        (lambda: (row for row in [1]), "a generator", True),
        (lambda: dataset(X, Y), "", True),
        (Own, "", True),
    ],
)
def test_lengths(data: Any, words: str, validates: bool) -> None:
    """Validation may stop where the data end; training would run a step too many."""
    pipelines.check_length(data(), 5, "x", "steps_per_epoch")
    if words:
        with pytest.raises(ValueError, match=rf"`x` is {words}.*Give `steps_per_epoch=`"):
            pipelines.check_length(data(), None, "x", "steps_per_epoch")
    else:
        pipelines.check_length(data(), None, "x", "steps_per_epoch")
    if validates:
        pipelines.check_length(data(), None, "validation_data", "validation_steps")
    else:
        with pytest.raises(ValueError, match="Give `validation_steps=`"):
            pipelines.check_length(data(), None, "validation_data", "validation_steps")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, None, 0, None), "`x` is missing"),
        (("data", [1], 0, None), "leave `y` out"),
        (("data", None, 0, [1]), "leave `sample_weight` out"),
        (("data", None, 0.1, None), "`validation_split` needs arrays"),
    ],
)
def test_arguments_that_go_with_arrays(given: tuple[Any, ...], words: str) -> None:
    pipelines.check_alone("data", None, 0.0, None)
    with pytest.raises(ValueError, match=words):
        pipelines.check_alone(*given)
