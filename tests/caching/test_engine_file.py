"""A converted prefix is found again beside features, by other models and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import engine_file, identity, prepared_engines
from finetunekit.caching.cut import split_frozen
from models import images, tiny_backbone

L = keras.layers
X, Y = images(24), np.arange(24) % 2
OPTIONS: dict[str, Any] = {"batch_size": 8, "verbose": 0}


def model_of(backbone: keras.Model) -> keras.Model:
    model = ftk.add_head(ftk.freeze_layers(backbone), "binary")
    ftk.compile_for_task(model)
    return model


def kept_engines(folder: Path) -> list[Path]:
    return sorted(folder.glob("finetunekit-engine-*.npz"))


def test_new_data_on_the_same_backbone_need_no_conversion(tmp_path: Path, made: list[str]) -> None:
    backbone = tiny_backbone()
    backbone.save(tmp_path / "backbone.keras")
    ftk.fit(model_of(backbone), X, Y, cache=tmp_path / "a.h5", engine="litert", **OPTIONS)
    (file,) = kept_engines(tmp_path)
    # What another process has: the same weights in other layers, and nothing in memory.
    again = keras.models.load_model(tmp_path / "backbone.keras")
    made.clear()
    others = images(24, seed=1)
    ftk.fit(model_of(again), others, Y, cache=tmp_path / "b.h5", **OPTIONS)
    assert made == []
    found = ftk.load_features(tmp_path / "b.h5").features
    assert np.allclose(found, again.predict(others, verbose=0), atol=1e-5)
    assert not np.allclose(found, ftk.load_features(tmp_path / "a.h5").features, atol=1e-2)
    # Other weights have an engine of their own.
    again.get_layer("features").kernel.assign_add(np.ones((4, 8), "float32"))
    ftk.fit(model_of(again), others, Y, cache=tmp_path / "c.h5", engine="litert", **OPTIONS)
    assert made == ["keras", "litert"]
    found = ftk.load_features(tmp_path / "c.h5").features
    assert np.allclose(found, again.predict(others, verbose=0), atol=1e-4)
    assert len(kept_engines(tmp_path)) == 2
    # Each goes with features of its own.
    ftk.clear_cache(tmp_path / "a.h5")
    assert file not in kept_engines(tmp_path)
    assert len(kept_engines(tmp_path)) == 1


def test_exported_features_keep_and_find_it_too(tmp_path: Path, made: list[str]) -> None:
    backbone = tiny_backbone()
    first = ftk.cache_features(
        backbone, X, tmp_path / "a.h5", engine="litert", batch_size=8, verbose=0
    )
    prepared_engines.drop_all()
    made.clear()
    again = ftk.cache_features(backbone, X, tmp_path / "b.h5", batch_size=8, verbose=0)
    assert made == []
    # Of the first run, the first batch is Keras'.
    assert np.array_equal(again.features[8:], first.features[8:])
    assert np.allclose(again.features, first.features, atol=1e-4)


def test_a_damaged_one_is_made_anew(tmp_path: Path, made: list[str]) -> None:
    backbone = tiny_backbone()
    whole = None
    for name in ("a.h5", "b.h5", "c.h5"):
        ftk.fit(model_of(backbone), X, Y, cache=tmp_path / name, engine="litert", **OPTIONS)
        (file,) = kept_engines(tmp_path)
        whole = whole or len(file.read_bytes())
        assert len(file.read_bytes()) == pytest.approx(whole, rel=0.01)
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if name == "a.h5" else b"something else")
        prepared_engines.drop_all()
    assert made == ["keras", "litert"] * 3


def test_there_is_none_without_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = model_of(tiny_backbone())
    checkpoint = ftk.callbacks.Checkpoint(tmp_path / "run.ckpt")
    ftk.fit(model, X, Y, engine="litert", **OPTIONS)
    prepared_engines.drop_all()
    ftk.fit(model, X, Y, engine="litert", callbacks=[checkpoint], **OPTIONS)
    assert made.count("litert") == 2
    assert kept_engines(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine_file.write(str(tmp_path / "absent"), {"prefix weights": "1"}, {})
    assert "the prepared engine is not kept" in caplog.text
    assert engine_file.read(str(tmp_path / "absent"), {"prefix weights": "1"}) is None


def test_another_version_of_litert_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone()
    ftk.fit(model_of(backbone), X, Y, cache=tmp_path / "a.h5", engine="litert", **OPTIONS)
    key = identity.prefix_key(split_frozen(model_of(backbone), like=X))
    (batch,) = engine_file.read(str(tmp_path), key) or ()
    assert batch == (((16, 16, 3), "float32"), 8)
    monkeypatch.setattr(engine_file.importlib.metadata, "version", lambda name: "0.0")
    assert engine_file.read(str(tmp_path), key) is None
