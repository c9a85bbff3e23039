"""The list of class names sets the order of the classes: folders, names as labels, Tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.tuning import labels, sources
from models import L

SHORT: dict[str, Any] = {"probe_epochs": 1, "epochs": 0, "verbose": 0}


def backbone() -> keras.Model:
    """8x8 images -> 2 features."""
    inputs = keras.Input((8, 8, 3))
    features = L.Dense(2, name="features")(L.GlobalAveragePooling2D()(L.Rescaling(0.01)(inputs)))
    return keras.Model(inputs, features)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cats are dark, dogs are bright."""
    folder = tmp_path_factory.mktemp("pets")
    for name, brightness in (("cat", 20), ("dog", 200)):
        (folder / name).mkdir()
        for number in range(3):
            image = np.full((8, 8, 3), brightness + number, "uint8")
            keras.utils.save_img(folder / name / f"{number}.png", image, scale=False)
    return folder


def names_by_pixels(source: sources.Source, task: ftk.Task) -> list[tuple[str, str]]:
    """What each image shows, and what its label says."""
    shown = ["dog" if image.mean() > 100 else "cat" for image in source.x]
    return [(name, (task.class_names or ())[n]) for name, n in zip(shown, source.y, strict=True)]


@pytest.mark.parametrize(
    ("task", "class_names", "order"),
    [
        ("auto", None, ("cat", "dog")),
        ("auto", ["dog", "cat"], ("dog", "cat")),
        ("auto", np.array(["dog", "cat"]), ("dog", "cat")),
        ("multiclass", ["dog", "cat"], ("dog", "cat")),
        (ftk.Task(name="binary", num_classes=1, class_names=("dog", "cat")), None, ("dog", "cat")),
        (ftk.Task(name="multiclass", num_classes=2), ["dog", "cat"], ("dog", "cat")),
        (ftk.Task(name="multiclass", num_classes=2), None, ("cat", "dog")),
    ],
)
def test_a_folder_is_read_in_the_order(
    pets: Path, task: Any, class_names: Any, order: tuple[str, ...]
) -> None:
    names = labels.names_in_order(task, class_names)
    source = sources.read(pets, "train", backbone(), None, names, labels=True)
    found, _, _ = labels.task_of_labels(source.y, task, names or source.class_names)
    assert found.class_names == order
    pairs = names_by_pixels(source, found)
    assert len(pairs) == 6
    assert all(shown == said for shown, said in pairs)


@pytest.mark.parametrize("task", ["auto", ftk.Task(name="multiclass", num_classes=2)])
def test_a_folder_in_an_order_is_tuned_on(pets: Path, task: Any) -> None:
    """The test loss is measured against what the images show."""
    order = ["dog", "cat"]
    model, report = ftk.fine_tune(
        backbone(), pets, task=task, class_names=order, test_data=pets, **SHORT
    )
    assert report.task.class_names == ("dog", "cat")
    x = np.array([[[[v] * 3] * 8] * 8 for v in (20, 21, 22, 200, 201, 202)], "uint8")
    p = model.predict(x, verbose=0)
    p = np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    assert report.test is not None
    wanted = -np.log(p[np.arange(6), [1, 1, 1, 0, 0, 0]]).mean()
    assert report.test["loss"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("class_names", "error", "words"),
    [
        (["dog", "cat", "bird"], ValueError, "must be the subfolders of `train`, each once"),
        (["dog", "Cat"], ValueError, "must be the subfolders of `train`.*'cat', 'dog'"),
        (["dog", "dog"], ValueError, "stand twice"),
        ("dog", TypeError, "must be a list of strings"),
    ],
)
def test_names_of_other_folders(pets: Path, class_names: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ftk.fine_tune(backbone(), pets, class_names=class_names, **SHORT)


def test_validation_folders_must_have_the_classes(pets: Path, tmp_path: Path) -> None:
    for name in ("cat", "cow"):
        (tmp_path / name).mkdir()
        keras.utils.save_img(tmp_path / name / "1.png", np.zeros((8, 8, 3)), scale=False)
    with pytest.raises(ValueError, match="`validation_data` must have the classes of `train`"):
        ftk.fine_tune(backbone(), pets, tmp_path, class_names=["dog", "cat"], **SHORT)


@pytest.mark.parametrize(
    ("task", "class_names", "wanted"),
    [
        ("auto", None, [1, 0, 1]),
        ("auto", ["healthy", "cancer"], [0, 1, 0]),
        (
            ftk.Task(name="binary", num_classes=1, class_names=("healthy", "cancer")),
            None,
            [0, 1, 0],
        ),
        (ftk.Task(name="multiclass", num_classes=2), None, [1, 0, 1]),
        (ftk.Task(name="multiclass", num_classes=2), ["healthy", "cancer"], [0, 1, 0]),
    ],
)
def test_names_as_labels(task: Any, class_names: Any, wanted: list[int]) -> None:
    words = ["healthy", "cancer", "healthy"]
    found, numbers, _ = labels.task_of_labels(words, task, class_names)
    assert numbers.tolist() == wanted
    assert [(found.class_names or ())[n] for n in numbers] == words
    if isinstance(task, ftk.Task):
        assert found.name == task.name


@pytest.mark.parametrize(
    ("task", "class_names", "words"),
    [
        (ftk.Task(name="binary", num_classes=1, class_names=("a", "b")), ["b", "a"], "contradicts"),
        (
            ftk.Task(name="multiclass", num_classes=3),
            None,
            "must equal the number of `class_names`",
        ),
        ("regression", None, "one class a sample, which task 'regression' does not take"),
        ("multilabel", None, "one class a sample, which task 'multilabel' does not take"),
    ],
)
def test_names_that_contradict_the_task(task: Any, class_names: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labels.task_of_labels(["a", "b"], task, class_names)


def test_a_head_for_a_task_takes_no_other_names() -> None:
    task = ftk.Task(name="multiclass", num_classes=2, class_names=("a", "b"))
    with pytest.raises(ValueError, match="`class_names` contradicts the Task"):
        ftk.add_head(backbone(), task, class_names=["b", "a"])
    assert ftk.add_head(backbone(), task, class_names=["a", "b"]).output_shape == (None, 2)


def test_a_dataset_of_a_folder_keeps_its_own_order(pets: Path) -> None:
    def data(**options: Any) -> Any:
        return keras.utils.image_dataset_from_directory(
            pets, image_size=(8, 8), batch_size=2, shuffle=False, verbose=False, **options
        )

    with pytest.raises(ValueError, match="its own order, which `class_names` cannot change"):
        ftk.fine_tune(backbone(), data(), class_names=["dog", "cat"], **SHORT)
    source = sources.read(data(class_names=["dog", "cat"]), "train", backbone(), None, labels=True)
    assert source.class_names == ("dog", "cat")
    assert source.y.tolist() == [0, 0, 0, 1, 1, 1]
