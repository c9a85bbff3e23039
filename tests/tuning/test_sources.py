"""Data are read as the user gave them, and cut by class into two parts without a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models import metadata
from finetunekit.tuning import sources
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


def with_contract(size: tuple[int, int] | None, *shape: int | None) -> keras.Model:
    model = model_of(*shape)
    metadata.remember(model, contract=ftk.InputContract(size=size))
    return model


@pytest.mark.parametrize(
    ("make", "size", "wanted"),
    [
        (lambda: model_of(8, 6, 3), None, (8, 6)),
        (lambda: model_of(8, 6, 3), 5, (5, 5)),
        (lambda: model_of(4), 5, (5, 5)),
        (lambda: with_contract((9, 7), None, None, 3), None, (9, 7)),
        (lambda: with_contract((9, 7), 8, None, 3), None, (9, 7)),
        (lambda: with_contract((9, 7), None, 8, 3), None, (9, 7)),
        (lambda: with_contract((9, 7), 8, 6, 3), None, (8, 6)),
        (lambda: with_contract(None, None, None, 3), None, (224, 224)),
        (lambda: model_of(None, None, 3), None, (224, 224)),
        (lambda: keras.Sequential([L.Identity()]), None, (224, 224)),
        (lambda: with_contract((9, 7), None, None, 3), 5, (5, 5)),
    ],
)
def test_the_size_of_images(make: Any, size: int | None, wanted: tuple[int, int]) -> None:
    assert sources._size(make(), size) == wanted


@pytest.mark.parametrize("shape", [(4,), (None,), (8, 8), (8, 8, 8, 3)])
def test_a_backbone_of_no_images_takes_no_folder(shape: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the backbone takes no images") as caught:
        read(tmp_path, model=model_of(*shape))
    assert str(caught.value).endswith(f"Received: a backbone with input {(None, *shape)}")


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


@pytest.mark.parametrize("name", ["train", "test_data"])
def test_a_folder_must_be_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (str(tmp_path / "none"), tmp_path / "file"):
        with pytest.raises(FileNotFoundError, match="there is no such folder") as caught:
            read(path, name=name, model=model_of(4, 4, 3))
        assert str(caught.value).startswith(f"`{name}` must be a folder")
        assert str(caught.value).endswith(f"Received: {name}={str(path)!r}")


@pytest.mark.parametrize(("folders", "told"), [([], "none"), (["cat"], "'cat'")])
def test_a_folder_needs_two_classes(folders: list[str], told: str, tmp_path: Path) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="at least two") as caught:
        read(tmp_path, model=model_of(4, 4, 3))
    assert f"Its subfolders are: {told}. Received: train=" in str(caught.value)


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
    with pytest.raises(ValueError, match="each once"):
        read(tmp_path, model=model_of(4, 4, 3), class_names="ab")


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
