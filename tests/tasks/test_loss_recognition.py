"""Models compiled with a loss of their own are recognised from the loss."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.tasks import known_task, loss_name, task_of
from models import L

losses = keras.losses


def plain(width: int, activation: str | None = None) -> keras.Model:
    return keras.Sequential([keras.Input((4,)), L.Dense(width, activation=activation)])


class Own(losses.BinaryCrossentropy):
    """A loss of the user's that is one of Keras' too."""


def strange(y_true: Any, y_pred: Any) -> Any:
    """A loss that nobody knows."""
    return keras.ops.mean(y_true * y_pred, axis=-1)


ROWS = [
    (losses.BinaryCrossentropy(from_logits=True), 1, None, "binary"),
    (losses.BinaryCrossentropy(from_logits=True, name="mine"), 1, None, "binary"),
    (Own(from_logits=True), 1, None, "binary"),
    (losses.BinaryFocalCrossentropy(from_logits=True), 1, None, "binary"),
    ("binary_crossentropy", 1, None, "binary"),
    ("bce", 1, None, "binary"),
    ("BinaryCrossentropy", 1, "sigmoid", "binary"),
    (losses.binary_crossentropy, 1, None, "binary"),
    ([losses.BinaryCrossentropy(from_logits=True)], 1, None, "binary"),
    (losses.Hinge(), 1, "tanh", "binary"),
    ("squared_hinge", 1, None, "binary"),
    (losses.BinaryCrossentropy(from_logits=True), 3, None, "multilabel"),
    (losses.BinaryFocalCrossentropy(), 3, "sigmoid", "multilabel"),
    (losses.Hinge(), 3, "tanh", "multilabel"),
    (losses.SparseCategoricalCrossentropy(from_logits=True), 3, None, "multiclass"),
    (losses.CategoricalCrossentropy(from_logits=True), 3, None, "multiclass"),
    (losses.CategoricalFocalCrossentropy(from_logits=True), 3, None, "multiclass"),
    (losses.CategoricalHinge(), 3, None, "multiclass"),
    ("sparse_categorical_crossentropy", 3, None, "multiclass"),
    ("SparseCategoricalCrossentropy", 3, None, "multiclass"),
    ("categorical_crossentropy", 2, None, "multiclass"),
    (losses.BinaryCrossentropy(), 3, "softmax", "multiclass"),
    (losses.MeanSquaredError(), 1, None, "regression"),
    ("mse", 3, None, "regression"),
    (losses.Huber(), 1, "softplus", "regression"),
    ("poisson", 1, "exponential", "regression"),
    (losses.MeanSquaredError(), 1, "sigmoid", "binary"),
    (losses.MeanSquaredError(), 3, "softmax", "multiclass"),
    (strange, 1, None, "regression"),
    (strange, 1, "sigmoid", "binary"),
]


@pytest.mark.parametrize(
    ("loss", "width", "activation", "expected"),
    ROWS,
    ids=lambda v: getattr(v, "__name__", type(v).__name__) if not isinstance(v, str) else v,
)
def test_the_kind(loss: Any, width: int, activation: str | None, expected: str) -> None:
    model = plain(width, activation)
    assert task_of(model, loss=loss).name == expected
    model.compile("sgd", loss)
    task = task_of(model)
    assert (task.name, task.num_classes) == (expected, width)
    assert known_task(model) == task


@pytest.mark.parametrize(("loss", "width"), [(strange, 3), (losses.KLDivergence(), 3), (None, 3)])
def test_what_tells_nothing(loss: Any, width: int) -> None:
    with pytest.raises(ValueError, match="say which task it is"):
        task_of(plain(width), loss=loss)


def test_names_of_losses() -> None:
    """Each loss of Keras under its name as a string, as a function and as an object."""
    classes = [c for c in vars(losses).values() if isinstance(c, type) and c is not losses.Loss]
    assert len(classes) > 20
    for one in classes:
        assert loss_name(one()) == one.__name__
        assert loss_name(one.__name__) == one.__name__
    assert loss_name(losses.mean_squared_error) == "MeanSquaredError"
    assert loss_name(losses.kl_divergence) == "KLDivergence"
    aliases = ("mse", "MSE", "mae", "bce", "BCE", "kld", "mape", "msle")
    for alias in aliases:
        assert loss_name(alias) == loss_name(losses.get(alias)) != ""
    assert loss_name({"out": "mse"}) == "MeanSquaredError"
    assert loss_name(None) == loss_name(strange) == loss_name(["mse", "mae"]) == ""


@pytest.mark.parametrize(
    ("width", "loss", "label", "metric"),
    [
        (1, losses.BinaryCrossentropy(from_logits=True), "one", "BinaryAccuracy"),
        (3, losses.BinaryCrossentropy(from_logits=True), "rows", "BinaryAccuracy"),
        (3, losses.CategoricalCrossentropy(from_logits=True), "rows", "CategoricalAccuracy"),
        (3, "sparse_categorical_crossentropy", "one", "SparseCategoricalAccuracy"),
        (1, "mse", "one", "MeanAbsoluteError"),
    ],
)
def test_metrics_follow_the_loss_given(width: int, loss: Any, label: str, metric: str) -> None:
    model = ftk.compile_for_task(plain(width), loss=loss, run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    y = np.arange(12) % max(width, 2)
    ftk.fit(model, x, np.eye(width)[y] if label == "rows" else y, verbose=0)
    names = [type(m).__name__ for m in model.metrics[1].metrics]
    assert names[0] == metric


def test_a_loss_given_for_a_head_says_the_form_of_the_labels() -> None:
    """Keras' sparse accuracy cannot compare one-hot labels."""
    inputs = keras.Input((4,))
    model = ftk.add_head(keras.Model(inputs, L.Identity()(inputs)), "multiclass", 3)
    ftk.compile_for_task(model, loss=losses.CategoricalCrossentropy(), run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    y = np.arange(12) % 3
    right = (model.predict(x, verbose=0).argmax(axis=1) == y).mean()
    found = model.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(right)


def test_logits_of_a_plainly_compiled_model_are_decoded_and_watched() -> None:
    model = plain(1)
    model.layers[-1].set_weights([np.array([[4.0], [0], [0], [0]]), np.zeros(1)])
    loss = losses.BinaryCrossentropy(from_logits=True)
    metrics = [keras.metrics.AUC(from_logits=True, name="auc")]
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=metrics)
    x = np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]] * 4, "float32")
    yes, no = ftk.predict(model, x[:2])
    assert (yes.label, no.label) == ("1", "0")
    assert yes.probability == pytest.approx(1 / (1 + np.exp(-4)))
    stop = ftk.callbacks.EarlyStopping()
    ftk.fit(model, x, [1, 0] * 4, validation_data=(x, [1, 0] * 4), callbacks=[stop], verbose=0)
    assert stop.monitor == "val_auc"
    with pytest.raises(ValueError, match="must lie between 0"):
        ftk.fit(model, x, np.arange(8), verbose=0)


