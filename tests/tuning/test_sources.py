"""Data are read as the user gave them, and cut by class into two parts without a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetunekit.tuning import sources
from finetunekit.tuning.labels import task_of_labels
from finetunekit.tuning.sources import Source

L = keras.layers


def model_of(*shape: int | None) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, L.Identity()(inputs))


class Batches(keras.utils.PyDataset):
    """Two batches of images and labels, the second smaller."""

    def __init__(self, labelled: bool = True) -> None:
        super().__init__()
        self.labelled = labelled

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        y = [[3, 1], [2]][number]
        return (np.zeros((len(y), 4)), keras.ops.array(y)) if self.labelled else np.zeros((2, 4))


class Named:
    """A pipeline that knows its classes, as Keras' functions make them."""

    def __init__(self, class_names: Any) -> None:
        self.class_names = class_names
        self.element_spec = (tf.TensorSpec((None, 4)), tf.TensorSpec((None,)))

    def __iter__(self) -> Any:
        return iter([(None, np.array([1, 0])), (None, np.array([1]))])


def read(given: Any, **options: Any) -> Source:
    options = {"labels": True} | options
    size = options.pop("size", None)
    names = options.pop("class_names", None)
    model = options.pop("model", None) or model_of(4)
    return sources.read(given, options.pop("name", "train"), model, size, names, **options)


# Arrays and pipelines.


def test_a_pair_is_taken_as_it_is() -> None:
    x, y = object(), object()
    found = read((x, y), class_names=("a", "b"))
    assert found.x is x
    assert found.y is y
    assert (found.class_names, found.is_pipeline) == (None, False)


@pytest.mark.parametrize("labels", [True, False])
def test_a_pipeline_is_walked_for_its_labels_if_they_are_wanted(labels: bool) -> None:
    data = tf.data.Dataset.from_tensor_slices((np.zeros((3, 4)), [[5, 1], [6, 2], [7, 3]])).batch(2)
    for given, wanted in ((data, [[5, 1], [6, 2], [7, 3]]), (Batches(), [3, 1, 2])):
        found = read(given, labels=labels)
        assert found.x is given
        assert found.is_pipeline
        assert found.class_names is None
        if labels:
            assert found.y.tolist() == wanted
        else:
            assert found.y is None


def test_an_empty_pipeline_has_no_labels() -> None:
    data = tf.data.Dataset.from_tensor_slices((np.zeros((3, 4)), np.zeros(3))).take(0)
    assert read(data).y.shape == (0,)


@pytest.mark.parametrize(
    "given",
    [
        np.zeros((3, 4)),
        (np.zeros((3, 4)),),
        (np.zeros((3, 4)), np.zeros(3), np.ones(3)),
        [np.zeros((3, 4)), np.zeros(3)],
        None,
        Batches(labelled=False),
    ],
)
def test_what_has_no_labels_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="`held_out` must be a folder") as caught:
        read(given, name="held_out")
    assert str(caught.value).endswith(f"Received: held_out of type {type(given).__name__}")


def test_a_pipeline_without_labels_is_refused() -> None:
    data = tf.data.Dataset.from_tensor_slices(np.zeros((3, 4))).batch(2)
    with pytest.raises(TypeError, match="of samples and labels"):
        read(data, labels=False)


def test_a_pipeline_keeps_its_names() -> None:
    given = Named(["dog", "cat"])
    found = read(given)
    assert found.class_names == ("dog", "cat")
    assert found.y.tolist() == [1, 0, 1]
    assert read(given, class_names=["dog", "cat"]).class_names == ("dog", "cat")
    assert read(given, class_names=("dog", "cat")).class_names == ("dog", "cat")
    for without in (None, []):
        assert read(Named(without), class_names=["a", "b"]).class_names is None
    with pytest.raises(ValueError, match="`valid` numbers its classes in its own order") as caught:
        read(given, name="valid", class_names=("cat", "dog"))
    assert str(caught.value).endswith(
        "class_names=['cat', 'dog'] beside valid.class_names=['dog', 'cat']"
    )


