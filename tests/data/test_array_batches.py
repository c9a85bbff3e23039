"""Arrays in the form that Keras takes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk

WORDS = np.array(["good", "bad", "good", "ugly", "bad", "ugly"])
LABELS = np.array([1, 0, 1, 0, 0, 0])


def of_words() -> keras.Model:
    """A model that takes texts, with a frozen part."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,), dtype="string")
    x = keras.layers.StringLookup(vocabulary=["good", "bad"], output_mode="multi_hot")(inputs)
    x = keras.layers.Dense(4, trainable=False)(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile("sgd", "binary_crossentropy")
    return model


@pytest.mark.parametrize("dtype", ["<U4", object])
@pytest.mark.parametrize(
    "options",
    [{"cache": False}, {"cache": "auto"}, {"cache": "auto", "validation_steps": 1}],
    ids=str,
)
def test_texts_in_their_own_order(dtype: Any, options: dict[str, Any]) -> None:
    words = WORDS[:, None].astype(dtype)
    history = ftk.fit(
        of_words(), words, LABELS, batch_size=2, epochs=2, shuffle=False, verbose=0,
        engine="keras", validation_data=(words[:2], LABELS[:2]), **options,
    ).history  # fmt: skip
    tensors = keras.ops.convert_to_tensor(words.astype(object), dtype="string")
    expected = of_words().fit(
        tensors, LABELS, batch_size=2, epochs=2, shuffle=False, verbose=0,
        validation_data=(tensors[:2], LABELS[:2]),
    ).history  # fmt: skip
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-6)
