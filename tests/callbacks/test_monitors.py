"""Is the value that is watched one that is logged, and is its direction known?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from courses import one_model, played


def test_a_value_of_the_validation_data_that_is_misspelt_is_named() -> None:
    stop = ftk.callbacks.EarlyStopping("val_acuracy", mode="max")
    with pytest.raises(ValueError, match=r"`monitor` must be one of.*val_acuracy"):
        played(one_model(), stop, [None, 0.5], "val_accuracy")


def test_a_validation_that_never_comes_is_said(caplog: pytest.LogCaptureFixture) -> None:
    played(one_model(), ftk.callbacks.EarlyStopping("val_loss"), [None, None], "val_loss")
    assert "no epoch has logged 'val_loss'" in caplog.text


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_auc_1", "max"),
        ("head_accuracy", "max"),
        ("val_sparse_categorical_crossentropy", "min"),
        ("root_mean_squared_error", "min"),
        ("AUC", "max"),
        ("inaccuracy", None),
        ("gloss", None),
        ("val_dice", None),
    ],
)
def test_the_direction_follows_from_the_name(name: str, mode: str | None, tmp_path: Path) -> None:
    if mode is None:
        with pytest.raises(ValueError, match="`mode` must say"):
            ftk.callbacks.EarlyStopping(name)
        with pytest.raises(ValueError, match="`mode` must say"):
            ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor=name)
    keep = ftk.callbacks.SaveBest(tmp_path / "best.keras", monitor=name, mode=mode or "max")
    stop = ftk.callbacks.EarlyStopping(name, mode=mode or "max")
    if mode is not None:
        stop = ftk.callbacks.EarlyStopping(name)
    played(one_model(), stop, [0.5, 0.6], name)
    assert stop.mode == (mode or "max")
    assert keep.mode == (mode or "max")


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics", "both"])
def test_weighted_metrics_can_be_watched(kind: str) -> None:
    model = one_model()
    kinds = ("metrics", "weighted_metrics") if kind == "both" else (kind,)
    model.compile(keras.optimizers.SGD(0.0), "mse", **{name: ["mae"] for name in kinds})
    x = np.ones((2, 1), "float32")
    names = ["val_mae", "val_weighted_mae"] if kind == "both" else ["val_mae"]
    for name in names:
        stop = ftk.callbacks.EarlyStopping(name, mode="min")
        ftk.fit(model, x, x, validation_data=(x, x), callbacks=[stop], verbose=0)
        assert stop.best is not None
    wrong = ftk.callbacks.EarlyStopping("val_weighted_mse")
    with pytest.raises(ValueError, match=r"`monitor` must be one of.*val_weighted_mse"):
        ftk.fit(model, x, x, validation_data=(x, x), callbacks=[wrong], verbose=0)


@pytest.mark.parametrize("side", [0.0, 1.0])
def test_validation_of_one_class_is_judged_by_the_loss(
    side: float, caplog: pytest.LogCaptureFixture
) -> None:
    model = ftk.add_head(one_model(), "binary")
    ftk.compile_for_task(model, learning_rate=0.5)
    x = np.array([[1.0], [-1.0]] * 8)
    y = (x[:, 0] > 0).astype("float32")
    held_out = tf.data.Dataset.from_tensor_slices((x, np.full(16, side, "float32"))).batch(8)
    stop = ftk.callbacks.EarlyStopping(patience=9)
    history = ftk.fit(
        model, x, y, epochs=3, validation_data=held_out, callbacks=[stop], verbose=0
    ).history
    assert history["val_auc"] == [0.0] * 3
    assert stop.monitor == "val_loss"
    assert stop.best == pytest.approx(min(history["val_loss"]))
    assert "one class only" in caplog.text
    both = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    ftk.fit(model, x, y, validation_data=both, callbacks=[stop], verbose=0)
    assert stop.monitor == "val_auc"
