"""Do predictions carry the right names and probabilities, from logits too?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L


def fixed(task: str, activation: object, logits: list[float], **options: object) -> keras.Model:
    """A model whose logits are always the same."""
    inputs = keras.Input((1,))
    model = ftk.add_head(
        keras.Model(inputs, L.Identity()(inputs)), task, activation=activation, **options
    )
    kernel = np.zeros((1, len(logits)), "float32")
    model.get_layer("head").set_weights([kernel, np.array(logits, "float32")])
    return model


@pytest.mark.parametrize("activation", ["auto", None])
class TestBothKindsOfOutput:
    def test_multiclass(self, activation: object) -> None:
        model = fixed("multiclass", activation, [0, 2, 1], class_names=["a", "b", "c"])
        found = ftk.predict_labels(model, np.zeros((2, 1)))
        assert len(found) == 2
        assert found[0].label == "b"
        expected = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
        assert list(found[0].probabilities) == ["b", "c", "a"]
        assert list(found[0].probabilities.values()) == pytest.approx(expected, abs=1e-6)

    def test_binary(self, activation: object) -> None:
        model = fixed("binary", activation, [-1.0], class_names=["cat", "dog"])
        (found,) = ftk.predict_labels(model, np.zeros((1, 1)))
        assert found.label == "cat"
        assert found.probability == pytest.approx(1 - 1 / (1 + np.e), abs=1e-6)
        (found,) = ftk.predict_labels(model, np.zeros((1, 1)), threshold=0.2)
        assert found.label == "dog"

    def test_multilabel(self, activation: object) -> None:
        model = fixed("multilabel", activation, [3, -3, 1], class_names=["a", "b", "c"])
        (found,) = ftk.predict_labels(model, np.zeros((1, 1)))
        assert found.labels == ("a", "c")
        assert str(found) == "a 0.95, c 0.73"
        (none,) = ftk.predict_labels(model, np.zeros((1, 1)), threshold=0.99)
        assert none.labels == ()
        assert str(none) == "none"


def test_classes_without_names_are_numbered() -> None:
    (found,) = ftk.predict_labels(
        fixed("multiclass", "auto", [0, 5], num_classes=2), np.zeros((1, 1))
    )
    assert found.label == "1"


def test_the_first_number_as_a_plain_model() -> None:
    model = keras.Sequential([keras.Input((1,)), L.Dense(1, activation="sigmoid")])
    assert ftk.predict_labels(model, np.zeros((1, 1)))[0].probabilities.keys() == {"0", "1"}
