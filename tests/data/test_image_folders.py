"""Are classes and parts of a data set found in folders as people have them, and nothing else?"""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest

from finetunekit.data.image_folders import list_images, read_classes, read_parts


def touch(folder: Path, *paths: str) -> Path:
    """Empty files: a folder is listed without reading any."""
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
    return folder


def names(folder: Path, files: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        label: [Path(path).relative_to(folder).as_posix() for path in paths]
        for label, paths in files.items()
    }


def test_classes_and_files_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "b/deeper/1.jpg", "C/1.PNG", "a/x.webp", "a/x.jfif")
    found = read_classes(tmp_path)
    assert names(tmp_path, found.files) == {
        "C": ["C/1.PNG"],
        "a": ["a/x.jfif", "a/x.webp"],
        "b": ["b/10.png", "b/2.png", "b/deeper/1.jpg"],
    }
    assert list(found.files) == ["C", "a", "b"]


def test_what_nobody_put_there_is_not_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", ".ipynb_checkpoints/1.png", ".DS_Store", "__MACOSX/1.png")
    touch(tmp_path, "a/._1.png", "a/.ipynb_checkpoints/1-checkpoint.png", "b/Thumbs.db")
    touch(tmp_path, "b/@eaDir/1.png", ".git/a/1.png", "._a/1.png", "b/desktop.ini")
    caplog.set_level(logging.INFO, "finetunekit")
    found = read_classes(tmp_path)
    found.report()
    assert names(tmp_path, found.files) == {"a": ["a/1.png"], "b": ["b/1.png"]}
    assert (found.empty, found.broken, dict(found.skipped)) == ({}, (), {})
    assert not caplog.records


def test_what_is_left_out_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/1.png", "a/2.heic", "a/3.HEIC", "a/notes.txt", "a/README", "b/1.png")
    touch(tmp_path, "void/", "texts/1.txt", "texts/2.txt")
    (tmp_path / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    caplog.set_level(logging.INFO, "finetunekit")
    found = read_classes(tmp_path)
    found.report()
    assert list(found.files) == ["a", "b"]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", f"{tmp_path}: 6 other files left out: 2 .heic, 3 .txt, 1 without an ending"),
        (
            "WARNING",
            f"{tmp_path}: 1 broken link left out: {str(tmp_path / 'b' / 'gone.jpg')!r}",
        ),
        (
            "WARNING",
            f"{tmp_path}: the subfolder 'texts' holds no images that can be read (2 .txt) and is "
            "not taken for a class",
        ),
        (
            "WARNING",
            f"{tmp_path}: the subfolder 'void' holds no images that can be read (nothing) and is "
            "not taken for a class",
        ),
    ]


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "store/1.png", "data/b/1.png", "data/c/")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data" / "c" / "1.png").symlink_to(tmp_path / "store" / "1.png")
    assert list(read_classes(tmp_path / "data").files) == ["a", "b", "c"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_the_same_from_every_computer(form: str, tmp_path: Path) -> None:
    touch(tmp_path, f"{unicodedata.normalize(form, 'Bär')}/1.png", "猫/1.png")
    found = read_classes(tmp_path)
    assert list(found.files) == [unicodedata.normalize("NFC", "Bär"), "猫"]
    assert all(Path(path).exists() for paths in found.files.values() for path in paths)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["notes.txt"], "Its subfolders are: none. Received: train="),
        (["cat/1.png"], "Its subfolders are: 'cat'. Received: train="),
        (["cat/1.png", "dog/"], "'dog' holds no images that can be read (nothing). Received"),
        (["cat/1.png", "dog/1.heic"], "'dog' holds no images that can be read (1 .heic). Rec"),
        (["train/a/1.png", "train/b/1.png"], "If the classes lie in 'train', give that folder."),
    ],
)
def test_two_classes_are_needed(paths: list[str], words: str, tmp_path: Path) -> None:
    touch(tmp_path, *paths)
    with pytest.raises(ValueError, match="a subfolder of images for each class") as caught:
        read_classes(tmp_path, "train")
    assert words in str(caught.value)


@pytest.mark.parametrize("read", [read_classes, read_parts])
def test_a_folder_must_be_there(read: object, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(FileNotFoundError, match=r"no such folder.*Received: train='.*none'"):
        read(tmp_path / "none", "train")
    touch(tmp_path, "file")
    with pytest.raises(NotADirectoryError, match=r"this is a file.*Received: train="):
        read(str(tmp_path / "file"), "train")


# Parts.


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["train/a/1.png", "val/a/1.png", "test/a/1.png"], ["train", "val", "test"]),
        (["Train/a/1.png", "Validation/a/1.png"], ["Train", "Validation", None]),
        (["training/a/1.png", "testing/a/1.png"], ["training", None, "testing"]),
        (["train/a/1.png", "valid/a/1.png", "docs/x.txt", "x.csv"], ["train", "valid", None]),
        (["train/a/1.png", "val/a/1.png", ".cache/1.png"], ["train", "val", None]),
        (["cat/1.png", "dog/1.png"], [None, None, None]),
        (["train/1.png", "bus/1.png"], [None, None, None]),
        (["train/a/1.png", "train/b/1.png"], [None, None, None]),
    ],
)
def test_parts_are_recognised(paths: list[str], wanted: list[str | None], tmp_path: Path) -> None:
    touch(tmp_path, *paths)
    found = read_parts(tmp_path)
    rows = zip(("train", "validation", "test"), wanted, strict=True)
    assert found == {part: str(tmp_path / name) for part, name in rows if name}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["val/a/1.png", "test/a/1.png"], "none of them is called 'train'"),
        (["train/a/1.png", "val/a/1.png", "valid/a/1.png"], "'val', 'valid' mean the same part"),
        (["train/1.png", "test/1.png"], "'test', 'train' hold no subfolder for each class"),
        (["train/a/1.png", "test/1.png"], "'test' hold no subfolder for each class"),
        (["train/a/1.png", "val/a/1.png", "cat/1.png"], "'cat' beside them hold images too"),
    ],
)
def test_parts_are_never_taken_for_classes(paths: list[str], words: str, tmp_path: Path) -> None:
    touch(tmp_path, *paths)
    with pytest.raises(ValueError, match="called like parts of a data set") as caught:
        read_parts(tmp_path, "train")
    assert words in str(caught.value)
    assert f"Received: train={str(tmp_path)!r} with the subfolders" in str(caught.value)


def test_all_images_of_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "2.png", "1.JPG", "notes.txt", "b/1.webp", "a/._1.png", ".cache/1.png", "c/")
    (tmp_path / "broken.png").symlink_to(tmp_path / "absent.png")
    assert list_images(tmp_path) == [
        str(tmp_path / name) for name in ("1.JPG", "2.png", "b/1.webp")
    ]
    with pytest.raises(ValueError, match=r"`x` holds no images that can be read \(.bmp"):
        list_images(tmp_path / "c", "x")


def test_one_class_suffices_to_test_on(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.png", "dog/")
    assert list(read_classes(tmp_path, least=1).files) == ["cat"]
    with pytest.raises(ValueError, match="holds no images that can be read"):
        read_classes(touch(tmp_path / "other", "cat/", "dog/"), least=1)
