"""Which of these backbones suits my data best?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import small_backbone
from text_models import letters, with_tokenizer


def stripes(samples: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, bright above or below."""
    random = np.random.default_rng(0)
    x = random.uniform(0, 100, (samples, 16, 16, 3)).astype("float32")
    y = random.integers(0, 2, samples)
    for image, label in zip(x, y, strict=True):
        image[8 * label : 8 * label + 8] += 100
    return x, y


def halves() -> keras.Model:
    """Tells what is bright where."""
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, keras.layers.AveragePooling2D(8)(inputs))


def spread() -> keras.Model:
    """Tells how bright it is as a whole, which is no help."""
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(4)(x))


def flat(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, keras.layers.Flatten()(model.output))


def test_the_better_one_comes_first() -> None:
    x, y = stripes()
    found = ftk.rank_backbones({"whole": spread(), "halves": flat(halves())}, x, y, verbose=0)
    assert [row.name for row in found] == ["halves", "whole"]
    assert found[0].score == 1.0
    assert found[0].logme > found[1].logme
    assert found[1].parameters == 16
    assert found[0].seconds > 0
    assert "halves" in str(found).splitlines()[1]


def test_models_are_as_they_were() -> None:
    x, y = stripes(20)
    model = small_backbone()
    weights, flags = model.get_weights(), [layer.trainable for layer in model.layers]
    ftk.rank_backbones([model], x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    assert flags == [layer.trainable for layer in model.layers]


def test_one_that_fails_is_told_and_comes_last() -> None:
    x, y = stripes(20)
    found = ftk.rank_backbones(["no_such_model", small_backbone()], x, y, verbose=0)
    assert [bool(row.problem) for row in found] == [False, True]
    assert "no_such_model" in str(found)
    with pytest.raises(ValueError, match="None of the `candidates`"):
        ftk.rank_backbones(["no_such_model"], x, y, verbose=0)


def test_names_take_the_size_of_the_pictures() -> None:
    x, y = stripes(12)
    x = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    found = ftk.rank_backbones(["builtin:mobilenet_v2"], x, y, verbose=0)
    assert found[0].parameters == 2_257_984
    assert 0 <= found[0].score <= 1


def test_texts_and_targets() -> None:
    texts, labels = letters(60)
    found = ftk.rank_backbones([with_tokenizer()], texts, labels, verbose=0)
    assert found[0].score > 0.5
    counts = np.array([text.count("a") for text in texts]) + 0.5
    target = ftk.rank_backbones([with_tokenizer()], texts, counts, verbose=0)
    assert target[0].score > 0.2


@pytest.mark.parametrize(
    ("candidates", "y", "options", "error", "match"),
    [
        ([], np.arange(20) % 2, {}, ValueError, "empty"),
        ("resnet50", np.arange(20) % 2, {}, TypeError, "list"),
        (["a", "a"], np.arange(20) % 2, {}, ValueError, "distinct names"),
        (["a"], np.zeros(20), {}, ValueError, "two classes"),
        (["a"], np.arange(4) % 2, {}, ValueError, "at least 10"),
        (["a"], np.arange(20) % 2, {"task": "sorting"}, ValueError, "task"),
        ([spread()], np.arange(22) % 2, {}, ValueError, "same number"),
    ],
)
def test_wrong_inputs(candidates: Any, y: Any, options: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        ftk.rank_backbones(candidates, stripes(20)[0], y, verbose=0, **options)
