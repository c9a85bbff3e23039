"""How do the features of many tokens become one vector? Compared with numpy, padding left out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from text_models import text_backbone, with_tokenizer


@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "first", "last"])
def test_padding_does_not_count(pooling: str, tmp_path: Any) -> None:
    backbone = with_tokenizer()
    model = ftk.add_head(backbone, "regression", 2, pooling=pooling)
    arrays = ftk.tokenize(backbone, ["a b c", "d", "e f g h i"])
    features = backbone.predict(arrays, verbose=0)
    rows = [f[:n] for f, n in zip(features, arrays["padding_mask"].sum(axis=1), strict=True)]
    how = {"max": lambda r: r.max(0), "first": lambda r: r[0], "last": lambda r: r[-1]}
    wanted = np.stack([how.get(pooling, lambda r: r.mean(0))(row) for row in rows])
    kernel, bias = model.get_layer("head").get_weights()
    found = model.predict(arrays, verbose=0)
    assert np.allclose(found, wanted @ kernel + bias, atol=1e-5)
    path = tmp_path / "model.keras"
    model.save(path)  # Stock Keras opens it.
    again = keras.saving.load_model(path).predict(arrays, verbose=0)
    assert np.allclose(again, found, atol=1e-6)


def test_a_mask_of_an_embedding_counts_too() -> None:
    tokens = keras.Input((None,), dtype="int32")
    backbone = keras.Model(tokens, keras.layers.Embedding(9, 4, mask_zero=True)(tokens))
    ids = np.array([[3, 4, 0, 0], [5, 6, 7, 8]])
    features = backbone.predict(ids, verbose=0)
    for pooling, wanted in (("last", features[[0, 1], [1, 3]]), ("max", features[0, :2].max(0))):
        model = ftk.add_head(backbone, "regression", 1, pooling=pooling)
        kernel, bias = model.get_layer("head").get_weights()
        found = model.predict(ids, verbose=0)
        assert np.allclose(found[0], (np.atleast_2d(wanted)[0] @ kernel + bias), atol=1e-5)


def test_what_the_head_does_not_use_rests() -> None:
    inputs = keras.Input((4,))
    used = keras.layers.Dense(3, name="used")(inputs)
    other = keras.layers.Dense(3, name="other")(used)
    backbone = keras.Model(inputs, {"sequence_output": used, "pooled_output": other})
    model = ftk.compile_for_task(ftk.add_head(backbone, "regression"))
    assert not backbone.get_layer("other").trainable
    ftk.fit(model, np.ones((8, 4)), np.ones(8), verbose=0)  # Without Keras' warning.


def test_tokens_need_a_sequence() -> None:
    pictures = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="one of the tokens"):
        ftk.add_head(pictures, "binary", pooling="first")
    with pytest.raises(ValueError, match="pooling"):
        ftk.add_head(text_backbone(), "binary", pooling="middle")
