"""Are metrics fed in the right form, and do copies and files keep them, in plain Keras, too?"""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import head_metrics
from finetunekit.models.head_metrics import Feed, HeadMetric
from parameters import often

m = keras.metrics
ROWS = np.eye(3, dtype="float32")[[0, 2, 1, 0]]
SOFT = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], "float32")
Z = np.array([[1.0, 0, 0], [0, 1, 2], [0, 3, 1], [2, 0, 1]], "float32")


@pytest.mark.parametrize(
    ("feed", "given", "wanted"),
    [
        (Feed(), [1, 0], [[1], [0]]),
        (Feed(), [[1], [0]], [[1], [0]]),
        (Feed(labels="yes or no"), [0.9, 0.1], [[1], [0]]),
        (Feed(labels="yes or no"), [-1, 1], [[0], [1]]),
        (Feed(labels="places", classes=3), [[2], [1]], [2, 1]),
        (Feed(labels="places", classes=3), [2, 1], [2, 1]),
        (Feed(labels="places", classes=3), SOFT, SOFT),
        (Feed(labels="rows", classes=3), [2, 1], [[0, 0, 1], [0, 1, 0]]),
        (Feed(labels="rows", classes=3), [[2], [1]], [[0, 0, 1], [0, 1, 0]]),
        (Feed(labels="rows", classes=3), SOFT, SOFT),
        (Feed(labels="one class", classes=3), SOFT, [[1, 0, 0], [0, 0, 1]]),
    ],
)
def test_labels_as_they_are_fed(feed: Feed, given: Any, wanted: Any) -> None:
    outputs = np.zeros((2, feed.classes), "float32")
    labels, same, weights = feed(np.asarray(given), outputs)
    assert np.array_equal(labels, np.asarray(wanted, "float32"))
    assert np.array_equal(same, outputs)
    assert weights is None


def test_places_without_a_class_weigh_nothing() -> None:
    feed = Feed(labels="rows", classes=3, void=9, flat=True, outputs="softmax")
    y = np.array([[0, 9], [2, 1]])
    outputs = np.stack([Z[:2], Z[2:]])
    for given, wanted in ((None, [1, 0, 1, 1]), (np.array([2.0, 3.0]), [2, 0, 3, 3])):
        labels, p, weights = feed(y, outputs, given)
        assert np.array_equal(weights, np.float32(wanted))
        assert np.array_equal(labels, np.eye(3)[[0, 0, 2, 1]])
        assert np.allclose(p, np.exp(Z) / np.exp(Z).sum(-1, keepdims=True))
    _, _, weights = Feed(labels="places", classes=3, void=9)(y, outputs, np.ones((2, 2, 1)))
    assert np.array_equal(weights, [[1, 0], [1, 1]])


def test_padded_places_weigh_nothing() -> None:
    padded = np.concatenate([Z, 0 * Z[:1]])[None]
    masked = keras.layers.Masking()(padded)
    y = np.array([[0, 2, 1, 0, 1]])
    for weights, wanted in ((None, [[1, 1, 1, 1, 0]]), (np.array([2.0]), [[2, 2, 2, 2, 0]])):
        found = Feed(labels="rows", classes=3, outputs="softmax")(y, masked, weights)[2]
        assert np.array_equal(found, wanted)
    assert Feed(labels="places", classes=3, masks=False)(y, masked)[2] is None


def test_fed_in_place_where_the_file_may_be_stock() -> None:
    stock = m.BinaryAccuracy()
    assert head_metrics.fed(stock, Feed(labels="yes or no")) is stock
    assert float(stock(np.array([0.9, 0.2]), np.array([[0.7], [0.6]]))) == 0.5
    assert head_metrics.feed_of(stock) == Feed(labels="yes or no")
    assert head_metrics.fed(stock, Feed()) is stock, "instead of the first"
    assert head_metrics.feed_of(stock) == Feed()
    assert head_metrics.feed_of("accuracy") is None
    other = head_metrics.fed(m.AUC(), Feed(outputs="softmax", classes=3))
    assert isinstance(other, HeadMetric)
    assert other.name == other.metric.name
    again = head_metrics.fresh(other)
    assert again.feed == other.feed
    assert again.metric is not other.metric
    assert isinstance(head_metrics.fed(m.AUC(), Feed(labels="rows"), whole=True), HeadMetric)


