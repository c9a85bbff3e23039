"""Is a new kind of source one row? A toy one, kept in this file alone, is loaded and tuned."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import readers
from finetunekit.backbones.readers import LoadOptions, SourceReader

KERNELS = [np.arange(12, dtype="float32").reshape(4, 3) / 7, np.ones((3, 2), "float32")]


def read_kernels(path: str, options: LoadOptions) -> keras.Model:
    """Dense layers without bias, one a kernel."""
    with np.load(path) as file:
        kernels = [file[name] for name in file.files]
    if options.include_top is False:
        kernels = kernels[:-1]
    inputs = x = keras.Input((len(kernels[0]),))
    for kernel in kernels:
        layer = keras.layers.Dense(kernel.shape[1], use_bias=False)
        x = layer(x)
        layer.set_weights([kernel])
    return keras.Model(inputs, x, name="kernels")


TOY = SourceReader(
    kind="a file of kernels",
    accepts=lambda source: source.endswith(".npz"),
    options=frozenset({"include_top", "reference"}),
    read=read_kernels,
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    np.savez(tmp_path / "kernels.npz", *KERNELS)
    return tmp_path / "kernels.npz"


@pytest.fixture
def registered() -> Iterator[None]:
    readers.register(TOY)
    yield
    readers.unregister(TOY.kind)


@pytest.mark.usefixtures("registered")
def test_a_source_of_the_new_kind_is_loaded_checked_and_tuned(stored: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    y = x @ KERNELS[0] @ KERNELS[1]
    model = ftk.load_backbone(stored, reference=(x, y))
    assert np.allclose(model.predict(x, verbose=0), y, atol=1e-5)
    report = ftk.load_report(model)
    assert (report.source, report.format) == ("kernels.npz", "file of kernels")
    assert report.parity is not None
    assert report.parity < 1e-5
    tuned = ftk.add_head(ftk.freeze_layers(model), "binary")
    ftk.compile_for_task(tuned)
    history = ftk.fit(tuned, x, np.arange(6) % 2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert np.array_equal(model.get_weights()[0], KERNELS[0])


@pytest.mark.usefixtures("registered")
def test_its_option_is_used_and_others_are_refused(stored: Path) -> None:
    assert ftk.load_backbone(stored, include_top=False).output_shape == (None, 3)
    with pytest.raises(
        ValueError, match=r"`dtype` has no effect when the source is a file of kernels.*'float16'"
    ):
        ftk.load_backbone(stored, dtype="float16")
    with pytest.raises(ValueError, match="`include_top` must be 'auto'"):
        ftk.load_backbone(stored, include_top="perhaps")


def test_unregistered_it_is_unknown_again(stored: Path) -> None:
    readers.register(TOY)
    with pytest.raises(ValueError, match=r"already.*Received: reader.kind='a file of kernels'"):
        readers.register(TOY)
    readers.unregister(TOY.kind)
    with pytest.raises(ValueError, match="no file of a Keras model, but an archive of NumPy"):
        ftk.load_backbone(stored)


def test_those_of_the_library_are_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_readers", {})
    readers.register(TOY)
    general = dataclasses.replace(TOY, kind="any file", accepts=lambda source: True)
    readers.register(general, last=True)
    readers.register(dataclasses.replace(TOY, kind="newer", accepts=lambda source: source == "b"))
    asked = {source: readers.reader_of(source) for source in ("a.npz", "a.h5", "b")}
    found = {source: reader and reader.kind for source, reader in asked.items()}
    assert found == {"a.npz": "a file of kernels", "a.h5": "any file", "b": "newer"}


def test_a_source_of_another_type(caplog: pytest.LogCaptureFixture) -> None:
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    row = SourceReader(
        kind="a recipe",
        accepts=lambda given: "units" in given,
        options=frozenset(),
        read=lambda given, options: made,
        type=dict,
    )
    readers.register(row)
    try:
        assert ftk.load_backbone({"units": 1}) is made
        assert "from dict, recipe" in caplog.text
        with pytest.raises(ValueError, match="`reference` has no effect when the source is a rec"):
            ftk.load_backbone({"units": 1}, reference=(1, 2))
        with pytest.raises(TypeError, match=r"must be a path, a name or a keras.Model.*\(a dict\)"):
            ftk.load_backbone({})
    finally:
        readers.unregister(row.kind)