def test_labels_by_name_and_labels_that_are_text() -> None:
    data = tf.data.Dataset.from_tensor_slices((np.zeros((3, 4)), {"label": [5, 6, 7]})).batch(2)
    assert read(data).y.tolist() == [5, 6, 7]
    texts = tf.data.Dataset.from_tensor_slices((np.zeros((3, 4)), ["a", "b", "a"])).batch(2)
    words = r"`train` gives labels that are text.*vocabulary=\['a', 'b'\], num_oov_indices=0"
    for labels in (True, False):
        with pytest.raises(ValueError, match=words):
            read(texts, class_names=["a", "b"], labels=labels)
    lookup = L.StringLookup(vocabulary=["a", "b"], num_oov_indices=0)  # As the message says.
    assert read(texts.map(lambda x, y: (x, lookup(y)))).y.tolist() == [0, 1, 0]


def test_a_list_holds_one_array_for_each_input_of_the_model() -> None:
    parts = [keras.Input((4,)), keras.Input((4,))]
    two = keras.Model(parts, L.Add()(parts))
    x, y = np.arange(48.0).reshape(12, 4), np.arange(12)
    for given in ([x, -x], (x, -x)):
        source = read((given, y), model=two)
        kept, out = sources.split(source, y, 0.25, 0, stratify=False)
        assert (len(kept[1]), len(out[1])) == (9, 3)
        for (left, right), labels in (kept, out):
            assert np.array_equal(left, x[labels])
            assert np.array_equal(right, -x[labels])
    rows = list(x)
    assert read((rows, y)).x is rows, "for one input a list holds the samples"


# Folders.


@pytest.mark.parametrize("shape", [(4,), (None,), (8, 8), (8, 8, 8, 3)])
def test_a_backbone_of_no_images_takes_no_folder(pets: Path, shape: Any) -> None:
    with pytest.raises(ValueError, match="does not take one input of images") as caught:
        read(pets, model=model_of(*shape))
    assert str(caught.value).endswith(f"Received: a model with input {[(None, *shape)]}")


def test_an_iterator_over_a_folder_brings_its_names(pets: Path) -> None:
    """Keras' old `flow_from_directory` says them by `class_indices`."""
    made = tf.keras.preprocessing.image.ImageDataGenerator().flow_from_directory(
        pets, target_size=(4, 4), batch_size=2, class_mode="sparse", shuffle=False
    )
    found = read(made)
    assert found.class_names == tuple(sorted(made.class_indices))
    assert found.is_pipeline
    np.testing.assert_array_equal(found.y, made.classes)


@pytest.mark.parametrize(
    ("shape", "size", "wanted"), [((8, 6, 3), None, (8, 6)), ((None, None, 3), 5, (5, 5))]
)
def test_the_size_of_images(pets: Path, shape: Any, size: Any, wanted: tuple[int, int]) -> None:
    assert read(pets, model=model_of(*shape), size=size).x.shape == (4, *wanted, 3)