def compiled(metrics: Any = None, logits: bool = True, **options: Any) -> keras.Model:
    inputs = keras.Input((3,))
    base = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer="identity")(inputs))
    activation = {"activation": None} if logits else {}
    model = ftk.add_head(ftk.freeze_layers(base), "multiclass", 3, **activation)
    given = ["accuracy", m.AUC(name="auc"), m.Precision(top_k=1, name="top")]
    return ftk.compile_for_task(model, metrics=metrics or given, **options)


def judged(model: keras.Model, y: Any) -> dict[str, float]:
    found = model.evaluate(Z, y, verbose=0, return_dict=True)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("form", often(["integers", "rows"], ("rows",)))
def test_a_file_keeps_its_metrics(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    y = ROWS if form == "rows" else ROWS.argmax(-1)
    model = compiled(weighted_metrics=[m.F1Score("macro", 0.5, name="f1")])
    ftk.fit(model, Z, y, verbose=0)
    wanted = judged(model, y)
    assert set(wanted) == {"loss", "accuracy", "auc", "top", "f1"}
    path = ftk.save(model, tmp_path / "model.keras")
    assert "'auc'" in caplog.text
    with zipfile.ZipFile(path) as file:
        assert b"HeadMetric" not in file.read("config.json")
    assert judged(ftk.load(path), y) == pytest.approx(wanted)
    assert judged(copy.deepcopy(model), y) == pytest.approx(wanted)
    assert judged(ftk.inject_dropout(model, 0.1, after="backbone"), y) == pytest.approx(wanted)
    assert (
        judged(keras.saving.load_model(path), y).items() <= pytest.approx(wanted).expected.items()
    )
    whole = tmp_path / "plain.keras"
    model.save(whole)
    assert judged(keras.saving.load_model(whole), y)["auc"] == pytest.approx(wanted["auc"])
    caplog.clear()
    ftk.save(compiled("accuracy"), tmp_path / "stock.keras")
    assert "plain Keras" not in caplog.text


@pytest.mark.slow
def test_plain_keras_opens_it_without_us(tmp_path: Path) -> None:
    model = compiled()
    path = ftk.save(model, tmp_path / "model.keras")
    code = (
        "import sys, keras, numpy as np; sys.modules['finetunekit'] = None\n"
        f"model = keras.saving.load_model({path!r})\n"
        "found = model.evaluate(np.eye(3), np.arange(3), verbose=0, return_dict=True)\n"
        "print(sorted(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("['accuracy', 'loss']"), done.stderr


def test_soft_labels_count_after_loading(tmp_path: Path) -> None:
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", kernel_initializer="ones")(inputs))
    ftk.compile_for_task(model)
    x, y = np.array([[-1.0], [1.0], [2.0]]), np.array([0.1, 0.9, 0.2])
    path = ftk.save(model, tmp_path / "model.keras")
    for one in (model, ftk.load(path), copy.deepcopy(model)):
        found = one.evaluate(x, y, verbose=0, return_dict=True)
        assert found["accuracy"] == pytest.approx(2 / 3)
        assert found["auc"] == pytest.approx(0.5)
    hard = keras.saving.load_model(path).evaluate(x, np.round(y), verbose=0, return_dict=True)
    assert hard["accuracy"] == pytest.approx(2 / 3)


def test_functions_are_kept_by_copies_and_by_files_that_are_told_of_them(tmp_path: Path) -> None:
    def shift(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.abs(y_true - y_pred)

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    ftk.compile_for_task(model, "regression", metrics=[shift], loss="mse")
    x, y = np.array([[1.0], [2.0]]), np.array([2.0, 4.0])
    path = ftk.save(model, tmp_path / "model.keras", verbose=0)
    twin = ftk.inject_dropout(model, 0.1, after=".*")
    loaded = ftk.load(path, custom_objects={"shift": shift})
    for one in (model, twin, loaded):
        found = one.evaluate(x, y, verbose=0, return_dict=True)
        assert found["shift"] == pytest.approx(1.5)


def test_a_record_that_does_not_fit_is_damage() -> None:
    model = compiled("accuracy")
    rows = {"metrics": [None, {"feed": {"labels": "outputs"}}], "weighted_metrics": []}
    with pytest.raises(ValueError, match="fewer metrics"):
        head_metrics.from_rows(model, rows)


def test_nothing_to_keep_is_nothing_in_the_file(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse", metrics=["mae"])
    assert head_metrics.to_rows(model) == {}
    with head_metrics.left_out(model) as names:
        assert names == []
