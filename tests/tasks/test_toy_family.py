"""A kind of task made in one file: it builds, trains, saves, loads and predicts like ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit import tasks
from finetunekit.data.class_weights import sample_weights

ops = keras.ops


@keras.saving.register_keras_serializable("toy")
class Cumulative(keras.losses.Loss):
    """Cross-entropy of "is it more than k?" for each k, of integer labels."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The mean over the steps of the scale."""
        steps = ops.arange(y_pred.shape[-1], dtype=y_pred.dtype)
        above = ops.cast(ops.reshape(y_true, (-1, 1)), y_pred.dtype) > steps
        return ops.mean(ops.binary_crossentropy(ops.cast(above, y_pred.dtype), y_pred), axis=-1)


class Ordinal(tasks.ClassFamily):
    """Grades in an order: an output for each step from one grade to the next."""

    name = "ordinal"
    activation = "sigmoid"
    monitor = "loss"
    can_mix = False

    def count_of_names(self, names: tuple[str, ...]) -> int:
        return len(names) - 1

    def loss(self, task: tasks.Task, from_logits: bool, label_smoothing: float = 0.0) -> Any:
        return Cumulative()

    def metrics(self, task: tasks.Task, from_logits: bool) -> list[Any]:
        return []

    def check_labels(self, labels: np.ndarray, task: tasks.Task, output_shape: Any) -> None:
        if not set(np.unique(labels).tolist()) <= set(range(task.num_classes + 1)):
            raise ValueError("`y` must hold grades. Received: other labels")

    def class_count(self, task: tasks.Task) -> int:
        return task.num_classes + 1

    def class_ids(self, labels: np.ndarray, task: tasks.Task, output_shape: Any) -> np.ndarray:
        return labels.reshape(len(labels)).astype("int64")

    def probabilities(self, outputs: np.ndarray, from_logits: bool) -> np.ndarray:
        ends = np.ones((len(outputs), 1)), np.zeros((len(outputs), 1))
        return -np.diff(np.concatenate([ends[0], outputs, ends[1]], axis=1), axis=1)

    def recognises_output(self, activation: str | None, width: int) -> bool:
        return activation == "sigmoid" and width == 777


class Count(tasks.TaskFamily):
    """How many of something: positive, with the loss of a Poisson distribution."""

    name = "count"
    activation = "exponential"
    monitor = "mae"
    default_count = 1

    def loss(self, task: tasks.Task, from_logits: bool, label_smoothing: float = 0.0) -> Any:
        return keras.losses.Poisson()

    def metrics(self, task: tasks.Task, from_logits: bool) -> list[Any]:
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def check_labels(self, labels: np.ndarray, task: tasks.Task, output_shape: Any) -> None:
        if (labels < 0).any():
            raise ValueError("`y` must hold counts of at least 0. Received: y below 0")

    def recognises_labels(self, labels: np.ndarray) -> str | None:
        return "the labels are counts" if labels.max() > 2000 else None


