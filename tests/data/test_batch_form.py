"""What a model takes of a batch is known beforehand, and goes to the processes that read it."""

from __future__ import annotations

import pickle
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.data import batch_form
from finetunekit.models.metadata import Task

L = keras.layers
X, Y = np.ones((4, 3), "float32"), np.array([0, 1, 1, 0])
BINARY = Task(name="binary", num_classes=1, class_names=("no", "yes"))


def by_key() -> keras.Model:
    inputs = {name: keras.Input((3,), name=name) for name in ("b", "a")}
    return keras.Model(inputs, L.Dense(1, activation="sigmoid")(L.Add()(list(inputs.values()))))


def alone() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), L.Dense(1, activation="sigmoid")])


def form_of(model: keras.Model, task: Task | None = BINARY) -> batch_form.BatchForm:
    return batch_form.of(model, task, "x")


@pytest.mark.parametrize(
    ("batch", "wanted"),
    [
        (X, (X, None, None)),
        ((X,), (X, None, None)),
        ((X, Y), (X, Y, None)),
        ([X, Y], (X, Y, None)),
        ((X, {"any": Y}, {"any": Y}), (X, Y, Y)),
    ],
)
def test_the_parts_of_a_batch(batch: Any, wanted: Any) -> None:
    found = form_of(alone()).parts(batch)
    assert all(one is other for one, other in zip(found, wanted, strict=True))


def test_the_inputs_of_a_model_with_keys() -> None:
    form = form_of(by_key())
    x, y, _ = form.parts(({"a": X, "A": Y, "b": X}, Y))
    assert list(x) == ["b", "a"]
    assert y is Y
    assert form.parts(([X, X], Y))[0] == [X, X], "a list is in the model's order"
    with pytest.raises(ValueError, match=r"lacks inputs of the model: 'b'.*with the keys \['a'\]"):
        form.parts(({"a": X}, Y))
    assert form_of(alone()).keys is None


def test_it_can_be_sent_to_another_process() -> None:
    form = form_of(by_key())
    assert pickle.loads(pickle.dumps(form)) == form


def test_the_spec_says_what_is_wrong() -> None:
    form = form_of(alone())
    for shape in ((None,), (None, 1), (4,), None, (None, None)):
        form.check_spec((X, tf.TensorSpec(shape)))
    form.check_spec(X)
    for spec, words in (
        (tf.TensorSpec((None, 2)), r"In the batches of `x`: `y` must have shape"),
        (tf.TensorSpec(()), r"In the batches of `x`: `y` must have shape"),
        (tf.TensorSpec((None,), tf.string), r"text.*vocabulary=\['no', 'yes'\]"),
        (np.array([b"no"]), r"labels that are text.*dtype bytes"),
        (tf.RaggedTensorSpec((None, None)), r"gives ragged labels"),
        (tf.SparseTensorSpec((None, 1)), r"gives sparse labels.*tf\.sparse\.to_dense"),
    ):
        with pytest.raises(ValueError, match=words):
            form.check_spec((X, spec))
        form_of(alone(), None).check_spec((X, spec))  # A loss of one's own takes what it likes.


def test_what_is_checked_without_a_task_is_that_numbers_are_finite() -> None:
    form = form_of(alone(), None)
    form.check({"a": np.array([7, -300]), "b": None, "c": np.array(["text"])}, 0)
    for labels in (np.array([1, np.nan]), [Y, np.array([1, np.inf])]):
        with pytest.raises(ValueError, match=r"In batch 3 \(from 0\) of `x`: `y` holds NaN"):
            form.check(labels, 3)
    for labels, sure in (((Y, None), True), (np.array([1, np.nan]), False), ((), True)):
        tensors = keras.tree.map_structure(lambda a: None if a is None else tf.constant(a), labels)
        assert bool(form.surely_valid(tensors)) is sure


def test_what_only_a_look_at_the_values_can_tell() -> None:
    """A form that is not known until the batch is there is left to Python."""
    form = form_of(alone())
    answers: list[Any] = []

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec((None, None))])
    def trace(anything: Any, table: Any) -> Any:
        answers.extend([form.surely_valid(anything), form.surely_valid(table)])
        return anything

    trace(tf.constant([0.0]), tf.constant([[0.0]]))
    assert answers == [False, False]
    assert form.surely_valid(tf.constant([0, 1])).numpy()
