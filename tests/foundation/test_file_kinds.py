"""Are files known by what is in them?"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from finetunekit.foundation import file_kinds


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return content.getvalue()


def hdf5(offset: int) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=offset) as file:
        file["a"] = np.ones(2)
    return content.getvalue()


def tar(mode: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as file:
        file.addfile(tarfile.TarInfo("saved_model.pb"))
    return content.getvalue()


CASES = [
    (hdf5(0), file_kinds.HDF5),
    (hdf5(1024), file_kinds.HDF5),
    (zipped("config.json", "metadata.json"), file_kinds.KERAS),
    (zipped("archive/data.pkl", "archive/version"), file_kinds.TORCH),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", file_kinds.TORCH),
    ((2).to_bytes(8, "little") + b"{}", file_kinds.SAFETENSORS),
    (zipped("a.npy"), file_kinds.NUMPY),
    (zipped("model/saved_model.pb"), file_kinds.SAVED_MODEL),
    (tar("w:gz"), file_kinds.TAR),
    (tar("w:"), file_kinds.TAR),
    (gzip.compress(b"text" * 200), None),
    (b"\x1f\x8b cut", None),
    (zipped("config.json"), None),
    (zipped("readme.txt"), None),
    (zipped("config.json", "metadata.json")[:-30], None),
    (b"<html>", None),
    (b"", None),
]


@pytest.mark.parametrize(("content", "kind"), CASES, ids=range(len(CASES)))
def test_kinds(content: bytes, kind: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    assert file_kinds.kind_of(str(path)) == kind


def test_what_is_no_file_is_of_no_kind(tmp_path: Path) -> None:
    assert file_kinds.kind_of(str(tmp_path)) is None
    assert file_kinds.kind_of(str(tmp_path / "none.h5")) is None
