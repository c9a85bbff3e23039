"""How do the features of many tokens become one vector? Compared with numpy, padding left out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.tasks.heads import pooling_layer
from finetunekit.tasks.pooling import pool_features
from parameters import often
from text_models import text_backbone, with_tokenizer


@pytest.mark.parametrize("pooling", often(["auto", "avg", "max", "first", "last"], ("avg", "last")))
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


@pytest.mark.parametrize("pooling", ["auto", "avg", "max"])
@pytest.mark.parametrize("kind", ["a padding mask", "an embedding"])
def test_padding_alone_gives_zeros_and_spoils_nothing(kind: str, pooling: str) -> None:
    """Keras' average over nothing is NaN, and one such sample makes all weights NaN."""
    ids = np.array([[3, 4, 0], [0, 0, 0], [5, 0, 0]])
    if kind == "an embedding":
        tokens = keras.Input((None,), dtype="int32")
        backbone = keras.Model(tokens, keras.layers.Embedding(9, 4, mask_zero=True)(tokens))
        x: Any = ids
    else:
        backbone = text_backbone(segments=False)
        x = {"token_ids": ids, "padding_mask": (ids != 0).astype("int32")}
    model = ftk.add_head(backbone, "regression", pooling=pooling)
    head = model.get_layer("head")
    found = model.predict(x, verbose=0)
    assert found[1] == pytest.approx(head.get_weights()[1])
    features = backbone.predict(x, verbose=0)
    how = np.max if pooling == "max" else np.mean
    rows = np.stack([how(features[0, :2], axis=0), how(features[2, :1], axis=0)])
    assert np.allclose(found[[0, 2]], head.predict(rows, verbose=0), atol=1e-5)
    ftk.compile_for_task(model, run_eagerly=True)
    (finding,) = ftk.check_batch(model, x, np.zeros(3), verbose=0)
    assert "samples of padding only, without a token: row 1" in finding
    history = ftk.fit(model, x, np.zeros(3), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_what_the_head_does_not_use_rests() -> None:
    inputs = keras.Input((4,))
    used = keras.layers.Dense(3, name="used")(inputs)
    other = keras.layers.Dense(3, name="other")(used)
    backbone = keras.Model(inputs, {"sequence_output": used, "pooled_output": other})
    model = ftk.compile_for_task(ftk.add_head(backbone, "regression"))
    assert not backbone.get_layer("other").trainable
    ftk.fit(model, np.ones((8, 4)), np.ones(8), verbose=0)  # Without Keras' warning.


def test_tokens_need_a_sequence() -> None:
    images = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="one of the tokens"):
        ftk.add_head(images, "binary", pooling="first")
    with pytest.raises(ValueError, match="pooling"):
        ftk.add_head(text_backbone(), "binary", pooling="middle")


def masked_backbone(length: int | None, dtype: str = "float32") -> keras.Model:
    """Features are given as they are, beside ids and a padding mask."""
    inputs = {
        "token_ids": keras.Input((length, 2), name="token_ids", dtype=dtype),
        "padding_mask": keras.Input((length,), name="padding_mask", dtype="int32"),
    }
    features = keras.layers.Identity(dtype=dtype)(inputs["token_ids"])
    ones = keras.ops.cast(inputs["padding_mask"][..., None], dtype)
    return keras.Model(inputs, features + 0 * ones)


def pooled(pooling: str, features: np.ndarray, mask: np.ndarray) -> np.ndarray:
    backbone = masked_backbone(None, str(features.dtype))
    found = pool_features(backbone.output, pooling, backbone, backbone.input)
    model = keras.Model(backbone.input, found)
    return np.array(model({"token_ids": features, "padding_mask": mask}), "float32")


MASKS = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "first", "last"])
def test_every_row_with_padding_on_either_side(pooling: str, dtype: str) -> None:
    """Reference: numpy over the tokens of each row alone."""
    if dtype == "float16":
        keras.config.set_dtype_policy("mixed_float16")
    features = np.random.default_rng(0).normal(size=(5, 4, 2)) * 100 - 500
    features[MASKS == 0] = 40_000  # Larger than any token, near the end of float16.
    features = features.astype(dtype)
    how = {
        "max": lambda rows: rows.max(axis=0),
        "last": lambda rows: rows[-1],
    }
    rows = [
        how.get(pooling, lambda r: r.mean(axis=0))(f[m == 1].astype("float64"))
        for f, m in zip(features, MASKS, strict=True)
    ]
    wanted = features[:, 0] if pooling == "first" else np.stack(rows)
    np.testing.assert_allclose(pooled(pooling, features, MASKS), wanted, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("length", "value"), [(4096, 1.0), (600, 200.0)])
def test_long_texts_are_averaged_in_half_precision(length: int, value: float, dtype: str) -> None:
    """In half precision, the sum overflows, and a count of tokens ends at 2048 or 256."""
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    features = keras.ops.full((1, length, 2), value, dtype)
    layer = pooling_layer((length, 2), "avg")
    found = layer(features, mask=keras.ops.ones((1, length), "bool"))
    np.testing.assert_allclose(np.array(found, "float32"), [[value, value]], rtol=1e-3)
