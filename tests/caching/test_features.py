"""Can features be had for other tools, from all kinds of data, and are they the model's?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching import extract
from finetunekit.caching.hdf5_table import StoreMismatch
from models import Subclassed, images, labels, small_backbone
from text_models import TOKENS, letters, with_tokenizer

X, Y = images(21), labels(21)


class Batches(keras.utils.PyDataset):
    """Pictures with labels, 8 at a time."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * 8, index * 8 + 8)
        return X[part], Y[part]


DATA = {
    "arrays": lambda: X,
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(8),
    "unlabelled": lambda: tf.data.Dataset.from_tensor_slices(X).batch(8),
    "PyDataset": lambda: Batches(),
}


@pytest.mark.parametrize("kind", DATA)
def test_features_are_the_models_outputs(kind: str, tmp_path: Path) -> None:
    model, path = small_backbone(), tmp_path / "f.h5"
    wanted = model.predict(X, batch_size=8, verbose=0)
    found = ftk.cache_features(model, DATA[kind](), path, batch_size=8, verbose=0)
    assert len(found) == 21
    assert np.allclose(found.features, wanted, atol=1e-5)
    if kind in ("tf.data", "PyDataset"):
        assert found.labels is not None
        assert np.array_equal(found.labels, Y)
    else:
        assert found.labels is None
    again = ftk.load_features(path)
    assert np.array_equal(np.concatenate(list(again.batches(5))), found.features)
    assert "21 samples" in repr(again)
    in_memory = ftk.cache_features(model, DATA[kind](), verbose=0)
    assert np.allclose(in_memory.features, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["arrays", "tf.data"])
