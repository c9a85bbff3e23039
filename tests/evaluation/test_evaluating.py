"""Does `evaluate` measure the whole set, for every task and source, and say what it left out?"""

from __future__ import annotations

import math

import numpy as np
import pytest

import finetunekit as ftk
from answering import answering
from parameters import often
from sources import Batches, numbers, shuffled
from text_models import letters, with_tokenizer

SOURCES = {
    "arrays": lambda *parts: parts,
    "tf.data that shuffles": lambda *parts: (shuffled(*parts),),
    "PyDataset": lambda *parts: (Batches(*parts),),
}


@pytest.mark.parametrize("source", SOURCES)
def test_multiclass(source: str) -> None:
    x, y = numbers(30, 3), np.arange(30) % 3
    model = answering("multiclass", 3, class_names=["a", "b", "c"])
    report = ftk.evaluate(model, *SOURCES[source](x, y))
    taken = x.argmax(axis=1)
    assert report.count == 30
    assert report.metrics["accuracy"] == pytest.approx(np.mean(taken == y))
    recalls = [np.mean(taken[y == n] == n) for n in range(3)]
    assert report.metrics["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert [report.per_class[name]["recall"] for name in "abc"] == pytest.approx(recalls)
    assert report.confusion.tolist() == [
        [int(np.sum((y == true) & (taken == found))) for found in range(3)] for true in range(3)
    ]
    assert report.baseline["accuracy"] == pytest.approx(1 / 3)
    assert report.notes == ()


@pytest.mark.parametrize("activation", often(["auto", None], (None,)))
def test_binary_with_a_threshold(activation: object) -> None:
    x, y = numbers(40, 1), np.arange(40) % 2
    x[:, 0] += y
    model = answering("binary", 1, activation)
    report = ftk.evaluate(model, x, y, threshold=0.7)
    taken = 1 / (1 + np.exp(-x[:, 0])) >= 0.7
    assert report.threshold == 0.7
    assert report.metrics["precision"] == pytest.approx(np.mean(y[taken]))
    assert report.metrics["recall"] == pytest.approx(np.mean(taken[y == 1]))
    order = x[y == 1] > x[y == 0].T
    assert report.metrics["auc"] == pytest.approx(order.mean(), abs=1e-6)
    assert ftk.evaluate(model, x, y).metrics["auc"] == report.metrics["auc"]
    assert ftk.evaluate(model, x, y).metrics["recall"] > report.metrics["recall"]


def test_multilabel() -> None:
    x, y = numbers(30, 2), (np.random.default_rng(1).random((30, 2)) < 0.4).astype("int32")
    report = ftk.evaluate(answering("multilabel", 2, class_names=["a", "b"]), x, y)
    taken = x >= 0
    assert report.metrics["accuracy"] == pytest.approx(np.mean(taken == y))
    assert report.per_class["b"]["recall"] == pytest.approx(np.mean(taken[:, 1][y[:, 1] == 1]))
    assert report.per_class["b"]["support"] == y[:, 1].sum()
    assert report.confusion.shape == (2, 2, 2)


@pytest.mark.parametrize("source", SOURCES)
def test_regression(source: str) -> None:
    x = 94_000 + 500 * numbers(30, 1)
    y = x[:, 0] + 20 * numbers(30)
    report = ftk.evaluate(answering("regression", 1), *SOURCES[source](x, y))
    assert report.metrics["mae"] == pytest.approx(np.mean(np.abs(x[:, 0] - y)), rel=1e-5)
    assert report.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((x[:, 0] - y) ** 2)), rel=1e-5)
    assert report.baseline["rmse"] == pytest.approx(np.std(y.astype("float64")), rel=1e-5)
    assert (report.baseline["r2"], report.confusion) == (pytest.approx(0, abs=1e-9), None)


def test_figures_are_those_of_keras_where_keras_has_them() -> None:
    x, y = numbers(50, 4), np.arange(50) % 4
    model = ftk.compile_for_task(answering("multiclass", 4, num_classes=4))
    wanted = model.evaluate(x, y, verbose=0, return_dict=True)
    assert ftk.evaluate(model, x, y).metrics["accuracy"] == pytest.approx(wanted["accuracy"])
    model = ftk.compile_for_task(answering("regression", 1))
    wanted = model.evaluate(x[:, :1], y, verbose=0, return_dict=True)
    found = ftk.evaluate(model, x[:, :1], y).metrics
    assert (found["mae"], found["rmse"]) == pytest.approx((wanted["mae"], wanted["rmse"]))


@pytest.mark.parametrize("source", SOURCES)
def test_samples_of_weight_0_are_left_out(source: str) -> None:
    x, y = numbers(30, 3), np.arange(30) % 3
    weights = np.ones(30, "float32")
    weights[[0, 7, 8]] = 0
    marked = np.where(weights == 0, -1, y)  # As padding is marked.
    model = answering("multiclass", 3, num_classes=3)
    parts = SOURCES[source](x, marked, weights)
    named = {"sample_weight": parts[2]} if len(parts) == 3 else {}
    report = ftk.evaluate(model, *parts[:2], **named)
    kept = weights > 0
    assert report.count == 27
    assert report.metrics == ftk.evaluate(model, x[kept], y[kept]).metrics
    assert report.notes == ("left out: 3 samples of 30 that are of weight 0",)
    assert "of weight 0" in str(report)


def test_texts() -> None:
    texts, y = letters(12)
    model = ftk.add_head(with_tokenizer(), "binary", class_names=["no", "yes"])
    report = ftk.evaluate(model, texts, y)
    held = [row.label == "yes" for row in ftk.predict(model, texts)]
    assert report.metrics["accuracy"] == pytest.approx(np.mean(held == (y == 1)))
    assert ftk.evaluate(model, shuffled(texts, y)).metrics == pytest.approx(report.metrics)


def test_one_class_alone_has_no_area_and_this_is_said() -> None:
    report = ftk.evaluate(answering("binary", 1), numbers(6, 1), np.zeros(6))
    assert math.isnan(report.metrics["auc"])
    assert "one class" in report.notes[0]
    assert "auc" in str(report)
    assert report.to_dict()["metrics"]["auc"] is None
