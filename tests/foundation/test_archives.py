"""Is an archive that would do harm refused before anything is unpacked?"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from finetunekit.foundation import archives


def written(path: Path, members: dict[str, bytes], *, link: str = "") -> str:
    with zipfile.ZipFile(path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if name == link:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return str(path / "a.keras")


def test_a_plain_one_is_let_through(tmp_path: Path) -> None:
    names = ["config.json", "metadata.json", "model.weights.h5", "assets/words.txt", "a..b"]
    archives.check(written(tmp_path, dict.fromkeys(names, b"{}")), "path")


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/a", "a\\b", "C:a"])
def test_names_that_lead_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`source` is refused: .* outside of its folder"):
        archives.check(written(tmp_path, {name: b""}), "source")


def test_links(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'config\.json' is a link"):
        archives.check(written(tmp_path, {"config.json": b"/etc"}, link="config.json"), "path")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": b"1"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a", b"2")
    with pytest.raises(ValueError, match="it holds 'a' twice"):
        archives.check(path, "path")


def test_what_would_fill_memory_or_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"a.json": b" " * 5000, "b": b""})
    archives.check(path, "path")
    monkeypatch.setattr(archives, "_FREE_BYTES", 100)
    monkeypatch.setattr(archives, "_MOST_PACKED", 5)
    with pytest.raises(ValueError, match=r"bytes would unpack to 5,000"):
        archives.check(path, "path")
    monkeypatch.setattr(archives, "_LARGEST_TEXT", 4999)
    with pytest.raises(ValueError, match=r"'a\.json' declares 5,000 bytes"):
        archives.check(path, "path")
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 1)
    with pytest.raises(ValueError, match="it holds 2 members"):
        archives.check(path, "path")


def test_what_is_not_an_archive(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": b"1" * 100})
    content = Path(path).read_bytes()
    for damaged in (b"", b"no zip", content[:-30]):
        Path(path).write_bytes(damaged)
        with pytest.raises(ValueError, match=r"`path` is (empty|.*archive).*Received: path="):
            archives.check(path, "path")
    with pytest.raises(OSError, match="missing"):
        archives.check(str(tmp_path / "missing.keras"), "path")
