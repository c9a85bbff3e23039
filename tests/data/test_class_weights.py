"""Do class weights come out by the formula, for labels of every shape?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data.class_weights import check_pipeline_weights, sample_weights
from finetunekit.models.metadata import Task

MULTI = ftk.Task(name="multiclass", num_classes=3)
# Class 0 six times, 1 three times, 2 once: weights 10 / (3 * count).
Y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
WEIGHTS = np.array([10 / 18] * 6 + [10 / 9] * 3 + [10 / 3])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(Y, WEIGHTS, id="numbers"),
        pytest.param(Y[:, None], WEIGHTS, id="a column"),
        pytest.param(np.eye(3)[Y], WEIGHTS, id="one-hot"),
        pytest.param(Y.reshape(1, 5, 2), WEIGHTS.reshape(1, 5, 2), id="dense"),
        pytest.param(Y.reshape(1, 5, 2, 1), WEIGHTS.reshape(1, 5, 2), id="dense with channel"),
        pytest.param(
            np.eye(3)[Y].reshape(1, 5, 2, 3), WEIGHTS.reshape(1, 5, 2), id="dense one-hot"
        ),
    ],
)
def test_balanced_multiclass(labels: np.ndarray, expected: np.ndarray) -> None:
    shape = (None,) * (expected.ndim) + (3,)
    assert sample_weights(labels, "balanced", MULTI, shape) == pytest.approx(expected)


def test_balanced_binary_and_multilabel() -> None:
    binary = ftk.Task(name="binary", num_classes=1)
    y = np.array([[0.0], [0.0], [0.0], [1.0]])
    assert sample_weights(y, "balanced", binary, (None, 1)) == pytest.approx([4 / 6] * 3 + [2])
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    found = sample_weights(
        labels, "balanced", ftk.Task(name="multilabel", num_classes=2), (None, 2)
    )
    assert found == pytest.approx([(2 + 1) / 2, (4 / 6 + 1) / 2, (4 / 6 + 1) / 2, (4 / 6 + 1) / 2])


def test_label_maps_as_wide_as_there_are_classes_are_no_one_hot_rows() -> None:
    y = np.array([[0, 1, 2], [0, 0, 0]])
    found = sample_weights(y, "balanced", MULTI, (None, 3, 3))
    assert found == pytest.approx(np.array([[6 / 12, 2, 2], [6 / 12] * 3]))


def test_given_weights() -> None:
    assert sample_weights(np.array([0, 2]), {2: 5.0}, MULTI, (None, 3)) == pytest.approx([1, 5])


def segmentation() -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="softmax")(inputs))
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


def test_fit_weighs_dense_labels_where_keras_raises() -> None:
    model = segmentation()
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    y = np.zeros((2, 4, 4), int)
    y[0, 0, :3] = 1
    history = ftk.fit(model, x, y, class_weight="balanced", verbose=0)
    p = model.predict(x, verbose=0)
    losses = -np.log(np.take_along_axis(p, y[..., None], axis=-1)[..., 0])
    weights = np.where(y == 1, 32 / (2 * 3), 32 / (2 * 29))
    assert history.history["loss"][0] == pytest.approx((losses * weights).mean(), rel=1e-4)


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_fit_multiplies_with_sample_weights_and_leaves_validation_alone(shape: tuple) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    x = np.linspace(-1, 1, 40, dtype="float32")[:, None]
    y = np.tile([0, 0, 0, 1], 10)
    given = np.linspace(0.5, 1.5, 40).reshape(shape)
    history = ftk.fit(
        model,
        x,
        y,
        class_weight="balanced",
        sample_weight=given,
        validation_data=(x, y),
        shuffle=False,
        batch_size=40,
        verbose=0,
    ).history
    p = model.predict(x, verbose=0)[:, 0]
    losses = -np.log(np.where(y == 1, p, 1 - p))
    weights = np.where(y == 1, 2.0, 2 / 3) * given.ravel()
    assert history["loss"][0] == pytest.approx((losses * weights).mean(), rel=1e-4)
    assert history["val_loss"][0] == pytest.approx(losses.mean(), rel=1e-4)


def test_class_weights_of_a_pipeline() -> None:
    check_pipeline_weights(None, Task(name="binary", num_classes=1))
    check_pipeline_weights({0: 1.0, 1: 2.0}, Task(name="binary", num_classes=1))
    check_pipeline_weights({7: 1.0}, None)
    with pytest.raises(ValueError, match="needs arrays, to count the classes"):
        check_pipeline_weights("balanced", Task(name="binary", num_classes=1))
    with pytest.raises(ValueError, match="`class_weight`"):
        check_pipeline_weights({7: 1.0}, Task(name="binary", num_classes=1))
