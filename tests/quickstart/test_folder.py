"""Are a person's own images read and split as promised, and is what is wrong with them said?"""

import logging
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import image_bytes
import snippets
from finetunekit.quickstart import folder as module
from finetunekit.quickstart.folder import load_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Blue, green and red images, 12 a class."""
    snippets.write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def write(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, "uint8")).save(path)


def test_pictures_and_labels_belong_together(photos: Path) -> None:
    examples = load_folder(photos, size=24)
    assert examples.class_names == ("blue", "green", "red")
    assert (examples.x_train.shape, examples.x_train.dtype) == ((24, 24, 24, 3), "uint8")
    assert examples.x_test.shape == (12, 24, 24, 3)
    for x, y in ((examples.x_train, examples.y_train), (examples.x_test, examples.y_test)):
        brightest = x.mean(axis=(1, 2)).argmax(axis=-1)  # channel 2 is blue
        assert np.array_equal(2 - brightest, y)


def test_every_class_is_in_both_parts(photos: Path) -> None:
    for number in range(7):
        (photos / "red" / f"{number:02}.png").unlink()
    examples = load_folder(photos, size=24)
    assert np.bincount(examples.y_train).tolist() == [8, 8, 3]
    assert np.bincount(examples.y_test).tolist() == [4, 4, 2]


def test_no_picture_is_in_both_parts(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 100)):
        for number in range(20):
            write(tmp_path / name / f"{number}.png", start + number)
    examples = load_folder(tmp_path, size=8)
    train, test = (set(x[:, 0, 0, 0].tolist()) for x in (examples.x_train, examples.x_test))
    assert not train & test
    assert train | test == {*range(20), *range(100, 120)}


def test_the_seed_decides_the_split(photos: Path) -> None:
    first, again, other = (load_folder(photos, size=24, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)


def test_class_names_are_sorted_as_keras_sorts_them(tmp_path: Path) -> None:
    for name in ("b", "C", "a10", "a9", ".hidden"):
        for number in range(5):
            write(tmp_path / name / "deeper" / f"{number}.png")
    theirs = keras.utils.image_dataset_from_directory(tmp_path, verbose=False).class_names
    assert list(load_folder(tmp_path, size=8).class_names) == theirs


def test_of_many_pictures_some_are_drawn_and_that_is_said(
    photos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    monkeypatch.setattr(module, "MOST_IN_ALL", 21)
    caplog.set_level(logging.INFO, "finetunekit")
    examples = load_folder(photos, size=24)
    assert np.bincount(np.concatenate([examples.y_train, examples.y_test])).tolist() == [7] * 3
    assert "15 images are left out: at most 7 per class are used" in caplog.text


@pytest.mark.parametrize("name", ["test", "val"])
def test_parts_are_used_as_they_are_meant(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "finetunekit")
    for part, start, count in (("train", 0, 6), (name, 100, 2)):
        for label, more in (("cat", 0), ("dog", 50)):
            for number in range(count):
                write(tmp_path / part / label / f"{number}.png", start + more + number)
    examples = load_folder(tmp_path, size=8)
    assert examples.class_names == ("cat", "dog")
    train = sorted(zip(examples.x_train[:, 0, 0, 0].tolist(), examples.y_train, strict=True))
    assert train == [(n, 0) for n in range(6)] + [(50 + n, 1) for n in range(6)]
    test = sorted(zip(examples.x_test[:, 0, 0, 0].tolist(), examples.y_test, strict=True))
    assert test == [(100, 0), (101, 0), (150, 1), (151, 1)]
    assert f"{tmp_path / name} is used to test on" in caplog.text


def test_parts_must_have_the_same_classes(tmp_path: Path) -> None:
    for part, labels in (("train", "ab"), ("test", "ac")):
        for label in labels:
            for number in range(5):
                write(tmp_path / part / label / f"{number}.png")
    with pytest.raises(ValueError, match=r"of the same classes.*'a', 'b'.*'a', 'c'"):
        load_folder(tmp_path, size=8)


def test_how_files_were_read_is_told(photos: Path) -> None:
    examples = load_folder(photos, size=24)
    assert (examples.of_files, examples.image_bits) == (True, None)
    for path in (photos / "red").iterdir():
        path.write_bytes(image_bytes.png_16(np.full((8, 8, 3), 4000)))
    examples = load_folder(photos, size=24)
    assert examples.image_bits == 12
    assert examples.x_train[examples.y_train == 2].min() == round(4000 / 4095 * 255)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder.*Received: folder="):
        load_folder(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(NotADirectoryError, match=r"this is a file.*Received: folder="):
        load_folder(tmp_path / "x.png")


def test_a_folder_without_subfolders(tmp_path: Path) -> None:
    write(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"for each class.*Its subfolders are: none"):
        load_folder(tmp_path)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match=r"'cat' holds no images.*'dog' holds no images"):
        load_folder(tmp_path)


def test_a_single_class(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "cat" / f"{number}.png")
    with pytest.raises(ValueError, match=r"at least two.*Its subfolders are: 'cat'"):
        load_folder(tmp_path)


def test_too_few_pictures_in_a_class(photos: Path) -> None:
    for number in range(9):
        (photos / "green" / f"{number:02}.png").unlink()
    with pytest.raises(ValueError, match=r"at least 5 images.*Add images to 'green \(3\)'"):
        load_folder(photos)


def test_all_files_that_are_no_pictures_are_named(photos: Path) -> None:
    (photos / "blue" / "00.png").write_bytes(b"no image")
    whole = (photos / "red" / "05.png").read_bytes()
    (photos / "red" / "05.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as images") as found:
        load_folder(photos, size=24)
    assert str(photos / "blue" / "00.png") in str(found.value)
    assert str(photos / "red" / "05.png") in str(found.value)


def test_the_missing_extra_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'pip install "finetunekit\[images\]"'):
        load_folder(photos)
