"""Is a batch compared with its model, and a loss with what the model gives it, said once?"""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.data import batch_checks
from finetunekit.data.batch_checks import check_batch
from models import L, images, labels, small_backbone


def test_wrong_sizes_and_labels_are_errors() -> None:
    fixed = ftk.add_head(small_backbone(), "multiclass", 3)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 16, 16, 3\)"):
        check_batch(fixed, images(4, size=12))
    with pytest.raises(ValueError, match="labels from 0 to 3, but the head has 3"):
        check_batch(fixed, images(4), labels(4, 4))
    with pytest.raises(ValueError, match="same number of samples"):
        check_batch(fixed, images(4), labels(3))


@pytest.mark.parametrize(
    ("units", "activation", "loss", "found"),
    [
        (
            3,
            "softmax",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "it gets prob",
        ),
        (1, "sigmoid", keras.losses.BinaryCrossentropy(from_logits=True), "it gets probabilities"),
        (3, None, "sparse_categorical_crossentropy", "it gets logits"),
        (1, None, "binary_crossentropy", "it gets logits"),
        (3, None, keras.losses.CategoricalCrossentropy(), "it gets logits"),
        (1, "softmax", "binary_crossentropy", "softmax over one output"),
        (1, "sigmoid", "sparse_categorical_crossentropy", "the only class"),
        (3, "softmax", "sparse_categorical_crossentropy", None),
        (3, None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), None),
        (1, "sigmoid", "bce", None),
        (1, None, "mse", None),
        (1, None, lambda y, p: keras.ops.mean((y - p) ** 2), None),
    ],
)
def test_logits_and_probabilities_are_told_apart(
    units: int, activation: Any, loss: Any, found: str | None
) -> None:
    made = keras.Sequential([keras.Input((4,)), L.Dense(units, activation=activation)])
    made.compile("sgd", loss)
    findings = check_batch(made, np.ones((2, 4)))
    assert len(findings) == (found is not None)
    assert found is None or found in findings[0]


def test_fit_says_each_finding_once(caplog: pytest.LogCaptureFixture) -> None:
    made = keras.Sequential([keras.Input((16, 16, 3)), L.Rescaling(1 / 255), L.Flatten()])
    made = ftk.add_head(made, "binary")
    made.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="from_logits"):
        ftk.fit(made, images(8) / 255, labels(8), verbose=0)
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert sum("takes raw pixels" in text for text in said) == 1
    assert sum("it gets probabilities" in text for text in said) == 1


def compiled(loss: Any, outputs: int = 1) -> keras.Model:
    inputs = keras.Input((4,))
    heads = [L.Dense(1)(inputs) for _ in range(outputs)]
    model = keras.Model(inputs, heads if outputs > 1 else heads[0])
    if loss is not None:
        model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("loss", [["bce"], {"a": "bce"}, keras.losses.BinaryFocalCrossentropy()])
def test_a_loss_is_seen_in_each_form(loss: Any) -> None:
    assert "gets logits" in batch_checks.loss_doubts(compiled(loss))[0]


@pytest.mark.parametrize(("loss", "outputs"), [(None, 1), (["bce", "bce"], 2), ("mae", 1)])
def test_what_nothing_speaks_against(loss: Any, outputs: int) -> None:
    assert batch_checks.loss_doubts(compiled(loss, outputs)) == []


def test_inputs_that_are_missing() -> None:
    with pytest.raises(ValueError, match="`x` is missing"):
        check_batch(compiled("mse"), None)
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        check_batch("model", np.ones((2, 4)))  # type: ignore[arg-type]


def test_findings_are_returned_without_a_log_too(caplog: pytest.LogCaptureFixture) -> None:
    model, x = compiled("bce"), np.ones((2, 4))
    quiet = check_batch(model, x, verbose=0)
    assert not caplog.text
    assert quiet == check_batch(model, x)
    assert quiet[0] in caplog.text


def test_targets_in_a_unit_of_their_own_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Prices around 94,000: `fit` says what `fine_tune` does about them."""
    model = ftk.add_head(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "regression")
    ftk.compile_for_task(model)
    x, y = np.zeros((4, 3), "float32"), np.array([93e3, 94e3, 95e3, 94e3])
    (finding,) = ftk.check_batch(model, x, y, verbose=0)
    assert "the targets have mean 9.4e+04" in finding
    assert "num_classes=1, target_mean=(94000,), target_std=(707.107,))" in finding
    ftk.fit(model, x, y, verbose=0)
    assert finding in caplog.text
