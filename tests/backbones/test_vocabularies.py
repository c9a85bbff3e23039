"""Do text layers of Keras 2 come with their vocabularies?"""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import pytest
import tensorflow as tf

import finetunekit as ftk
import keras2_models
from finetunekit.backbones.keras2 import vocabularies
from keras2_files import lookup_chain, write_chain


def test_a_lookup_of_a_file_without_words_is_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = ftk.load_backbone(
        write_chain(tmp_path / "m.h5", lookup_chain("StringLookup", "flat", None))
    )
    assert "'lookup', a StringLookup, has no vocabulary" in caplog.text
    loaded.get_layer("lookup").set_vocabulary(["a", "b"])
    assert loaded(tf.constant([["b"]])).numpy().item() == 2


def test_adapted_vocabularies_of_a_keras_2_archive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with keras2_models.quiet():
        import tf_keras

        layers = tf_keras.layers
        inner = tf_keras.Sequential([layers.TextVectorization(output_mode="multi_hot")])
        inner.layers[0].adapt(["p q", "r q"])
        second = layers.StringLookup()
        second.adapt(["p", "q q"])
        inputs = tf_keras.Input((1,), dtype="string")
        made = tf_keras.Model(
            inputs, [inner(inputs), layers.StringLookup(vocabulary=["z"])(inputs), second(inputs)]
        )
        made.save(tmp_path / "m.keras")
    words = tf.constant([["p"], ["q q"], ["z"]])
    loaded = ftk.load_backbone(tmp_path / "m.keras")
    for found, wanted in zip(loaded(words), made(words), strict=True):
        assert found.numpy().tolist() == wanted.numpy().tolist()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_one_that_is_too_large_or_weighed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keras2_models.quiet():
        import tf_keras

        layers = tf_keras.layers
        for mode in ("multi_hot", "tf_idf"):
            text = layers.TextVectorization(output_mode=mode)
            text.adapt(["p q", "r q"])
            tf_keras.Sequential([text]).save(tmp_path / f"{mode}.keras")
    with pytest.raises(ValueError, match=r"adapted to weigh words.*`idf_weights`"):
        ftk.load_backbone(tmp_path / "tf_idf.keras")
    monkeypatch.setattr(vocabularies, "_LARGEST", 3)
    with pytest.raises(ValueError, match=r"the vocabulary of layer 'text_vec.*' is of \d+ bytes"):
        ftk.load_backbone(tmp_path / "multi_hot.keras")


def test_words_come_in_their_order(tmp_path: Path) -> None:
    with keras2_models.quiet():
        import tf_keras

        text = tf_keras.layers.TextVectorization(output_sequence_length=3)
        text.adapt(["b a", "b"])
        tf_keras.Sequential([text]).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert any(name.endswith("vocabulary.txt") for name in archive.namelist())
    loaded = ftk.load_backbone(tmp_path / "m.keras")
    assert loaded(tf.constant([["a b c"]])).numpy().tolist() == [[3, 2, 1]]
