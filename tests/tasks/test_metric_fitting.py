"""Do metrics mean on each head what their names say, by plain formulas, however data come?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
import metric_references as ref
from finetunekit.models.head_metrics import HeadMetric
from finetunekit.tasks import metric_fitting
from finetunekit.tasks.metric_settings import Head
from metric_tables import (
    COUNT,
    FORMS,
    TABLES,
    WIDTH,
    compare,
    expected,
    head_on,
    in_form,
    logits_and_labels,
    made,
)
from parameters import often

m = keras.metrics


class Batches(keras.utils.PyDataset):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return COUNT // 16

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(index * 16, index * 16 + 16)
        return self.x[rows], self.y[rows]


def as_dataset(x: np.ndarray, y: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(16)


@pytest.mark.parametrize(
    ("task", "logits", "form"),
    often(FORMS, (("binary", True, "flat"), ("multiclass", True, "rows"))),
)
def test_fit_validation_and_evaluate_count_alike(task: str, logits: bool, form: str) -> None:
    z, rows = logits_and_labels(task)
    y = in_form(rows, form)
    table = {name: row for name, row in TABLES[task].items() if name in IN_TRAINING}
    wanted = expected(table, task, rows, z)
    model = head_on(task, logits=logits)
    ftk.compile_for_task(model, metrics=made(table), learning_rate=1e-30)
    history = ftk.fit(model, z, y, batch_size=16, validation_data=(z, y), verbose=0).history
    compare_history(history, wanted)
    compare(model.evaluate(z, y, batch_size=16, verbose=0, return_dict=True), wanted, "evaluate")


IN_TRAINING = ("accuracy", "auc", "recall_0.3", "r_0.3", "f1", "top_2", "ce", "mean_auc", "MeanIoU")


def compare_history(history: dict[str, list[Any]], wanted: dict[str, Any]) -> None:
    compare({name: values[0] for name, values in history.items()}, wanted, "fit")
    held_out = {n.removeprefix("val_"): v[0] for n, v in history.items() if n[:4] == "val_"}
    compare(held_out, wanted, "validation")


PIPELINES: dict[str, Callable[[Any, Any], Any]] = {"tf.data": as_dataset, "PyDataset": Batches}
SHORT = {"binary": ("accuracy", "auc", "f1"), "multilabel": ("accuracy", "auc"),
         "multiclass": ("accuracy", "cat", "mean_auc", "ce")}  # fmt: skip


WAYS = [(task, kind, cache) for task in SHORT for kind in PIPELINES for cache in ("auto", False)]


@pytest.mark.parametrize(
    ("task", "kind", "cache"),
    often(WAYS, (("multiclass", "tf.data", "auto"), ("multilabel", "PyDataset", False))),
)
def test_pipelines_and_no_cache(task: str, kind: str, cache: Any) -> None:
    z, rows = logits_and_labels(task)
    table = {name: TABLES[task][name] for name in SHORT[task]}
    wanted = expected(table, task, rows, z)
    y = in_form(rows, {"binary": "flat", "multiclass": "rows"}.get(task, "rows"))
    data = PIPELINES[kind](z, y)
    model = ftk.compile_for_task(
        head_on(task, logits=True), metrics=made(table), learning_rate=1e-30
    )
    history = ftk.fit(
        model, data, validation_data=PIPELINES[kind](z, y), cache=cache, shuffle=False, verbose=0
    ).history
    compare_history(history, wanted)
    compare(model.evaluate(data, verbose=0, return_dict=True), wanted, "evaluate")


def test_weighted_metrics_count_by_weight() -> None:
    z, rows = logits_and_labels("multiclass")
    weights = (np.arange(COUNT) % 3).astype("float32")
    model = head_on("multiclass", logits=True)
    given = ["accuracy", m.AUC(2000, name="auc"), m.MeanIoU(4, name="iou")]
    ftk.compile_for_task(model, metrics=None, weighted_metrics=given)
    y = rows.argmax(-1)
    found = model.evaluate(z, y, sample_weight=weights, verbose=0, return_dict=True)
    repeated = np.repeat(np.arange(COUNT), weights.astype(int))
    p = ref.softmax(z)[repeated]
    assert found["accuracy"] == pytest.approx(ref.by_class(rows[repeated], p), abs=1e-6)
    assert found["auc"] == pytest.approx(ref.area(rows[repeated], p), abs=2e-3)
    assert found["iou"] == pytest.approx(ref.mean_iou(rows[repeated], p), abs=1e-6)


@pytest.mark.parametrize("task", often(WIDTH, ("multiclass",)))
def test_labels_as_probabilities_count_as_the_nearest_class(task: str) -> None:
    z, rows = logits_and_labels(task)
    soft = 0.8 * rows + 0.2 / max(WIDTH[task], 2)
    model = head_on(task, logits=False)
    table = {name: TABLES[task][name] for name in ("accuracy", "auc", "precision", "f1")}
    ftk.compile_for_task(model, metrics=made(table), learning_rate=1e-30)
    wanted = expected(table, task, rows, z)
    held_out = as_dataset(z, soft)
    compare_history(ftk.fit(model, z, soft, validation_data=held_out, verbose=0).history, wanted)
    compare(model.evaluate(Batches(z, soft), verbose=0, return_dict=True), wanted, task)
    ftk.compile_for_task(model, learning_rate=1e-30)
    history = ftk.fit(model, held_out, verbose=0).history
    assert history["accuracy"][0] == pytest.approx(wanted["accuracy"], abs=1e-6)


def test_functions_and_own_metrics_see_the_shape_of_the_head() -> None:
    seen: dict[str, Any] = {}

    def distance(y_true: Any, y_pred: Any) -> Any:
        seen["function"] = (tuple(y_true.shape), tuple(y_pred.shape))
        return keras.ops.abs(y_true - y_pred)

    class Own(keras.metrics.Mean):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(keras.ops.abs(y_true - y_pred))

    x = np.linspace(0, 1, 32, dtype="float32")[:, None]
    y = np.linspace(1, 0, 32, dtype="float32")
    inputs = keras.Input((1,))
    backbone = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    model = ftk.add_head(backbone, "regression")
    ftk.compile_for_task(model, metrics=[distance, Own(name="own"), "mae", m.R2Score()])
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    wanted = float(np.abs(model.predict(x, verbose=0)[:, 0] - y).mean())
    assert seen["function"][0] == seen["function"][1]
    assert [found[name] for name in ("distance", "own", "mae")] == pytest.approx([wanted] * 3)

    def right(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.equal(keras.ops.cast(y_true, "int64"), keras.ops.argmax(y_pred, -1))

    z, rows = logits_and_labels("multiclass")
    for form in ("integers", "column"):
        model = ftk.compile_for_task(head_on("multiclass", logits=True), metrics=[right])
        found = model.evaluate(z, in_form(rows, form), verbose=0, return_dict=True)
        assert found["right"] == pytest.approx(ref.by_class(rows, z))


def test_padded_tokens_are_not_counted() -> None:
    z, rows = logits_and_labels("multiclass")
    x = np.concatenate([z.reshape(12, 4, 4), np.zeros((12, 2, 4), "float32")], axis=1)
    y = np.concatenate([rows.argmax(-1).reshape(12, 4), np.zeros((12, 2), "int64")], axis=1)
    inputs = keras.Input((6, 4))
    masked = keras.layers.Masking()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="identity")(masked))
    table = {name: TABLES["multiclass"][name] for name in ("accuracy", "precision", "mean_auc")}
    ftk.compile_for_task(model, "multiclass", metrics=made(table))
    wanted = expected(table, "multiclass", rows, z)
    compare(model.evaluate(x, y, verbose=0, return_dict=True), wanted, "padded")


def test_labels_without_a_class_are_not_counted() -> None:
    z, rows = logits_and_labels("multiclass")
    y = rows.argmax(-1).reshape(12, 2, 2)
    void = (np.arange(COUNT) % 5 == 0).reshape(y.shape)
    y = np.where(void, 255, y)
    inputs = keras.Input((2, 2, 4))
    model = keras.Model(inputs, keras.layers.Dense(4, kernel_initializer="identity")(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    given = ["accuracy", "sparse_categorical_crossentropy", "MeanIoU", m.AUC(2000, name="auc"),
             m.F1Score("macro", name="f1"), m.AUC(2000, multi_label=True, name="aucs")]  # fmt: skip
    ftk.compile_for_task(model, "multiclass", loss=loss, metrics=given, learning_rate=1e-30)
    x = z.reshape(12, 2, 2, 4)
    kept = ~void.ravel()
    p, true = ref.softmax(z)[kept], rows[kept]
    wanted = {
        "accuracy": ref.by_class(true, p),
        "sparse_categorical_crossentropy": ref.cross_entropy()(true, p),
        "MeanIoU": ref.mean_iou(true, p),
        "auc": ref.area(true, p),
        "f1": ref.f_beta()(true, p),
        "aucs": ref.mean_area(true, p),
    }
    compare_history(ftk.fit(model, x, y, validation_data=(x, y), verbose=0).history, wanted)
    ftk.compile_for_task(model, "multiclass", loss=loss)
    found = model.evaluate(as_dataset(x, y), verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"], abs=1e-6)


@pytest.mark.parametrize("given", ["accuracy", "auc", lambda: m.PearsonCorrelation()])
def test_regression_takes_metrics_of_numbers(given: Any) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    with pytest.raises(ValueError, match=r"'mae'|axis=0"):
        ftk.compile_for_task(model, metrics=[given() if callable(given) else given])
    ftk.compile_for_task(model, metrics=["mae", m.PearsonCorrelation(axis=0)])


def test_what_was_fitted_is_said_and_stock_where_it_can_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = head_on("binary", logits=True)
    with caplog.at_level(logging.INFO, "finetunekit"):
        ftk.compile_for_task(model, metrics=["AUC", m.Recall(0.3)])
    assert "AUC: from_logits=True" in caplog.text
    assert "sigmoid of logits" in caplog.text
    found = metric_fitting.fit_metrics(
        ["accuracy", "auc", "precision"], model, ftk.Task(name="binary", num_classes=1), "bce"
    )
    assert [type(metric) for metric in found] == [m.BinaryAccuracy, m.AUC, m.Precision]
    (kept,) = metric_fitting.fit_metrics(
        [m.Recall(0.3)], model, ftk.Task(name="binary", num_classes=1), "bce"
    )
    assert isinstance(kept, HeadMetric)


def test_heads_of_another_kind_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="tanh")(inputs))
    task = ftk.Task(name="binary", num_classes=1)
    assert metric_fitting.head_of(model, task, "hinge") is None
    with caplog.at_level(logging.INFO, "finetunekit"):
        assert metric_fitting.fit_metrics(["hinge"], model, task, "hinge") == ["hinge"]
    assert "stay as they are: its output activation is 'tanh'" in caplog.text
    logits = head_on("multiclass", logits=True)
    several = ftk.Task(name="multiclass", num_classes=4)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    wanted = Head(task=several, logits=True, rank=2, void=-1)
    assert metric_fitting.head_of(logits, several, [loss]) == wanted


BY_HAND = [
    ("binary", True, "accuracy", "threshold=0.0"),
    ("binary", True, lambda: m.AUC(), "from_logits=True"),
    ("binary", True, lambda: m.BinaryAccuracy(threshold=0.0), ""),
    ("binary", False, "accuracy", ""),
    ("binary", False, lambda: m.F1Score(), "threshold=0.5"),
    ("multilabel", False, "accuracy", "'accuracy', the share"),
    ("multilabel", False, lambda: m.AUC(), ""),
    ("multiclass", False, "accuracy", ""),
    ("multiclass", False, "categorical_accuracy", "SparseCategoricalAccuracy"),
    ("multiclass", False, lambda: m.AUC(), "one-hot labels"),
]


@pytest.mark.parametrize(("task", "logits", "given", "said"), BY_HAND)
def test_metrics_compiled_by_hand_are_warned_of(
    task: str, logits: bool, given: Any, said: str
) -> None:
    model = head_on(task, logits=logits)
    kind = "Sparse" * (task == "multiclass") + (
        "CategoricalCrossentropy" if task == "multiclass" else "BinaryCrossentropy"
    )
    loss = getattr(keras.losses, kind)(from_logits=logits)
    model.compile("sgd", loss=loss, metrics=[given() if callable(given) else given])
    z, rows = logits_and_labels(task)
    y = in_form(rows, "integers") if task == "multiclass" else rows
    found = ftk.check_batch(model, z, y, verbose=0)
    assert len(found) == bool(said)
    assert said in "".join(found)
