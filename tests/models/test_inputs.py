"""Do inputs come as arrays in the structure that the model takes?"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models import inputs
from models import L, images, small_backbone
from parameters import often


def two_inputs(kind: str) -> keras.Model:
    a, b = keras.Input((4,), name="a"), keras.Input((5,), name="b")
    outputs = L.Concatenate()([a, b])
    return keras.Model({"a": a, "b": b} if kind == "dict" else [a, b], outputs)


@pytest.mark.parametrize("kind", ["dict", "list"])
def test_several_inputs(kind: str) -> None:
    model = two_inputs(kind)
    x = {"a": np.ones((3, 4)), "b": np.ones((3, 5))}
    assert set(inputs.read(x, model)) == {"a", "b"}
    found = inputs.read([x["a"], x["b"]], model)
    assert [part.shape for part in found] == [(3, 4), (3, 5)]
    with pytest.raises(ValueError, match=r"x\['b'\]` must have shape \(n, 5\)"):
        inputs.read({"a": x["a"], "b": x["a"]}, model)


def test_float64_becomes_float32_and_the_rest_stays() -> None:
    assert inputs.to_numpy([1.5, 2.5], "x").dtype == np.float32
    assert inputs.to_numpy(np.ones(3, "float16"), "x").dtype == np.float16
    assert inputs.to_numpy(np.ones(3, "uint8"), "x").dtype == np.uint8


@pytest.mark.parametrize(
    "form", [tf.Variable, keras.Variable, tf.constant, tf.sparse.from_dense, lambda x: Sparse(x)]
)
def test_tensors_variables_and_sparse_arrays(form: Callable[[np.ndarray], object]) -> None:
    x = np.arange(6, dtype="float32").reshape(2, 3)
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    assert inputs.is_array_like(form(x))
    found = inputs.read(form(x), model)
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, x)


class Sparse:
    """What is used of a sparse matrix of scipy."""

    def __init__(self, x: np.ndarray) -> None:
        self.shape, self.toarray = x.shape, lambda: x

    def __len__(self) -> int:
        raise TypeError("sparse matrix length is ambiguous")

    def __getitem__(self, row: int) -> np.ndarray:
        return self.toarray()[row]


def test_ragged_tensors_are_refused_with_what_to_do() -> None:
    model = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    with pytest.raises(ValueError, match=r"`x` is ragged.*`x\.to_tensor\(\)`"):
        inputs.read(tf.ragged.constant([[1.0], [2.0, 3.0]]), model)


@pytest.mark.parametrize("scaled", [lambda x: x / 255, lambda x: x / 127.5 - 1])
def test_scaled_pixels_for_a_model_that_scales_are_said(
    scaled: object, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = ftk.load_backbone("builtin:mobilenet_v2", weights=None, input_shape=(32, 32, 3))
    model = ftk.add_head(backbone, "binary")
    inputs.read(images(2, size=32), model)
    inputs.read(images(2, size=32).astype("uint8"), model)
    assert "raw pixels" not in caplog.text.replace("raw RGB", "")
    inputs.read(scaled(images(2, size=32)), model)
    assert "takes raw pixels of 0 to 255 and scales them itself" in caplog.text


def test_nan_is_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_BLOCK", 10)
    x = images(9)
    x[7, 3, 3, 1] = np.nan
    with pytest.raises(ValueError, match="first in sample 7"):
        inputs.read(x, small_backbone())


def text_model() -> keras.Model:
    words = keras.layers.TextVectorization(output_sequence_length=3, vocabulary=["good", "bad"])
    texts = keras.Input((), dtype="string")
    x = keras.layers.Flatten()(keras.layers.Embedding(5, 4)(words(texts)))
    return ftk.add_head(keras.Model(texts, x), "binary")


@pytest.mark.parametrize("form", often([list, np.array, keras.ops.convert_to_tensor], (list,)))
def test_texts_for_a_model_that_takes_texts(form: object) -> None:
    model = text_model()
    ftk.compile_for_task(model, learning_rate=0.2)
    texts, y = form(["good", "bad", "a good one", "bad, bad"]), np.array([1, 0, 1, 0])
    assert ftk.check_batch(model, texts, y) == ()
    ftk.fit(model, texts, y, epochs=10, validation_data=(texts, y), verbose=0)
    found = model.predict(np.array(["good", "bad"], dtype=object), verbose=0)[:, 0]
    assert found[0] > 0.5 > found[1]
    assert len(ftk.predict(model, texts)) == 4


@pytest.mark.parametrize("x", [np.zeros(4), ["good", 3, "bad", None], "good"])
def test_what_is_no_text(x: object) -> None:
    model = text_model()
    ftk.compile_for_task(model)
    with pytest.raises((ValueError, TypeError), match=r"`x`.*(texts|text, not data)"):
        ftk.fit(model, x, np.zeros(4))