def test_an_interrupted_run_goes_on(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = small_backbone(), tmp_path / "f.h5"
    run, batches = extract.Extractor.__call__, []

    def interrupted(self: Any, batch: Any, left: int) -> Any:
        batches.append(len(batch[0]))
        if len(batches) == 3:
            raise KeyboardInterrupt
        return run(self, batch, left)

    monkeypatch.setattr(extract.Extractor, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ftk.cache_features(model, DATA[kind](), path, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match=r"16 of .* samples"):
        ftk.load_features(path)
    found = ftk.cache_features(model, DATA[kind](), path, batch_size=8, verbose=0)
    assert batches == [8, 8, 5, 5]
    assert np.allclose(found.features, model.predict(X, verbose=0), atol=1e-5)
    ftk.cache_features(model, DATA[kind](), path, batch_size=8, verbose=0)
    assert len(batches) == 4


def test_other_weights_and_other_data_are_never_taken(tmp_path: Path) -> None:
    model, path = small_backbone(), tmp_path / "f.h5"
    ftk.cache_features(model, X, path, verbose=0)
    with pytest.raises(StoreMismatch, match="other data"):
        ftk.cache_features(model, X + 1, path, verbose=0)
    model.layers[1].kernel.assign(model.layers[1].kernel * 2)
    with pytest.raises(StoreMismatch, match="other prefix weights"):
        ftk.cache_features(model, X, path, verbose=0)
    ftk.clear_cache(path)
    assert not path.exists()
    stream = tf.data.Dataset.from_tensor_slices(X).batch(8)
    ftk.cache_features(model, stream, path, verbose=0)
    with pytest.raises(StoreMismatch, match="other data"):
        ftk.cache_features(model, stream.map(lambda x: x + 1), path, verbose=0)
    with pytest.raises(StoreMismatch, match="21 samples, now 16"):
        ftk.cache_features(model, stream.take(2), path, verbose=0)


def test_half_precision_and_several_outputs(tmp_path: Path) -> None:
    model = ftk.backbone_features(small_backbone(), ["conv1", "features"])
    whole = ftk.cache_features(model, X, verbose=0)
    half = ftk.cache_features(model, X, tmp_path / "f.h5", dtype="float16", verbose=0)
    assert (tmp_path / "f.h5").stat().st_size < 0.6 * sum(f.nbytes for f in whole.features) + 1e5
    for one, other in zip(whole.features, half.features, strict=True):
        assert other.dtype == np.float32
        assert np.allclose(one, other, rtol=2e-3, atol=1e-3)


def test_subclassed_models_have_features_too() -> None:
    model = Subclassed()
    wanted = model(X)
    assert np.allclose(ftk.cache_features(model, X, verbose=0).features, wanted, atol=1e-4)


def test_what_cannot_be_cached_says_why(tmp_path: Path) -> None:
    model = small_backbone()
    endless = tf.data.Dataset.from_tensor_slices(X).batch(8).repeat()
    for data, words in ((endless, "number of batches"), ((x for x in X), "number of batches")):
        with pytest.raises(ValueError, match=words):
            ftk.cache_features(model, data)
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        ftk.cache_features(model, X, dtype="int8")
    with pytest.raises(ValueError, match=r"`engine` must be one of.*Did you mean 'keras'"):
        ftk.cache_features(model, X, engine="kers")
    with pytest.raises(ValueError, match=r"end in \.h5"):
        ftk.cache_features(model, X, tmp_path / "features.npz")
    with pytest.raises(TypeError, match=r"must be a keras\.Model"):
        ftk.cache_features("resnet50", X)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        ftk.clear_cache(tmp_path / "nothing.h5")
    ours = tmp_path / "model.h5"
    ours.write_bytes(b"weights")
    with pytest.raises(ValueError, match="not an HDF5 file of features"):
        ftk.clear_cache(ours)
    assert ours.exists()


def test_clearing_leaves_what_belongs_to_others(tmp_path: Path) -> None:
    path, beside = tmp_path / "a.h5", tmp_path / "a.validation.h5"
    model = small_backbone()
    for other in (lambda: ftk.cache_features(model, X[:5], beside, verbose=0), write_text(beside)):
        ftk.cache_features(model, X, path, verbose=0)
        other()
        before = beside.read_bytes()
        ftk.clear_cache(path)
        assert not path.exists()
        assert beside.read_bytes() == before
        beside.unlink()
    fitted = ftk.compile_for_task(ftk.add_head(ftk.freeze_layers(small_backbone()), "binary"))
    data = {"validation_data": (X[:5], Y[:5]), "epochs": 1, "verbose": 0}
    ftk.fit(fitted, X, Y, cache=path, **data)
    assert {file.name for file in tmp_path.iterdir()} == {"a.h5", "a.validation.h5"}
    ftk.fit(fitted, X, Y, cache=path, **data)  # The mark is no part of what the features are of.
    # A file of the same features that another fit has written under that name.
    kept = tmp_path / "b.validation.h5"
    kept.write_bytes(path.read_bytes())
    (tmp_path / "b.h5").write_bytes(path.read_bytes())
    ftk.clear_cache(tmp_path / "b.h5")
    assert kept.exists()
    ftk.clear_cache(path)
    assert list(tmp_path.iterdir()) == [kept]


def write_text(path: Path) -> Any:
    return lambda: path.write_text("of somebody else")


def test_texts_are_computed_at_the_length_of_their_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, _ = letters(40)
    backbone = with_tokenizer()
    vectors = keras.Model(backbone.input, backbone.output[:, 0])
    ftk.use_tokenizer(vectors, ftk.WordPiece(TOKENS))
    expected = vectors.predict(ftk.tokenize(vectors, texts), verbose=0)
    counted: list[Any] = []
    original = extract.Extractor.__call__

    def call(self: Any, batch: Any, rows_left: int) -> Any:
        counted.append(batch)
        return original(self, batch, rows_left)

    monkeypatch.setattr(extract.Extractor, "__call__", call)
    found = ftk.cache_features(vectors, texts, batch_size=8, verbose=0)
    assert np.allclose(found.features, expected, atol=1e-5)
    widths = [len(batch[0][0]) for batch in counted]
    assert max(widths) > min(widths)
    whole = ftk.cache_features(backbone, texts, batch_size=8, verbose=0)
    longest = ftk.tokenize(backbone, texts)["token_ids"].shape[1]
    assert whole.features.shape == (40, longest, 8)