def test_a_backbone_of_grey_images_gets_them(pets: Path) -> None:
    found = read(pets, model=model_of(4, 4, 1))
    assert np.array_equal(found.x[:, 0, 0, 0], [255, 0, 30, 200])
    assert found.x.shape == (4, 4, 4, 1)


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one brightness each: a bird, two cats, and a dog, and a file beside the folders."""
    folder = tmp_path_factory.mktemp("pets")
    (folder / "notes.txt").write_text("no class")
    for name, levels in (("cat", (0, 30)), ("dog", (200,)), ("bird", (255,))):
        (folder / name).mkdir()
        for level in levels:
            image = np.full((4, 4, 3), level, "uint8")
            keras.utils.save_img(folder / name / f"{level:03}.png", image, scale=False)
    return folder


@pytest.mark.parametrize(
    ("kind", "class_names", "order", "levels", "numbers"),
    [
        (Path, None, ("bird", "cat", "dog"), [255, 0, 30, 200], [0, 1, 1, 2]),
        (str, ["dog", "bird", "cat"], ("dog", "bird", "cat"), [200, 255, 0, 30], [0, 1, 2, 2]),
    ],
)
def test_a_folder_becomes_images_and_numbers(
    pets: Path,
    kind: Any,
    class_names: Any,
    order: Any,
    levels: list[int],
    numbers: list[int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = read(kind(pets), model=model_of(4, 4, 3), class_names=class_names)
    assert found.x.dtype == "uint8"
    assert np.array_equal(found.x, np.array(levels)[:, None, None, None] * np.ones((4, 4, 3)))
    assert found.y.tolist() == numbers
    assert (found.class_names, found.is_pipeline) == (order, False)
    assert capsys.readouterr().out == ""


def test_images_are_cropped_to_the_middle(tmp_path: Path) -> None:
    """What is wider than wanted loses its sides, rather than its proportions."""
    for name in "ab":
        (tmp_path / name).mkdir()
        wide = np.repeat(np.array([[0, 10, 250, 250, 10, 0]], "uint8"), 2, axis=0)
        keras.utils.save_img(tmp_path / name / "1.png", wide[..., None].repeat(3, 2), scale=False)
    found = read(tmp_path, model=model_of(2, 2, 3))
    assert np.array_equal(found.x, np.full((2, 2, 2, 3), 250))


@pytest.mark.parametrize(
    ("name", "class_names", "words"),
    [
        ("train", ["cat", "dog"], "`class_names` must be the subfolders of `train`, each once"),
        ("train", ["bird", "cat", "cow"], "`class_names` must be the subfolders of `train`"),
        ("valid", ["cat", "dog"], "`valid` must have the classes of `train`, a subfolder each"),
    ],
)
def test_names_must_be_the_subfolders(pets: Path, name: str, class_names: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read(pets, name=name, model=model_of(4, 4, 3), class_names=class_names)
    assert str(caught.value).endswith(
        f"Received: class_names={class_names!r}, {name}={str(pets)!r} with the subfolders "
        "'bird', 'cat', 'dog'"
    )


def test_a_string_is_no_list_of_names(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        keras.utils.save_img(tmp_path / name / "1.png", np.zeros((4, 4, 3)), scale=False)
    with pytest.raises(ValueError, match="each once"):
        read(tmp_path, model=model_of(4, 4, 3), class_names="ab")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three classes to train on, of which one is missing and one is empty elsewhere."""
    for part, labels in (("train", "abc"), ("val", "ab"), ("test", "abc")):
        for label in labels:
            (tmp_path / part / label).mkdir(parents=True)
            pixels = np.full((4, 4, 3), 10 * (ord(label) - 96), "uint8")
            keras.utils.save_img(tmp_path / part / label / "1.png", pixels, scale=False)
    (tmp_path / "val" / "c").mkdir()
    return tmp_path


def test_parts_of_a_folder_are_told_apart(parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "finetunekit")
    train, val, test = (str(parts / name) for name in ("train", "val", "test"))
    assert sources.parts(parts, None, None) == (train, val, test)
    assert caplog.messages == [
        f"the folder holds parts of a data set: {train} to train on, {val} to validate on, {test} "
        "to test on"
    ]
    assert sources.parts(str(parts), None, "mine") == (train, val, "mine")
    assert f"{test} to test on" not in caplog.messages[-1]


def test_data_without_parts_are_left_alone(pets: Path) -> None:
    for given in (pets, str(pets), (np.zeros(3), np.zeros(3)), Batches()):
        assert sources.parts(given, None, "test") == (given, None, "test")


