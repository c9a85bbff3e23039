"""Which reader does a source go to, and which options count as given?"""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import files, hub, readers
from finetunekit.backbones import names as named
from finetunekit.backbones.readers import LoadOptions
from finetunekit.backbones.saved_model import reader as saved_models
from finetunekit.backbones.torch_models import reader as torch


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("vgg16", "a name"),
        ("builtin:mobilenet_v2", "a name"),
        ("model.H5", "a file"),
        ("model.pth", "a torch checkpoint"),
        ("https://example.com/m.tar.gz", "a SavedModel"),
        ("kerashub:bert", "a preset or a folder with a config.json"),
        ("vgg17", None),
    ],
)
def test_the_first_that_accepts_reads(source: str, kind: str | None) -> None:
    reader = readers.reader_of(source)
    assert (reader and reader.kind) == kind


def test_folders_and_files_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "vgg16").mkdir()
    (tmp_path / "preset").mkdir()
    (tmp_path / "preset" / "config.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    found = {name: readers.reader_of(name) for name in ("folder", "vgg16", "preset", "notes.txt")}
    assert [reader and reader.kind for reader in found.values()] == [
        "a SavedModel",
        "a name",
        "a preset or a folder with a config.json",
        "a file",
    ]


def test_options_at_their_defaults_are_not_given() -> None:
    assert LoadOptions().given() == {}
    assert LoadOptions(safe_mode=False, include_top=True).given() == {
        "include_top": True,
        "safe_mode": False,
    }
    # Equal to the default, but of another type: 1 is not True.
    assert LoadOptions(safe_mode=1).given() == {"safe_mode": 1}  # type: ignore[arg-type]
    arrays = (np.zeros(2), np.zeros(2))
    assert list(LoadOptions(reference=arrays).given()) == ["reference"]


@pytest.mark.parametrize(
    ("name", "value"), [("include_top", "yes"), ("include_top", None), ("preprocessing", "both")]
)
def test_options_that_nobody_takes(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}={value!r}"):
        LoadOptions(**{name: value})


def test_options_are_those_of_load_backbone() -> None:
    known = inspect.signature(ftk.load_backbone).parameters
    for field in dataclasses.fields(LoadOptions):
        assert known[field.name].default == field.default, field.name
    # `source`, and `name`, which `load_backbone` itself gives.
    assert len(known) == 2 + len(dataclasses.fields(LoadOptions))


def test_each_row_names_options_that_there_are() -> None:
    names = {field.name for field in dataclasses.fields(LoadOptions)}
    rows = [files.READER, saved_models.READER, hub.READER, named.READER, torch.READER]
    for row in rows:
        assert row.options <= names
        assert "reference" in row.options
    assert readers.MODEL.options == {"include_top"}