def backbone() -> keras.Model:
    """Functional, 4 numbers -> 8 features."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(8, activation="tanh", name="features")(inputs))


def values(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 4)).astype("float32")


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    before = tasks.families()
    for family in (Ordinal(), Count()):
        tasks.register(family)
    yield
    for name in ("ordinal", "count"):
        tasks.unregister(name)
    assert tasks.families() == before


def test_grades_train_save_load_and_predict(tmp_path: Path) -> None:
    names = ["bad", "fair", "good", "fine"]
    y = np.repeat([0, 1, 2, 2, 2, 3], 4)
    x = values(24) / 10 + y[:, None]
    model = ftk.add_head(backbone(), "ordinal", class_names=names)
    assert model.output_shape == (None, 3)
    ftk.compile_for_task(model, learning_rate=0.1)
    assert isinstance(model.loss, Cumulative)
    stop = ftk.callbacks.EarlyStopping(patience=100)
    history = ftk.fit(
        model,
        x,
        y,
        epochs=6,
        class_weight="balanced",
        validation_data=(x, y),
        callbacks=[stop],
        verbose=0,
    ).history
    assert stop.monitor == "val_loss"
    assert min(history["val_loss"]) < 0.7 * history["val_loss"][0]
    p = model.predict(x, verbose=0)
    above = y[:, None] > np.arange(3)
    expected = -np.log(np.where(above, p, 1 - p)).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-4)
    again = ftk.load(ftk.save(model, tmp_path / "grades.keras"))
    found = ftk.predict(again, x)
    wanted = ftk.predict(model, x)
    assert [row.label for row in found] == [row.label for row in wanted]
    np.testing.assert_allclose(wanted[5].probabilities["fair"], p[5, 0] - p[5, 1], rtol=1e-5)
    report = ftk.evaluate(again, x, y)
    hits = [row.label == names[grade] for row, grade in zip(found, y, strict=True)]
    assert report.metrics["accuracy"] == pytest.approx(np.mean(hits))
    assert list(report.per_class) == names
    assert report.baseline["accuracy"] == 0.5
    with pytest.raises(ValueError, match="must hold grades"):
        ftk.fit(again, x, y + 1, verbose=0)
    with pytest.raises(ValueError, match="mixes images and the labels of classes"):
        ftk.fit(again, x, y, mix=keras.layers.MixUp(), verbose=0)


def test_grades_are_weighed_split_and_fine_tuned() -> None:
    task = ftk.Task(name="ordinal", num_classes=2)
    y = np.array([0, 0, 0, 1, 1, 2])
    found = sample_weights(y, "balanced", task, (None, 2))
    assert found == pytest.approx([6 / 9] * 3 + [6 / 6] * 2 + [6 / 3])
    with pytest.raises(ValueError, match="there are 0 to 2"):
        sample_weights(y, {3: 1.0}, task, (None, 2))
    names = ["low", "middle", "high"]
    model, report = ftk.fine_tune(
        backbone(),
        (values(12), [names[n] for n in np.arange(12) % 3]),
        task="ordinal",
        class_names=names,
        validation_split=0.25,
        probe_epochs=1,
        epochs=0,
        verbose=0,
    )
    assert report.task == ftk.Task(name="ordinal", num_classes=2, class_names=tuple(names))
    assert set(ftk.predict(model, values(1))[0].probabilities) == set(names)


def test_counts_train_predict_and_have_no_classes() -> None:
    x, y = values(16), np.arange(16)
    head = ftk.build_head((8,), "count")
    assert head.layers[-1].activation is keras.activations.exponential
    model = ftk.compile_for_task(ftk.add_head(backbone(), "count"), learning_rate=1e-3)
    history = ftk.fit(model, x, y, epochs=1, verbose=0).history
    assert history.keys() == {"loss", "mae"}
    outputs = model.predict(x, verbose=0)[:, 0]
    assert [row.value for row in ftk.predict(model, x)] == pytest.approx(outputs)
    report = ftk.evaluate(model, x, y)
    assert report.metrics["mae"] == pytest.approx(np.mean(np.abs(outputs - y)))
    assert report.baseline["mae"] == pytest.approx(np.mean(np.abs(y - y.mean())))
    for wrong, words in (
        (lambda: ftk.fit(model, x, y, class_weight="balanced", verbose=0), "task 'count' has not"),
        (lambda: ftk.predict(model, x, threshold=0.5), "no effect for task 'count'"),
        (lambda: ftk.evaluate(model, x, -y), "counts of at least 0"),
        (lambda: ftk.fit(model, x, -y, verbose=0), "counts of at least 0"),
        (lambda: ftk.add_head(backbone(), "count", activation="tanh"), "'exponential' or"),
        (lambda: tasks.register(Count()), "family of that name already"),
        (lambda: tasks.family_of("cuont"), "Did you mean 'count'"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


def test_unknown_labels_are_asked_of_toys_too() -> None:
    from finetunekit.tuning.labels import task_of_labels

    task, _, why = task_of_labels(np.array([5, 4000]), "auto", None)
    assert (task.name, why) == ("count", "the labels are counts")
