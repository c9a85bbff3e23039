"""Augmentation layers that take a range of values must be told the one that comes to them."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import contract
from finetunekit.models import metadata, value_ranges

L = keras.layers
TOLD = sorted(
    name
    for name in dir(L)
    if inspect.isclass(getattr(L, name))
    and "value_range" in inspect.signature(getattr(L, name).__init__).parameters
)


def made(name: str, value_range: Any) -> keras.layers.Layer:
    kind = getattr(L, name)
    needed = [
        parameter.name
        for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    amount = 4 if name == "RandomPosterization" else 0.2  # Bits, not a share.
    return kind(**dict.fromkeys(needed, amount), value_range=value_range)


def backbone(front: Any = None) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = image if front is None else front(image)
    return keras.Model(image, L.Conv2D(2, 3)(L.Rescaling(1 / 255)(x)), name="pixels")


def loaded() -> keras.Model:
    model = backbone()
    metadata.remember(model, contract=ftk.InputContract(value_range=(0.0, 255.0)))
    return model


def test_keras_has_a_dozen_of_them() -> None:
    assert len(TOLD) >= 12
    assert {"RandomBrightness", "RandAugment", "RandomContrast"} <= set(TOLD)


@pytest.mark.parametrize("name", TOLD)
def test_each_layer_is_asked(name: str) -> None:
    assert list(value_ranges.doubts([made(name, (0, 255))], 0, 255, "m")) == []
    (doubt,) = value_ranges.doubts([made(name, (0, 1))], 0, 255, "m")
    assert "works on values of 0 to 1" in doubt
    assert doubt.endswith("`value_range=(0, 255)`")


@pytest.mark.parametrize(
    ("low", "high", "right", "wrong"),
    [
        (0, 255, [(0, 255), (0, 256), (-10, 260)], [(0, 1), (-1, 1), (0, 65535)]),
        (-1, 1, [(-1, 1)], [(0, 1), (0, 255)]),
        (-2.1, 2.6, [(-2, 2.6), (-2.5, 2.5)], [(0, 255), (0, 1)]),
        (-123.7, 151.1, [(-128, 128)], [(0, 255)]),
    ],
)
def test_how_far_a_range_may_be_off(low: float, high: float, right: Any, wrong: Any) -> None:
    for value_range in right + wrong:
        found = list(value_ranges.doubts([made("RandomBrightness", value_range)], low, high, "m"))
        assert bool(found) == (value_range in wrong), value_range


def test_layers_in_layers() -> None:
    pipeline = L.Pipeline([L.RandomFlip(), made("RandomBrightness", (0, 1))])
    chain = keras.Sequential([L.RandomFlip(), pipeline])
    assert len(list(value_ranges.doubts([chain], 0, 255, "m"))) == 1
    assert list(value_ranges.doubts([L.RandomFlip(), L.Dense(2)], 0, 255, "m")) == []


def test_add_head_refuses_what_does_not_fit() -> None:
    plain = loaded()
    with pytest.raises(ValueError, match=r"does not fit the inputs.*value_range=\(0, 255\)"):
        ftk.add_head(plain, "binary", augmentation=made("RandomBrightness", (0, 1)))
    model = ftk.add_head(plain, "binary", augmentation=made("RandomBrightness", (0, 255)))
    with pytest.raises(ValueError, match="does not fit the inputs"):
        ftk.replace_head(model, "binary", augmentation=[made("RandAugment", (0, 1))])


@pytest.mark.parametrize(
    ("front", "found"),
    [
        (lambda x: made("RandomBrightness", (0, 1))(x), 1),
        (lambda x: made("Solarization", (0, 1))(x), 1),
        (lambda x: L.Pipeline([made("RandomBrightness", (0, 1))])(x), 1),
        (lambda x: made("RandomBrightness", (0, 255))(x), 0),
        (lambda x: 255 * made("RandomBrightness", (0, 1))(x / 255), 0),
        (lambda x: 255 * made("RandomBrightness", (0, 255))(x / 255), 1),
    ],
)
def test_check_batch_finds_it_in_any_model(front: Any, found: int) -> None:
    """Where the values have been scaled before, it is the scaled range that counts."""
    model = backbone(front)
    said = contract.doubts_of_layers(model)
    assert len(said) == found
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), "uint8")
    assert sum("works on values" in text for text in ftk.check_batch(model, x)) == found


def test_fit_says_it_for_a_pipeline_too(caplog: pytest.LogCaptureFixture) -> None:
    import tensorflow as tf

    inner = backbone(lambda x: made("RandomBrightness", (0, 1))(x))
    model = keras.Sequential([keras.Input((8, 8, 3)), inner, L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    data = tf.data.Dataset.from_tensors((np.zeros((2, 8, 8, 3)), np.zeros((2, 1))))
    with caplog.at_level(logging.WARNING, "finetunekit"):
        ftk.plan_fit(model, data)
    assert "works on values of 0 to 1" in caplog.text
