"""Is the form of the labels seen, and does the loss follow it where it is ours?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.data import pipeline_batches
from finetunekit.data.array_batches import ArrayBatches, Cutting
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import Batches
from finetunekit.models import metadata
from finetunekit.training import label_form

X = np.zeros((6, 4), "float32")
NUMBERS = np.arange(6) % 3
ONE_HOT = np.eye(3, dtype="float32")[NUMBERS]


def compiled(task: str = "multiclass", **options: Any) -> keras.Model:
    inputs = keras.Input((4,))
    backbone = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    count = {"num_classes": 3} if task == "multiclass" else {}
    return ftk.compile_for_task(ftk.add_head(backbone, task, **count), **options)


def arrays(y: Any) -> Batches:
    return ArrayBatches(Arrays(X, y), Cutting())


def pipeline(y: Any) -> Batches:
    return pipeline_batches.of(tf.data.Dataset.from_tensor_slices((X, y)).batch(2))


@pytest.mark.parametrize("make", [arrays, pipeline])
def test_the_form_is_seen(make: Any) -> None:
    model = compiled()
    task = metadata.of(model).task
    assert label_form.of_batches(model, task, make(NUMBERS), None) == task
    found = label_form.of_batches(model, task, make(ONE_HOT), make(ONE_HOT))
    assert found is not None
    assert (found.one_hot, found.num_classes) == (True, 3)
    for one, other in ((NUMBERS, ONE_HOT), (ONE_HOT, NUMBERS)):
        with pytest.raises(ValueError, match=r"`validation_data` must have labels of the same fo"):
            label_form.of_batches(model, task, make(one), make(other))


def test_where_nothing_tells_the_task_stays() -> None:
    model = compiled()
    task = metadata.of(model).task
    unknown = pipeline_batches.of(iter([]), steps=1)
    assert label_form.of_batches(model, task, unknown, arrays(ONE_HOT)) is task
    assert label_form.of_batches(model, None, arrays(NUMBERS), None) is None
    whole = label_form.of_batches(model, task, arrays(ONE_HOT), unknown)
    assert whole is not None
    assert whole.one_hot


def test_a_loss_of_ours_follows_there_and_back(caplog: pytest.LogCaptureFixture) -> None:
    model = compiled()
    task = metadata.of(model).task
    optimizer = model.optimizer
    labels = label_form.of_batches(model, task, arrays(ONE_HOT), None)
    assert not label_form.follow(model, task, task)
    assert not label_form.follow(model, task, None)
    assert label_form.follow(model, task, labels)
    assert "one-hot" in caplog.text
    assert isinstance(model.loss, keras.losses.CategoricalCrossentropy)
    assert not label_form.follow(model, task, labels), "it has followed already"
    assert np.isfinite(model.evaluate(X, ONE_HOT, verbose=0)[0])
    label_form.follow_back(model, task)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    assert np.isfinite(model.evaluate(X, NUMBERS, verbose=0)[0])
    assert model.optimizer is optimizer


def test_a_loss_of_the_users_stays() -> None:
    loss = keras.losses.CategoricalCrossentropy()
    model = compiled(loss=loss)
    task = metadata.of(model).task
    labels = label_form.of_batches(model, task, arrays(ONE_HOT), None)
    label_form.follow(model, task, labels)
    assert model.loss is loss
    label_form.follow_back(model, None)
    label_form.follow_back(model, task)
    assert model.loss is loss
