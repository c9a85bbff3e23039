"""Do hostile and damaged HDF5 files end in an error of ours, and whole ones read as they are?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

from finetunekit.backbones import hdf5
from models import small_backbone

Write = Callable[[h5py.File], object]


def written(path: Path, write: Write) -> str:
    with h5py.File(path, "w") as file:
        write(file)
    return str(path)


def with_numbers(path: Path) -> Path:
    written(path, lambda file: file.create_dataset("x", data=np.arange(4, dtype="float32")))
    return path


def external_storage(file: h5py.File) -> None:
    file.create_dataset("x", (4,), dtype="f4", external=[(f"{file.filename}.raw", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(f"{file.filename}.other", "x", (4,))
    file.create_virtual_dataset("x", layout)


def soft_loop(file: h5py.File) -> None:
    file["a/b"], file["a/c"] = h5py.SoftLink("/a/c"), h5py.SoftLink("/a/b")


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (lambda f: f.update({"g/x": h5py.ExternalLink("other.h5", "/x")}), "'/g/x' is a link to"),
        (lambda f: f.update({"x": h5py.SoftLink("/nowhere")}), "leads nowhere"),
        (soft_loop, "leads nowhere"),
        (external_storage, "are in another file"),
        (virtual, "are in another file"),
    ],
    ids=["external link", "dangling", "loop", "external storage", "virtual"],
)
def test_what_leads_out_of_the_file_is_refused(tmp_path: Path, write: Write, fault: str) -> None:
    with_numbers(tmp_path / "other.h5")
    path = written(tmp_path / "a.h5", write)
    with pytest.raises(ValueError, match=f"`source` is refused: .*{fault}.*Received: source="):
        hdf5.open_checked(path, "source").__enter__()


def test_no_other_file_is_opened_on_the_way_to_a_refusal(tmp_path: Path) -> None:
    # A soft link through an external one would open the other file if it were followed first.
    os.mkfifo(tmp_path / "other.h5")  # Opening it would wait for ever.
    path = written(
        tmp_path / "a.h5",
        lambda f: f.update({"z": h5py.ExternalLink("other.h5", "/"), "a": h5py.SoftLink("/z/x")}),
    )
    with pytest.raises(ValueError, match="link to another file"):
        hdf5.open_checked(path, "source").__enter__()
    with pytest.raises(OSError, match="must be an ordinary file"):
        hdf5.open_checked(str(tmp_path / "other.h5"), "source").__enter__()


def test_groups_in_a_circle_are_walked_once_and_honest_soft_links_are_followed(
    tmp_path: Path,
) -> None:
    def write(file: h5py.File) -> None:
        file["g/x"] = np.ones(3)
        file["g/itself"] = file["g"]
        file["same"] = h5py.SoftLink("/g/x")

    with hdf5.open_checked(written(tmp_path / "a.h5", write), "source") as file:
        assert hdf5.array(file, "same", shape=(3,), name="source").tolist() == [1, 1, 1]


def test_too_many_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_LINKS", 10)
    path = written(tmp_path / "a.h5", lambda f: [f.create_group(f"g{n}") for n in range(11)])
    with pytest.raises(ValueError, match="more than 10 links"):
        hdf5.open_checked(path, "source").__enter__()


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (lambda f: f.create_dataset("x", (10**12,), dtype="f4"), "declares 4,000,000,000,000 b"),
        (
            lambda f: f.create_dataset("x", (10**12,), dtype="f4", chunks=(1000,)),
            "declares 4,000,000,000,000 bytes and 0 are there",
        ),
        (
            lambda f: f.create_dataset("x", (9,), "f4", maxshape=(None,), chunks=(2**28,)),
            "declares 1,073,741,824 bytes",
        ),
        (lambda f: f.create_dataset("x", (2,), dtype=h5py.ref_dtype), "holds object, not numbers"),
        (lambda f: f.create_dataset("x", data=[b"text"]), "not numbers"),
        (lambda f: f.create_dataset("x", data=h5py.Empty("f4")), "not numbers"),
        (lambda f: f.create_group("x"), "has no data set 'x'"),
        (lambda f: f.create_group("y"), "has no data set 'x'"),
    ],
    ids=["unwritten", "chunks", "one chunk", "reference", "text", "empty", "group", "none"],
)
def test_data_sets_that_are_refused(tmp_path: Path, write: Write, fault: str) -> None:
    path = written(tmp_path / "a.h5", write)
    with (
        hdf5.open_checked(path, "source") as file,
        pytest.raises(ValueError, match=f"{fault}.*Received: source="),
    ):
        hdf5.array(file, "x", shape=None, name="source")


def test_a_shape_is_compared_before_anything_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", lambda f: f.create_dataset("x", (10**9, 4), dtype="f4"))
    with hdf5.open_checked(path, "weights") as file:
        with pytest.raises(ValueError, match=r"\(1000000000, 4\); expected is \(3,\)"):
            hdf5.array(file, "x", shape=(3,), name="weights")
        assert hdf5.shape_of(file, "x", name="weights") == (10**9, 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_numbers_come_as_they_are_stored(tmp_path: Path, dtype: str) -> None:
    values = np.array([[0, 1, 2], [3, 0, 5]]).astype(dtype)
    path = written(tmp_path / "a.h5", lambda f: f.create_dataset("g/x", data=values))
    with hdf5.open_checked(path, "source") as file:
        read = hdf5.array(hdf5.child(file, "g"), "x", shape=(2, 3), name="source")
    assert read.dtype == dtype
    assert np.array_equal(read, values)


def test_bfloat16_and_packed_zeros_are_read(tmp_path: Path) -> None:
    half = np.array([1.5, -2], "float32").astype(ml_dtypes.bfloat16)

    def write(file: h5py.File) -> None:
        file["half"], file["one"] = half, np.float32(2)
        file.create_dataset("zeros", data=np.zeros(10**7, "f4"), compression="gzip")

    with hdf5.open_checked(written(tmp_path / "a.h5", write), "source") as file:
        read = hdf5.array(file, "half", shape=(2,), name="source")
        assert read.dtype == ml_dtypes.bfloat16
        assert read.tolist() == [1.5, -2]
        assert hdf5.array(file, "one", shape=(), name="source") == 2
        assert not hdf5.array(file, "zeros", shape=None, name="source").any()


def test_lists_of_names_are_joined(tmp_path: Path) -> None:
    names = [f"layer_{number:04}" for number in range(3000)]

    def write(file: h5py.File) -> None:
        file.attrs["whole"], file.attrs["texts"], file.attrs["none"] = [b"a", b"bc"], ["a"], []
        for number, part in enumerate(np.array_split(np.array(names, "S"), 4)):
            file.attrs[f"split{number}"] = part

    with hdf5.open_checked(written(tmp_path / "a.h5", write), "source") as file:
        assert hdf5.attribute_list(file, "whole") == ["a", "bc"]
        assert hdf5.attribute_list(file, "texts") == ["a"]
        assert hdf5.attribute_list(file, "none") == hdf5.attribute_list(file, "absent") == []
        assert hdf5.attribute_list(file, "split") == names


@pytest.mark.parametrize(
    "value", [np.arange(3), np.array([[b"a"]]), np.full(2, b"\xff")], ids=["numbers", "2d", "bytes"]
)
def test_other_attributes_are_no_lists_of_names(tmp_path: Path, value: object) -> None:
    path = written(tmp_path / "a.h5", lambda f: f.attrs.update({"names": value}))
    with hdf5.open_checked(path, "source") as file:
        with pytest.raises(ValueError, match=r"'names' is not .*Received: source="):
            hdf5.attribute_list(file, "names")
        with pytest.raises(ValueError, match="'names' is not text"):
            hdf5.attribute_text(file, "names")


def test_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "MOST_NAMES", 3)
    path = written(
        tmp_path / "a.h5", lambda f: f.attrs.update({f"names{n}": ["a", "b"] for n in range(3)})
    )
    with (
        hdf5.open_checked(path, "source") as file,
        pytest.raises(ValueError, match="more than 3 names"),
    ):
        hdf5.attribute_list(file, "names")


def test_texts(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", lambda f: f.attrs.update({"a": "é", "b": b"{}", "c": 3}))
    with hdf5.open_checked(path, "source") as file:
        assert hdf5.attribute_text(file, "a") == "é"
        assert hdf5.attribute_text(file, "b") == "{}"
        assert hdf5.attribute_text(file, "absent") is None
        with pytest.raises(ValueError, match="'c' is not text"):
            hdf5.attribute_text(file, "c")


def read_all(path: str) -> None:
    with hdf5.open_checked(path, "source") as file:
        found: list[str] = []
        file.visititems(
            lambda key, item: found.append(key) if isinstance(item, h5py.Dataset) else 0
        )
        for key in found:
            hdf5.array(file, key, shape=None, name="source")


def test_a_file_cut_short_anywhere_is_an_error_in_words(tmp_path: Path) -> None:
    whole = tmp_path / "whole.weights.h5"
    small_backbone().save_weights(whole)
    read_all(str(whole))
    content = whole.read_bytes()
    for number in range(20):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(content[: len(content) * number // 20])
        with pytest.raises(
            OSError, match=r"`source` (is empty|cannot be read as HDF5).*Received: source="
        ):
            read_all(str(cut))


def test_bytes_changed_anywhere_raise_only_errors_of_ours(tmp_path: Path) -> None:
    whole = tmp_path / "whole.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(whole)
    content = np.frombuffer(whole.read_bytes(), "uint8")
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = content.copy()
        changed[random.integers(len(content), size=8)] = random.integers(256, size=8)
        (tmp_path / "changed.h5").write_bytes(changed.tobytes())
        try:
            read_all(str(tmp_path / "changed.h5"))
        except (OSError, ValueError) as error:
            assert "Received: source=" in str(error)  # noqa: PT017, many of them still read


def test_errors_of_the_reader_stay_what_they_are(tmp_path: Path) -> None:
    path = with_numbers(tmp_path / "a.h5")
    with pytest.raises(KeyError, match="mine"), hdf5.open_checked(str(path), "source"):
        raise KeyError("mine")
    with pytest.raises(FileNotFoundError, match="`weights` is not there"):
        hdf5.open_checked(str(tmp_path / "b.h5"), "weights").__enter__()
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(OSError, match="`weights` cannot be read as HDF5"):
        hdf5.open_checked(str(tmp_path / "text.h5"), "weights").__enter__()
