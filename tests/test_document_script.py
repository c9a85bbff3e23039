"""Do our six lines give, bit for bit, what the plain Keras script of the document gives?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, small_backbone, small_sequential
from parameters import often

FROZEN = 3


def plain_keras(path: str, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The document's section 5, with an optimizer object and a fixed data order.

    `.outputs[0]` stands for its `.output`, which a Sequential model of Keras 3 does not have.
    """
    model = keras.models.load_model(path)
    for layer in model.layers[:FROZEN]:
        layer.trainable = False
    hidden = keras.layers.Dense(128, activation="relu")(model.outputs[0])
    predictions = keras.layers.Dense(1, activation="sigmoid")(hidden)
    tuned = keras.Model(inputs=model.inputs, outputs=predictions)
    tuned.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(1e-3))
    tuned.fit(x, y, epochs=3, shuffle=False, verbose=0)
    return [np.array(weight) for weight in tuned.get_weights()]


def our_helpers(path: str, x: np.ndarray, y: np.ndarray, *, our_fit: bool) -> list[np.ndarray]:
    backbone = ftk.load_backbone(path)
    ftk.freeze_layers(backbone, FROZEN)
    model = ftk.add_head(backbone, "binary", hidden_units=[128])
    ftk.compile_for_task(model, optimizer=keras.optimizers.Adam(1e-3))
    if our_fit:
        ftk.fit(model, x, y, epochs=3, shuffle=False, verbose=0)
    else:
        model.fit(x, y, epochs=3, shuffle=False, verbose=0)
    return [np.array(weight) for weight in model.get_weights()]


@pytest.mark.parametrize("make", often([small_backbone, small_sequential], (small_backbone,)))
def test_weights_are_bit_equal_and_have_moved(make: object, tmp_path: Path) -> None:
    path = str(tmp_path / "pretrained_model.h5")
    make().save(path)
    # 40 samples: the last batch of 32 is a short one.
    x, y = images(40), labels(40)
    keras.utils.set_random_seed(7)
    expected = plain_keras(path, x, y)
    for our_fit in (False, True):
        keras.utils.set_random_seed(7)
        found = our_helpers(path, x, y, our_fit=our_fit)
        assert [w.shape for w in expected] == [w.shape for w in found]
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)), our_fit

    keras.utils.set_random_seed(7)
    start = keras.models.load_model(path).get_weights()
    moved = [not np.array_equal(a, b) for a, b in zip(start, found, strict=False)]
    assert any(moved)
    assert not all(moved)


def test_loading_draws_no_more_random_numbers_than_keras(tmp_path: Path) -> None:
    path = str(tmp_path / "pretrained_model.keras")
    small_backbone().save(path)
    kernels = []
    for load in (keras.models.load_model, ftk.load_backbone):
        keras.utils.set_random_seed(3)
        load(path)
        layer = keras.layers.Dense(5)
        layer.build((None, 4))
        kernels.append(np.array(layer.get_weights()[0]))
    assert np.array_equal(*kernels)
