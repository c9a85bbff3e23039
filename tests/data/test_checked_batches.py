"""Pipelines are checked as they are read: the same labels are refused as in arrays, by batch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.data import batch_form, label_checks
from finetunekit.data.checked_batches import Checks
from finetunekit.tasks import known_task
from frozen_dense import frozen_backbone
from parameters import often

SIZE, BATCHES = 4, 3
X = np.random.default_rng(0).normal(size=(SIZE * BATCHES, 6)).astype("float32")


class Rows(keras.utils.PyDataset):
    """Batches of arrays, in their order."""

    def __init__(self, *arrays: Any, **options: Any) -> None:
        super().__init__(**options)
        self.arrays = arrays
        self.begun: list[str] = []

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> Any:
        rows = slice(index * SIZE, (index + 1) * SIZE)
        return tuple(array[rows] for array in self.arrays)

    def on_epoch_begin(self) -> None:
        self.begun.append("begin")

    def on_epoch_end(self) -> None:
        self.begun.append("end")


def dataset(*arrays: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays).batch(SIZE)


def unknown_rank(x: Any, y: Any) -> tf.data.Dataset:
    """What `py_function` leaves of shapes."""
    spec = (tf.TensorSpec((None, 6)), tf.TensorSpec(None, y.dtype))
    batches = Rows(x, y)
    made = tf.data.Dataset.from_generator(
        lambda: (batches[n] for n in range(BATCHES)), output_signature=spec
    )
    return made.apply(tf.data.experimental.assert_cardinality(BATCHES))


def generator(*arrays: Any) -> Iterator[Any]:
    batches = Rows(*arrays)
    return (batches[number % BATCHES] for number in range(100))


KINDS: dict[str, Callable[..., Any]] = {
    "tf.data": dataset,
    "PyDataset": Rows,
    "generator": generator,
    "unknown rank": unknown_rank,
}


def model_for(task: str, outputs: int | None = None, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(frozen_backbone(), task, outputs)
    return ftk.compile_for_task(model, **options)


# Task, outputs, options of compile, the labels of a bad batch (or a rare good one).
LABELS: dict[str, tuple[str, int | None, dict[str, Any], Any]] = {
    "bytes": ("binary", None, {}, np.array([0, 255, 0, 255], "uint8")),
    "from 1": ("binary", None, {}, np.array([1, 2, 2, 1])),
    "-1 and 1": ("binary", None, {}, np.array([-1.0, 1.0, 1.0, -1.0])),
    "hinge": ("binary", None, {"loss": keras.losses.Hinge()}, np.array([-1.0, 1.0, 1.0, -1.0])),
    "hinge and 0.5": ("binary", None, {"loss": keras.losses.Hinge()}, np.array([-1, 0.5, 1, 1])),
    "NaN": ("binary", None, {}, np.array([0, 1, np.nan, 1], "float32")),
    "soft": ("binary", None, {}, np.array([0.1, 0.9, 1.0, 0.0])),
    "bool": ("binary", None, {}, np.array([True, False, True, True])),
    "columns": ("binary", None, {}, np.array([[0], [1], [2], [1]])),
    "class 3 of 3": ("multiclass", 3, {}, np.array([0, 1, 3, 2])),
    "void": ("multiclass", 3, {}, np.array([0, -1, 1, 2])),
    "fractions": ("multiclass", 3, {}, np.array([0.5, 1.0, 2.0, 0.0])),
    "whole floats": ("multiclass", 3, {}, np.array([1.0, 1.0, 2.0, 0.0])),
    "many as bytes": ("multiclass", 300, {}, np.array([255, 0, 3, 4], "uint8")),
    "two ones": ("multiclass", 3, {}, np.eye(3, dtype="float32")[[0, 1, 2, 0]] + [0, 0, 1]),
    "soft rows": ("multiclass", 3, {}, np.full((4, 3), 1 / 3, "float32")),
    "multi-hot 2": ("multilabel", 2, {}, np.array([[0, 1], [1, 2], [0, 0], [1, 1]])),
    "multi-hot": ("multilabel", 2, {}, np.array([[0, 1], [1, 1], [0, 0], [1, 1]])),
    "infinite": ("regression", None, {}, np.array([1.0, np.inf, 2.0, 3.0], "float32")),
    "whole targets": ("regression", None, {}, np.array([-7, 10**6, 2, 3])),
}


def among_good(labels: np.ndarray) -> np.ndarray:
    """Good labels of the same kind before, and after one batch of these."""
    good = np.zeros_like(labels)
    if labels.ndim == 2 and labels.shape[1] == 3:
        good[:, 0] = 1
    return np.concatenate([good, labels, good])


@functools.cache
def model_of_case(case: str) -> keras.Model:
    """That of the labels of this name; no test trains it."""
    task, outputs, options, _ = LABELS[case]
    return model_for(task, outputs, **options)


# Each case in a pipeline that TensorFlow checks, and the other kinds of data in turn.
OTHERS = [kind for kind in KINDS if kind != "tf.data"]
BY_DEFAULT = tuple(
    pair
    for number, case in enumerate(LABELS)
    for pair in ((case, "tf.data"), (case, OTHERS[number % len(OTHERS)]))
)


@pytest.mark.parametrize(("case", "kind"), often(itertools.product(LABELS, KINDS), BY_DEFAULT))
def test_what_is_refused_in_arrays_is_refused_in_a_batch(case: str, kind: str) -> None:
    labels, model = LABELS[case][-1], model_of_case(case)
    wanted = ""
    try:
        label_checks.check_labels(labels, model, known_task(model))
    except ValueError as error:
        wanted = str(error)
    checks = Checks(batch_form.of(model, known_task(model), "x"))
    source = checks.of(KINDS[kind](X, among_good(labels)))
    seen: list[Any] = []
    try:
        for batch, _ in zip(source, range(BATCHES), strict=False):
            seen.append(batch)
    except (ValueError, tf.errors.OpError):
        assert len(seen) == 1, "the batch before it has come"
    assert str(checks.fault or "") == (f"In batch 1 (from 0) of `x`: {wanted}" if wanted else "")
    if not wanted:
        given = [np.asarray(y) for _, y in seen]
        assert np.array_equal(np.concatenate(given), among_good(labels))
        assert given[0].dtype == labels.dtype


def test_python_is_not_asked_about_batches_that_are_right() -> None:
    model = model_for("multiclass", 3)
    checks = Checks(batch_form.of(model, known_task(model), "x"))
    asked: list[int] = []
    checks.labels = lambda labels, number: asked.append(number)  # type: ignore[method-assign]
    y = among_good(np.array([0, 3, 1, 2]))
    for _ in checks.of(dataset(X, y)):
        pass
    assert asked == [1]


def fit(model: keras.Model, x: Any, **options: Any) -> Any:
    steps = {"steps_per_epoch": BATCHES} if hasattr(x, "send") else {}
    return ftk.fit(model, x, shuffle=False, verbose=0, **steps, **options)


@pytest.mark.parametrize("cache", [False, "auto"])
@pytest.mark.parametrize("kind", often(["tf.data", "PyDataset", "generator"], ("tf.data",)))
def test_fit_ends_before_the_step_on_a_bad_batch(kind: str, cache: Any) -> None:
    """As it would on the good batch alone, in Keras' own loop and on features."""
    good, model = model_for("binary"), model_for("binary")
    if kind == "tf.data":  # Of other kinds Keras reads two batches before the first step.
        fit(good, dataset(X[:SIZE], np.zeros(SIZE, int)), cache=cache)
    with pytest.raises(ValueError, match=r"In batch 1 \(from 0\) of `x`: `y` must lie between 0"):
        fit(model, KINDS[kind](X, among_good(np.array([0, 255, 0, 255]))), cache=cache)
    pairs = zip(good.get_weights(), model.get_weights(), strict=True)
    assert all(np.allclose(one, other, atol=1e-6) for one, other in pairs)
    fit(model, KINDS[kind](X, among_good(np.array([0, 1, 0, 1]))), cache=cache)


