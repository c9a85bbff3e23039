"""A tiny text model in plain Keras, with the inputs of KerasHub."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

import finetunekit as ftk

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
L = keras.layers


def text_backbone(segments: bool = True, length: int | None = None) -> keras.Model:
    """Token ids, a padding mask and segments -> a vector for each token, by masked attention."""
    names = ["token_ids", "padding_mask", *(["segment_ids"] if segments else [])]
    inputs = {name: keras.Input((length,), dtype="int32", name=name) for name in names}
    x = L.Embedding(len(TOKENS), 8, name="tokens")(inputs["token_ids"])
    if segments:
        x = L.Add()([x, L.Embedding(2, 8, name="segments")(inputs["segment_ids"])])
    mask = ops.expand_dims(ops.cast(inputs["padding_mask"], "bool"), 1)
    x = L.Add()([x, L.MultiHeadAttention(2, 4, name="attention")(x, x, attention_mask=mask)])
    x = L.Dense(8, activation="tanh", name="last")(x)
    return keras.Model(inputs, x, name="text")


def with_tokenizer(**options: object) -> keras.Model:
    """The same, with a tokenizer of letters."""
    model = text_backbone(**options)  # type: ignore[arg-type]
    return ftk.use_tokenizer(model, ftk.WordPiece(TOKENS))


def letters(samples: int, longest: int = 12, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of letters, and whether there is an "a" in each."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, longest, samples)
    texts = [" ".join(random.choice(list("abcd"), size)) for size in sizes]
    return texts, np.array(["a" in text for text in texts], "int32")
