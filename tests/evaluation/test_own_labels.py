"""Are the labels and names that data bring those of the model?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from answering import answering, brightness
from snippets import write_photos
from sources import Batches, numbers


def test_a_folder_brings_its_labels(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    (tmp_path / "red" / "notes.txt").write_text("no image")
    report = ftk.evaluate(brightness(), tmp_path)
    assert (report.count, report.metrics["accuracy"]) == (6, 1.0)
    assert report.notes == ("left out: 1 file that cannot be read as images",)
    turned = ftk.evaluate(brightness(classes=("red", "green", "blue")), tmp_path)
    assert turned.confusion.tolist() == [[0, 0, 2], [0, 2, 0], [2, 0, 0]]
    files = sorted(tmp_path.rglob("*.png"))
    listed = ftk.evaluate(brightness(), files, [file.parent.name for file in files])
    assert listed.metrics == report.metrics
    with pytest.raises(ValueError, match=r"subfolder for each class .*'a', 'b', 'c'"):
        ftk.evaluate(brightness(classes=("a", "b", "c")), tmp_path)


def test_one_class_of_several_is_enough(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    report = ftk.evaluate(brightness(), tmp_path / "red" / "..")
    assert report.count == 6
    for name in ("blue", "green"):
        for file in (tmp_path / name).iterdir():
            file.unlink()
    assert ftk.evaluate(brightness(), tmp_path).confusion.tolist()[2] == [0, 0, 2]


def read(folder: Path, **options: Any) -> Any:
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(8, 8), verbose=False, **options
    )


def test_a_dataset_that_counts_its_classes_otherwise_is_refused(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    model = brightness(classes=("blue", "green", "red"))
    assert ftk.evaluate(model, read(tmp_path)).metrics["accuracy"] == 1
    wrong = read(tmp_path, class_names=["red", "green", "blue"])
    with pytest.raises(ValueError, match=r"class_names=\['blue', 'green', 'red'\]"):
        ftk.evaluate(model, wrong)
    assert len(ftk.predict(model, wrong)) == 6


def test_names_of_the_data_are_used_where_the_model_has_none(tmp_path: Path) -> None:
    write_photos(tmp_path, each=2)
    named = brightness()
    model = keras.Model(named.inputs, named.outputs)  # The same, without metadata.
    for given in (tmp_path, read(tmp_path)):
        assert list(ftk.evaluate(model, given).per_class) == ["blue", "green", "red"]
    x, y = numbers(8, 2), np.arange(8) % 2
    batches = Batches(x, y)
    batches.class_indices = {"yes": 1, "no": 0}
    report = ftk.evaluate(answering("multiclass", 2, num_classes=2), batches)
    assert report.class_names == ("no", "yes")
    report = ftk.evaluate(answering("regression", 2, num_classes=2), Batches(x, x))
    assert report.class_names == ("0", "1")