@pytest.mark.parametrize("cache", [False, "auto"])
def test_validation_data_are_checked_too(cache: Any) -> None:
    bad = dataset(X, among_good(np.array([0, 1, 2, 1])))
    for data in ((X, np.zeros(len(X), int)), (dataset(X, np.zeros(len(X), int)),)):
        with pytest.raises(ValueError, match=r"In batch 1 \(from 0\) of `validation_data`: `y`"):
            ftk.fit(
                model_for("binary"), *data, validation_data=bad, cache=cache, batch_size=None,
                verbose=0,
            )  # fmt: skip


def test_an_error_of_the_users_own_stays_after_a_fault() -> None:
    model = model_for("binary")
    plan = ftk.plan_fit(model, dataset(X, among_good(np.array([0, 3, 1, 1]))), verbose=0)
    with pytest.raises(ValueError, match="In batch 1"):
        plan.run()

    class Fails(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        plan.replace(callbacks=(Fails(),)).run()


def test_a_pydataset_keeps_its_hooks_and_its_workers() -> None:
    source, other = (Rows(X, np.zeros(len(X)), workers=2, max_queue_size=3) for _ in range(2))
    model = model_for("binary")
    checked = Checks(batch_form.of(model, known_task(model), "x")).of(source)
    assert (checked.workers, checked.max_queue_size, checked.num_batches) == (2, 3, BATCHES)
    fit(model, source, epochs=2)
    model.fit(other, epochs=2, verbose=0)
    assert source.begun == other.begun
    assert source.begun.count("begin") == 2


def test_labels_and_weights_by_name_for_one_output() -> None:
    y, weights = np.arange(len(X)) % 2, np.linspace(0, 1, len(X)).astype("float32")
    wanted = model_for("binary").fit(
        X, y, sample_weight=weights, batch_size=SIZE, shuffle=False, verbose=0
    )
    for kind in ("tf.data", "PyDataset", "generator"):
        named = KINDS[kind](X, y, weights)
        if kind == "tf.data":
            named = named.map(lambda x, y, w: (x, {"label": y}, {"label": w}))
        elif kind == "PyDataset":
            named = ByName(X, y, weights)
        else:
            named = ((x, {"label": y}, {"label": w}) for x, y, w in named)
        found = fit(model_for("binary"), named)
        assert np.allclose(found.history["loss"], wanted.history["loss"], rtol=1e-5), kind


class ByName(Rows):
    def __getitem__(self, index: int) -> Any:
        x, y, weights = super().__getitem__(index)
        return x, {"label": y}, {"label": weights}


@pytest.mark.parametrize(
    ("task", "outputs", "labels", "words"),
    [
        ("regression", None, np.zeros((12, 3), "float32"), r"shape \(n, 1\) for task 'regression'"),
        ("binary", None, np.zeros((12, 2)), r"must have shape \(n,\) or \(n, 1\)"),
        ("multiclass", 3, np.zeros((12, 2)), "must hold integer labels of shape"),
        ("multilabel", 2, np.zeros(12), "must have one column a label"),
        ("binary", None, np.array(["no", "yes"] * 6), "labels that are text.*StringLookup"),
    ],
)
@pytest.mark.parametrize("kind", ["tf.data", "PyDataset"])
@pytest.mark.parametrize("name", ["x", "validation_data"])
def test_shapes_and_kinds_are_refused_at_the_start(
    task: str, outputs: int | None, labels: Any, words: str, kind: str, name: str
) -> None:
    model, data = model_for(task, outputs), KINDS[kind](X, labels)
    good = np.zeros((12, outputs or 1), "float32")
    good[:, 0] = 1
    given = {"x": data} if name == "x" else {"x": X, "y": good, "validation_data": data}
    with pytest.raises(ValueError, match=words) as caught:
        ftk.plan_fit(model, verbose=0, **given)
    assert f"`{name}`" in str(caught.value)


def test_ragged_labels_and_inputs_are_refused_at_the_start() -> None:
    ragged = tf.ragged.constant([[0.0], [1.0, 1.0]] * 6)
    with pytest.raises(ValueError, match=r"gives ragged labels.*y\.to_tensor\(\)"):
        ftk.plan_fit(model_for("binary"), dataset(X, ragged))
    with pytest.raises(ValueError, match=r"gives ragged batches.*x\.to_tensor\(\)"):
        ftk.plan_fit(model_for("binary"), dataset(ragged, np.zeros(12)))