@pytest.mark.parametrize("labels", [[1, 0, 1, 0], [1, -1, 1, -1]])
def test_hinge_takes_both_forms_of_labels(labels: list[int]) -> None:
    """Keras turns 0 into -1, so both give the loss mean(max(0, 1 - y * out))."""
    model = plain(1)
    model.compile(keras.optimizers.SGD(0.0), losses.Hinge())
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    history = ftk.fit(model, x, np.array(labels), verbose=0).history
    out = model.predict(x, verbose=0)[:, 0]
    wanted = np.maximum(0, 1 - np.array([1, -1, 1, -1]) * out).mean()
    assert history["loss"][0] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match="must lie between 0"):
        ftk.fit(model, x, np.array([2, 1, 2, -1]), verbose=0)


def test_a_loss_knows_better_than_a_task_read_from_the_output() -> None:
    model = ftk.compile_for_task(plain(1))
    assert task_of(model).name == "regression"
    ftk.compile_for_task(model, loss=losses.BinaryCrossentropy(from_logits=True))
    assert known_task(model).name == task_of(model).name == "binary"
    other = ftk.compile_for_task(plain(1))
    other.compile("sgd", losses.BinaryCrossentropy(from_logits=True))
    assert known_task(other).name == task_of(other).name == "binary"


def test_a_task_on_record_stays_under_any_loss() -> None:
    named = ftk.Task(name="regression", num_classes=1, class_names=("temperature",))
    model = ftk.compile_for_task(plain(1), named, loss="binary_crossentropy")
    assert task_of(model) == named
    inputs = keras.Input((4,))
    headed = ftk.add_head(keras.Model(inputs, L.Identity()(inputs)), "regression")
    ftk.compile_for_task(headed, loss="bce")
    assert known_task(headed).name == "regression"
    given = ftk.compile_for_task(plain(3, "softmax"), loss="mse")
    assert known_task(given).name == "multiclass"
