"""How does a model come to take texts?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.text.attach import as_texts
from parameters import often
from text_models import TOKENS, letters, text_backbone, with_tokenizer


def test_tokenize_gives_what_the_model_takes() -> None:
    arrays = ftk.tokenize(with_tokenizer(), ["A b", "c"], ["d", "e f"])
    a, b, c, d, e, f = (TOKENS.index(letter) for letter in "abcdef")
    assert arrays["token_ids"].tolist() == [[2, a, b, 3, d, 3], [2, c, 3, e, f, 3]]
    assert arrays["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    assert arrays["padding_mask"].tolist() == [[1] * 6] * 2


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda t: np.array(t, object)])
def test_texts_of_any_kind(kind: Any) -> None:
    model = with_tokenizer(segments=False)
    assert ftk.tokenize(model, kind(["a b", "c"]))["token_ids"].shape == (2, 4)


def test_what_are_texts() -> None:
    assert as_texts(["a", "b"]) == (["a", "b"], None)
    assert as_texts((["a"], ["b"])) == (["a"], ["b"])
    assert as_texts([["a", "c"], ["b", "d"]]) == (["a", "c"], ["b", "d"])
    assert as_texts([("a", "b"), ("c", "d")]) == (["a", "c"], ["b", "d"])
    assert as_texts(np.zeros((2, 2))) is None
    assert as_texts([1, 2]) is None
    assert as_texts({"token_ids": ["a"]}) is None
    assert as_texts(["a", None]) is None


def test_the_names_of_hugging_face() -> None:
    ids, mask = (
        keras.Input((None,), dtype="int32", name=n) for n in ("input_ids", "attention_mask")
    )
    model = keras.Model([ids, mask], [ids, mask])
    ftk.use_tokenizer(model, ftk.WordPiece(TOKENS))
    assert sorted(ftk.tokenize(model, ["a"])) == ["attention_mask", "input_ids"]


def test_a_vocabulary_file_and_options(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(TOKENS))
    model = ftk.use_tokenizer(text_backbone(), path, lowercase=False)
    assert ftk.tokenize(model, ["A a"])["token_ids"].tolist() == [[2, 1, 4, 3]]
    contract = ftk.input_contract(model)
    assert contract is not None
    assert "30 tokens, case kept" in str(contract.tokenizer)


def test_long_texts_are_cut_aloud(caplog: pytest.LogCaptureFixture) -> None:
    model = ftk.use_tokenizer(with_tokenizer(), max_length=5)
    with caplog.at_level(logging.INFO, "finetunekit"):
        arrays = ftk.tokenize(model, ["a b c d e f", "a"])
    assert arrays["token_ids"].shape == (2, 5)
    assert "1 text of 2 cut at 5 tokens" in caplog.text


@pytest.mark.parametrize(
    ("act", "error", "match"),
    [
        (lambda: ftk.use_tokenizer(text_backbone()), ValueError, "must be given"),
        (lambda: ftk.use_tokenizer(text_backbone(), 3), TypeError, "vocab.txt"),
        (lambda: ftk.use_tokenizer(text_backbone(), "missing.txt"), FileNotFoundError, "not there"),
        (lambda: ftk.use_tokenizer(with_tokenizer(), max_length=1), ValueError, "at least 3"),
        (
            lambda: ftk.use_tokenizer(text_backbone(), ftk.WordPiece(TOKENS), lowercase=False),
            TypeError,
            "lowercase",
        ),
        (
            lambda: ftk.use_tokenizer(
                keras.Sequential([keras.Input((4, 4, 3))]), ftk.WordPiece(TOKENS)
            ),
            ValueError,
            "token ids",
        ),
        (lambda: ftk.tokenize(text_backbone(), ["a"]), ValueError, "use_tokenizer"),
        (lambda: ftk.tokenize(with_tokenizer(), "a"), TypeError, "list or array of str"),
        (lambda: ftk.tokenize(with_tokenizer(), ["a"], ["b", "c"]), TypeError, "as many"),
    ],
)
def test_wrong_inputs(act: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        act()


def tuned(optimizer: str = "adam") -> keras.Model:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(with_tokenizer(), "binary", class_names=["no", "yes"])
    return ftk.compile_for_task(model, optimizer=optimizer, learning_rate=0.01)


def test_a_model_learns_from_raw_strings() -> None:
    texts, labels = letters(192, longest=8)
    held_out = letters(32, longest=8, seed=1)
    model = tuned()
    history = ftk.fit(model, texts, labels, epochs=12, validation_data=held_out, verbose=0)
    assert history.history["val_accuracy"][-1] > 0.85
    found = ftk.predict(model, texts)
    assert np.mean([p.label == "yes" for p in found] == (labels == 1)) > 0.85


def test_texts_and_arrays_train_the_same() -> None:
    texts, labels = letters(40)
    weights = []
    for x in (texts, ftk.tokenize(with_tokenizer(), texts)):
        model = tuned("sgd")
        ftk.fit(model, x, labels, epochs=2, seed=1, verbose=0)
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    assert np.array_equal(*weights)


@pytest.mark.parametrize("frozen", often([False, True], (True,)))
def test_cutting_batches_changes_nothing_but_rounding(frozen: bool) -> None:
    texts, labels = letters(45)
    weights = []
    for cache in ("auto", False):
        model = tuned("sgd")
        if frozen:
            ftk.freeze_layers(model, "backbone")
            ftk.compile_for_task(model, optimizer="sgd", learning_rate=0.01)
        held_out = letters(20, seed=1)
        history = ftk.fit(
            model,
            texts,
            labels,
            epochs=2,
            shuffle=False,
            cache=cache,
            verbose=0,
            validation_data=held_out,
        )
        weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        losses = model.evaluate(ftk.tokenize(model, held_out[0]), held_out[1], verbose=0)
        assert history.history["val_loss"][-1] == pytest.approx(losses[0], abs=1e-5)
    assert np.allclose(*weights, atol=1e-5)


def test_pairs_and_regression() -> None:
    texts, _ = letters(32)
    others, _ = letters(32, seed=1)
    overlap = np.array(
        [len(set(a.split()) & set(b.split())) for a, b in zip(texts, others, strict=True)],
        "float32",
    )
    model = ftk.add_head(with_tokenizer(), "regression")
    ftk.compile_for_task(model, learning_rate=0.01)
    history = ftk.fit(model, (texts, others), overlap, epochs=15, verbose=0)
    assert history.history["loss"][-1] < 0.6 * history.history["loss"][0]
    assert ftk.cache_features(model, (texts, others), verbose=0).features.shape == (32, 1)


def test_the_tokenizer_travels_in_the_file(tmp_path: Path) -> None:
    model = tuned()
    texts, _ = letters(10)
    path = ftk.save(model, tmp_path / "tuned.keras", verbose=0)
    same = ftk.load(path)
    assert np.array_equal(
        ftk.tokenize(same, texts)["token_ids"], ftk.tokenize(model, texts)["token_ids"]
    )
    assert [p.probability for p in ftk.predict(same, texts)] == pytest.approx(
        [p.probability for p in ftk.predict(model, texts)], abs=1e-6
    )
    assert ftk.tokenize(ftk.load_backbone(path), ["a"])["token_ids"].tolist() == [[2, 4, 3]]
    assert keras.saving.load_model(path).count_params() == model.count_params()


def test_other_texts_are_told_from_paths() -> None:
    with pytest.raises(TypeError, match=r"\[text\]"):
        ftk.fit(tuned(), "one text", np.ones(1))


def test_a_pipeline_of_texts_is_refused_with_the_way_out() -> None:
    texts, labels = letters(16)
    model = ftk.add_head(ftk.freeze_layers(with_tokenizer()), "binary")
    ftk.compile_for_task(model)
    raw = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(8)
    with pytest.raises(ValueError, match=r"gives texts.*ftk\.tokenize"):
        ftk.fit(model, raw, verbose=0)
    tokens = ftk.tokenize(model, texts)
    ready = tf.data.Dataset.from_tensor_slices((tokens, labels)).batch(8)
    assert "loss" in ftk.fit(model, ready, verbose=0).history