def test_held_out_images_may_lack_a_class(parts: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = read(
        parts / "val", name="validation_data", model=model_of(4, 4, 3), class_names=list("abc")
    )
    assert found.y.tolist() == [0, 1]
    assert found.class_names == ("a", "b", "c")
    assert "the subfolder 'c' holds no images" in caplog.text


# Splitting.


def drawn(groups: list[list[int]], share: float, seed: int) -> list[int]:
    """The rows held out: of each group the first of a permutation, all from one generator."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(group)[: round(share * len(group))] for group in groups]
    return sorted(np.concatenate(rows).astype(int).tolist())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("share", [0.25, 0.3, 0.5])
@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_each_class_keeps_its_share(shape: Any, share: float, seed: int) -> None:
    y = np.array([2, 0, 0, 5, 0] * 4).reshape(shape)
    x = np.arange(20.0) * 10
    train, held_out = sources.split(Source(x, None, None, False), y, share, seed, stratify=True)
    groups = [[n for n in range(20) if y.ravel()[n] == value] for value in (0, 2, 5)]
    out = drawn(groups, share, seed)
    kept = [n for n in range(20) if n not in out]
    for (some, labels), rows in ((train, kept), (held_out, out)):
        assert some.tolist() == [10.0 * n for n in rows]
        assert np.array_equal(labels, y[rows])
    counts = [sum(group.count(n) for n in out) for group in groups]
    assert counts == [round(share * 12), round(share * 4), round(share * 4)]


def test_numbers_are_drawn_from_all() -> None:
    y = np.arange(10) / 2
    train, held_out = sources.split(
        Source(np.arange(10), None, None, False), y, 0.3, 3, stratify=False
    )
    out = drawn([list(range(10))], 0.3, 3)
    assert held_out[0].tolist() == out
    assert held_out[1].tolist() == [n / 2 for n in out]
    assert sorted([*train[0], *held_out[0]]) == list(range(10))
    assert len(train[1]) == 7


def test_inputs_of_every_structure_are_split_alike() -> None:
    y = np.arange(6) % 2
    rows = np.arange(6)
    texts = [f"text {n}" for n in range(6)]

    def parts(x: Any) -> tuple[Any, Any]:
        kept, out = sources.split(Source(x, None, None, False), y, 1 / 3, 0, stratify=True)
        assert kept[1].tolist() == y[kept_rows].tolist()
        return kept[0], out[0]

    out_rows = drawn([[0, 2, 4], [1, 3, 5]], 1 / 3, 0)
    kept_rows = [n for n in range(6) if n not in out_rows]
    for index, wanted in ((0, kept_rows), (1, out_rows)):
        assert parts(rows)[index].tolist() == wanted
        assert parts(tf.constant(rows))[index].tolist() == wanted
        assert parts(texts)[index] == [texts[n] for n in wanted]
        first, second = parts((texts, rows))[index]
        assert first == [texts[n] for n in wanted]
        assert second.tolist() == wanted
        table = parts({"a": rows, "b": (texts, rows * 2)})[index]
        assert list(table) == ["a", "b"]
        assert table["a"].tolist() == wanted
        assert table["b"][0] == [texts[n] for n in wanted]
        assert table["b"][1].tolist() == [2 * n for n in wanted]


@pytest.mark.parametrize(
    ("x", "count"),
    [
        (np.zeros((5, 3)), 5),
        ([""] * 5, 5),
        (([""] * 5, [""] * 4), 5),
        ({"a": np.zeros(5), "b": np.zeros(4)}, 5),
        ({"a": (np.zeros(7), np.zeros(4))}, 7),
    ],
)
def test_samples_and_labels_must_be_as_many(x: Any, count: int) -> None:
    with pytest.raises(ValueError, match="the same number of samples and labels") as caught:
        sources.split(Source(x, None, None, False), np.zeros(4), 0.5, 0, stratify=False)
    assert str(caught.value).endswith(f"Received: {count} samples, 4 labels")


@pytest.mark.parametrize(
    ("share", "stratify", "fits"),
    [
        (0.1, False, False),
        (0.13, False, True),
        (0.87, False, True),
        (0.95, False, False),
        (1.0, True, False),
        (0.24, True, False),  # A quarter of all, but of each class half a sample.
    ],
)
def test_both_sides_hold_samples(share: float, stratify: bool, fits: bool) -> None:
    source, y = Source(np.zeros(4), None, None, False), np.array([0, 0, 1, 1])
    if fits:
        kept, out = sources.split(source, y, share, 0, stratify=stratify)
        assert len(kept[1]) + len(out[1]) == 4
        assert min(len(kept[1]), len(out[1])) == 1
        return
    with pytest.raises(ValueError, match="must leave samples on both sides") as caught:
        sources.split(source, y, share, 0, stratify=stratify)
    assert str(caught.value).endswith(f"Received: validation_split={share!r}, 4 samples")


def test_pipelines_without_an_end_are_refused() -> None:
    """Their labels would be counted for ever."""
    endless = tf.data.Dataset.from_tensor_slices((np.zeros((8, 4)), np.zeros(8))).batch(4).repeat()
    with pytest.raises(ValueError, match="`train` never ends") as caught:
        read(endless)
    assert "Leave `repeat()` out" in str(caught.value)
    assert len(read(endless.take(3)).y) == 12


def test_labels_are_not_taken_for_classes_by_chance() -> None:
    """Ages, ratings and counts are whole numbers too."""
    for doubtful in (np.arange(96), np.arange(96) % 48, np.arange(96.0) % 6):
        with pytest.raises(ValueError, match="cannot tell whether these whole numbers are classes"):
            task_of_labels(doubtful, "auto", None)
    for classes in (np.arange(96) % 6, np.arange(400) % 40, [0, 1, 2]):
        assert task_of_labels(classes, "auto", None)[0].name == "multiclass"
