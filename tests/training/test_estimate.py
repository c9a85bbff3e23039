"""Does `explain` promise features only where `fit` computes some, and change nothing?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching import engines
from finetunekit.training import estimate
from frozen_dense import dense, frozen_backbone, samples
from models import images, labels, same, small_backbone, values

X, Y = images(21), labels(21)


def small() -> keras.Model:
    """A frozen backbone with a head that trains."""
    head = [keras.layers.Dropout(0.2), keras.layers.Dense(2, activation="softmax")]
    backbone = ftk.freeze_layers(small_backbone())
    model = keras.Sequential([keras.Input((16, 16, 3)), backbone, *head])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


class Batches(keras.utils.PyDataset):
    """Three batches of eight."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return X[:8], Y[:8]


def test_explain_trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "seconds_a_row", lambda engine, flat: 0.01)
    monkeypatch.setattr(estimate, "_tail_seconds", lambda *parts: 0.001)
    model = small()
    before = values(model)
    plan = ftk.explain(model, X, epochs=50, batch_size=8)
    assert same(before, values(model))
    assert plan.feature_bytes == 21 * 8 * 4
    assert plan.samples == 21
    # The backward pass takes twice as long as the forward pass; the prefix runs once.
    assert plan.seconds_plain == pytest.approx(50 * 21 * (0.01 + 3 * 0.001))
    once = 21 * 0.01 + 50 * 21 * 3 * 0.001
    assert once < plan.seconds_cached < plan.seconds_plain
    assert ("dropout", "it is random while training") in plan.blocked_by
    assert "computed once, up to 'small/features'" in str(plan)
    pipeline = tf.data.Dataset.from_tensor_slices((X[:20], Y[:20])).batch(8)
    for data in (pipeline, Batches()):
        assert ftk.explain(model, data).samples == 24
    unfrozen = ftk.explain(ftk.unfreeze_layers(model), X)
    assert "nothing is computed once: 'small/conv1: its weights are trainable'" in unfrozen.text


def test_what_cannot_be_estimated_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        ftk.explain("model", X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="that knows its number of batches"):
        ftk.explain(small(), iter([X]))


class OwnStep(keras.Model):
    """A model with a step of its own."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def own_class() -> keras.Model:
    inputs = keras.Input((6,))
    model = OwnStep(inputs, keras.layers.Dense(2)(frozen_backbone()(inputs)), name="own")
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def own_instance() -> keras.Model:
    model = dense()
    step = model.train_step
    model.train_step = lambda data: step(data)  # type: ignore[method-assign]
    return model


@pytest.fixture
def eagerly() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def check_nothing_is_promised(
    model: keras.Model, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate says what `fit` then does: no row goes through a prefix alone."""
    runs: list[int] = []
    own = engines.Engine.__call__
    monkeypatch.setattr(
        engines.Engine, "__call__", lambda self, inputs: (runs.append(1), own(self, inputs))[1]
    )
    x, y = samples(21)
    found = ftk.explain(model, x)
    assert f"nothing is computed once: {reason}" in found.text
    assert "takes as long as model.fit" in found.text
    assert (found.frozen, found.feature_bytes, found.samples) == ([], 0, 21)
    plan = ftk.plan_fit(model, x, y, batch_size=8, verbose=0)
    assert f"computed once: nothing, since {reason}" in str(plan)
    plan.run()
    assert not runs


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: dense(run_eagerly=True), "it runs eagerly"),
        (own_class, "'own', a OwnStep, has a `train_step` of its own"),
        (own_instance, "'functional', a Functional, has a `train_step` of its own"),
    ],
    ids=["run_eagerly", "class", "instance"],
)
def test_models_that_keras_has_to_train(
    make: Callable[[], keras.Model], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_nothing_is_promised(make(), reason, monkeypatch)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions")
def test_functions_that_run_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    check_nothing_is_promised(dense(), "it runs eagerly", monkeypatch)


def test_inputs_are_checked_as_by_fit() -> None:
    with pytest.raises(ValueError, match="`data`"):
        ftk.explain(small(), np.zeros((4, 16, 16)))
