"""Files say in words what is wrong with them, and the member that `save` adds comes back."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.models import metadata, optimizer_state, saved_files
from finetunekit.text import tokenizer as tokenizers
from finetunekit.text.packing import Layout
from finetunekit.text.tokenizer import Tokenizer
from finetunekit.text.wordpiece import WordPiece

L = keras.layers
LARGEST_MEMBER = 16 * 2**20
LARGEST_TOKENIZER = 256 * 2**20
TOKENIZER = Tokenizer(
    encoder=WordPiece(["[PAD]", "[UNK]", "fine", "##tune"]), layout=Layout(end=1), max_length=5
)


def archive(path: Path, members: dict[str, Any], sizes: dict[str, int] | None = None) -> str:
    """Writes members; of those in `sizes` the table of contents says another size."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        for name, size in (sizes or {}).items():
            file.getinfo(name).file_size = size
    return str(path)


def spoilt(path: Path, members: dict[str, Any], compression: int = zipfile.ZIP_STORED) -> str:
    """An archive whose members' content was changed after it was written."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
        starts = [(i.header_offset + 30 + len(i.filename), i.compress_size) for i in file.filelist]
    content = bytearray(path.read_bytes())
    for start, size in starts:
        content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    return str(path)


def model() -> keras.Sequential:
    return keras.Sequential([L.Dense(1, name="top")], name="model")


class TestReadingTheMember:
    def test_it_is_given_as_it_is(self, tmp_path: Path) -> None:
        record = {"version": 1, "task": None, "more": [1, {"a": 2.5}]}
        path = archive(tmp_path / "m.keras", {"finetunekit.json": json.dumps(record)})
        assert saved_files.read_member(path, "model") == record

    def test_a_file_of_plain_keras_has_none(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.keras", {"config.json": "{}", "other/finetunekit.json": "{}"})
        assert saved_files.read_member(path, "model") is None

    @pytest.mark.parametrize("record", [[], "text", {}, {"version": "1"}, {"version": None}])
    def test_a_record_without_a_version_is_damaged(self, record: Any, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.keras", {"finetunekit.json": json.dumps(record)})
        with pytest.raises(ValueError, match="damaged") as error:
            saved_files.read_member(path, "model")
        assert str(error.value) == (
            "`model` holds a damaged finetunekit.json. Save the model again, or load it with plain "
            f"Keras. Received: model={path!r}"
        )

    def test_a_record_of_a_newer_version_is_told(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.keras", {"finetunekit.json": '{"version": 2}'})
        with pytest.raises(ValueError, match=r"^`backbone` was saved by a newer finetunekit\. Up"):
            saved_files.read_member(path, "backbone")

    def test_an_older_version_is_read(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "m.keras", {"finetunekit.json": '{"version": 0}'})
        assert saved_files.read_member(path, "model") == {"version": 0}

    def test_a_member_that_declares_too_much_is_not_read(self, tmp_path: Path) -> None:
        members = {"finetunekit.json": '{"version": 1}'}
        path = archive(tmp_path / "m.keras", members, {"finetunekit.json": LARGEST_MEMBER})
        assert saved_files.read_member(path, "model") == {"version": 1}
        path = archive(tmp_path / "m.keras", members, {"finetunekit.json": LARGEST_MEMBER + 1})
        with pytest.raises(ValueError, match=r"\(ValueError: its size is absurd\)\. Copy or save"):
            saved_files.read_member(path, "model")

    def test_an_archive_that_writes_outside_of_its_folder_is_refused(self, tmp_path: Path) -> None:
        members = {"finetunekit.json": '{"version": 1}', "../other.json": "{}"}
        path = archive(tmp_path / "m.keras", members)
        with pytest.raises(ValueError, match=r"^`model` is refused: .*outside of its folder"):
            saved_files.read_member(path, "model")

    @pytest.mark.parametrize("kind", ["no archive", "no JSON", "changed", "packed and changed"])
    def test_damage_is_told_with_a_remedy(self, kind: str, tmp_path: Path) -> None:
        target = tmp_path / "m.keras"
        members = {"finetunekit.json": json.dumps({"version": 1, "more": "x" * 100})}
        if kind == "no archive":
            target.write_bytes(b"no zip")
        elif kind == "no JSON":
            archive(target, {"finetunekit.json": "{"})
        else:
            packed = zipfile.ZIP_STORED if kind == "changed" else zipfile.ZIP_DEFLATED
            spoilt(target, members, packed)
        words = {
            "no archive": "BadZipFile: File is not a zip file",
            "no JSON": "JSONDecodeError: Expecting property name",
            "changed": "BadZipFile: Bad CRC-32",
            "packed and changed": "error: Error -3",
        }[kind]
        with pytest.raises(ValueError, match="corrupt, truncated, or of another kind") as error:
            saved_files.read_member(str(target), "model")
        assert f"({words}" in str(error.value)
        assert str(error.value).endswith(f"Copy or save it again. Received: model={str(target)!r}")


class TestVersionOfKeras:
    @pytest.mark.parametrize(("version", "expected"), [("3.15.0", "3.15.0"), (3, "3")])
    def test_it_is_read(self, version: Any, expected: str, tmp_path: Path) -> None:
        record = json.dumps({"keras_version": version})
        path = archive(tmp_path / "m.keras", {"metadata.json": record})
        assert saved_files.written_by(path) == expected

    @pytest.mark.parametrize(
        "members",
        [
            {},
            {"metadata.json": "{}"},
            {"metadata.json": "{"},
            {"metadata.json": "[]"},
            {"metadata.json": b"\xff\xfe\xff"},
        ],
    )
    def test_it_is_empty_where_none_is_told(self, members: dict, tmp_path: Path) -> None:
        assert saved_files.written_by(archive(tmp_path / "m.keras", members)) == ""

    def test_it_is_empty_for_what_is_no_archive(self, tmp_path: Path) -> None:
        assert saved_files.written_by(str(tmp_path / "missing.keras")) == ""
        (tmp_path / "text.keras").write_text("text")
        assert saved_files.written_by(str(tmp_path / "text.keras")) == ""
        members = {"metadata.json": '{"keras_version": "3.15.0"}'}
        for packed in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            assert saved_files.written_by(spoilt(tmp_path / "m.keras", members, packed)) == ""


def written(path: Path, of: keras.Model) -> str:
    with zipfile.ZipFile(path, "w") as file:
        saved_files.write(of, file)
    return str(path)


class TestWritingAndApplying:
    def test_the_member_is_the_record_with_its_version(self, tmp_path: Path) -> None:
        known = model()
        metadata.remember(known, origin={"name": "a"}, head=known.layers[0])
        with zipfile.ZipFile(written(tmp_path / "m.keras", known)) as file:
            assert file.namelist() == ["finetunekit.json"]
            record = json.loads(file.read("finetunekit.json"))
        assert record["version"] == 1
        assert (record["origin"], record["head"]) == ({"name": "a"}, "top")
        assert record["tokenizer"] is False

    def test_a_tokenizer_has_packed_files_of_its_own(self, tmp_path: Path) -> None:
        known = model()
        metadata.remember(known, tokenizer=TOKENIZER)
        with zipfile.ZipFile(written(tmp_path / "m.keras", known)) as file:
            assert file.read("finetunekit_tokenizer/vocab.txt") == b"[PAD]\n[UNK]\nfine\n##tune"
            settings = json.loads(file.read("finetunekit_tokenizer/tokenizer.json"))
            assert (settings["class"], settings["max_length"]) == ("WordPiece", 5)
            assert json.loads(file.read("finetunekit.json"))["tokenizer"] is True
            packed = {info.filename: info.compress_type for info in file.infolist()}
        assert packed == {
            "finetunekit.json": zipfile.ZIP_STORED,
            "finetunekit_tokenizer/vocab.txt": zipfile.ZIP_DEFLATED,
            "finetunekit_tokenizer/tokenizer.json": zipfile.ZIP_DEFLATED,
        }

    def test_what_was_written_comes_back(self, tmp_path: Path) -> None:
        known, new = model(), model()
        metadata.remember(known, origin={"name": "a"}, head=known.layers[0], tokenizer=TOKENIZER)
        path = written(tmp_path / "m.keras", known)
        record = saved_files.read_member(path, "model")
        assert record is not None
        saved_files.apply(new, record, path, "model")
        found = metadata.of(new)
        assert (found.origin, found.head) == ({"name": "a"}, new.layers[0])
        assert found.tokenizer.encoder.encode("Finetune") == [2, 3]
        assert (found.tokenizer.layout, found.tokenizer.max_length) == (Layout(end=1), 5)

    def test_arrays_come_back_from_their_members(self, tmp_path: Path) -> None:
        known, new = (
            keras.Sequential([keras.Input((2,)), L.Dense(1, name="top")]) for _ in range(2)
        )
        for each in (known, new):
            each.compile(keras.optimizers.SGD(momentum=0.5))
        kernel = known.layers[0].kernel
        optimizer_state.stash(known.optimizer, [(kernel, {"momentums": np.array([[1], [2.5]])})])
        path = written(tmp_path / "m.keras", known)
        record = saved_files.read_member(path, "model")
        assert record is not None
        saved_files.apply(new, record, path, "model")
        found = optimizer_state.stashed(new.optimizer)[id(new.layers[0].kernel)]
        assert found["momentums"].tolist() == [[1.0], [2.5]]

    def test_a_tokenizer_is_read_only_if_the_record_has_one(self, tmp_path: Path) -> None:
        known = model()
        metadata.remember(known, tokenizer=TOKENIZER)
        path = written(tmp_path / "m.keras", known)
        record = saved_files.read_member(path, "model")
        assert record is not None
        saved_files.apply(known, record | {"tokenizer": False}, path, "model")
        assert metadata.of(known).tokenizer is None
        without = archive(tmp_path / "without.keras", {"vocab.txt": "a"})
        saved_files.apply(known, record, without, "model")
        assert metadata.of(known).tokenizer is None

    def test_a_record_of_other_layers_is_told(self, tmp_path: Path) -> None:
        path = written(tmp_path / "m.keras", model())
        record = saved_files.read_member(path, "model")
        assert record is not None
        with pytest.raises(ValueError, match="does not fit") as error:
            saved_files.apply(model(), record | {"augmentation": ["gone"]}, path, "model")
        assert str(error.value) == (
            "`model` holds a finetunekit.json that does not fit its model (KeyError: 'gone'). Save "
            f"the model again, or load it with plain Keras. Received: model={path!r}"
        )


class TestTokenizers:
    def record(self) -> dict[str, Any]:
        return {
            "task": None,
            "backbone": None,
            "head": None,
            "contract": None,
            "origin": {},
            "tokenizer": True,
            "preprocessing_layers": {},
            "augmentation": [],
            "frozen_variables": {},
            "choices": None,
        }

    def files(self) -> dict[str, bytes]:
        return {f"finetunekit_tokenizer/{k}": v for k, v in TOKENIZER.files().items()}

    def refusal(self, path: str) -> str:
        with pytest.raises(ValueError, match="tokenizer that cannot be read") as error:
            saved_files.apply(model(), self.record(), path, "model")
        return str(error.value)

    def test_one_whose_package_is_missing_is_left_out_with_a_word(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def missing(files: dict[str, bytes]) -> None:
            raise ImportError("no such package")

        monkeypatch.setattr(tokenizers, "from_files", missing)
        path, known = archive(tmp_path / "m.keras", self.files()), model()
        saved_files.apply(known, self.record(), path, "model")
        assert metadata.of(known).tokenizer is None
        assert caplog.messages == [
            f"{path} holds a tokenizer that cannot be made here: no such package"
        ]

    def test_damage_is_told_with_a_remedy(self, tmp_path: Path) -> None:
        files = self.files() | {"finetunekit_tokenizer/tokenizer.json": b"{"}
        path = archive(tmp_path / "m.keras", files)
        text = self.refusal(path)
        assert text.startswith("`model` holds a tokenizer that cannot be read (JSONDecodeError: ")
        assert text.endswith(
            f"Save the model again, or load it with plain Keras. Received: model={path!r}"
        )
        for packed, words in ((zipfile.ZIP_STORED, "BadZipFile"), (zipfile.ZIP_DEFLATED, "error")):
            assert f"({words}: " in self.refusal(spoilt(tmp_path / "s", self.files(), packed))

    def test_files_that_declare_too_much_together_are_not_read(self, tmp_path: Path) -> None:
        one, other = self.files()
        known = model()
        sizes = {one: LARGEST_TOKENIZER - 100, other: 100}
        path = archive(tmp_path / "m.keras", self.files() | {"config.json": "{}"}, sizes)
        saved_files.apply(known, self.record(), path, "model")
        assert metadata.of(known).tokenizer.encoder.vocabulary == TOKENIZER.encoder.vocabulary
        sizes[other] += 1
        path = archive(tmp_path / "m.keras", self.files(), sizes)
        assert "(ValueError: the size of its tokenizer is absurd)" in self.refusal(path)


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> list[dict[str, Any]]:
    """Has Keras fail to load, once for each error; None is a success. Gives what it was asked."""
    asked: list[dict[str, Any]] = []

    def load_model(path: str, **options: Any) -> str:
        asked.append({"path": path, **options})
        error = errors[len(asked) - 1]
        if error is not None:
            raise error
        return "a model"

    monkeypatch.setattr(keras.saving, "load_model", load_model)
    return asked


class TestReadingAModel:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        (tmp_path / "m.keras").write_bytes(b"no model")
        return str(tmp_path / "m.keras")

    def test_keras_is_asked_as_told(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = failing(monkeypatch, None, None)
        objects = {"Mine": int}
        assert saved_files.read_model(path, "model") == "a model"
        saved_files.read_model(
            path, "model", custom_objects=objects, safe_mode=False, compile=False
        )
        assert asked == [
            {"path": path, "custom_objects": {}, "safe_mode": True, "compile": True},
            {"path": path, "custom_objects": objects, "safe_mode": False, "compile": False},
        ]

    def test_a_model_far_larger_than_its_file_is_not_loaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = failing(monkeypatch, None)
        config = {"class_name": "Unknown", "config": {"units": 10**6}}
        path = archive(tmp_path / "large.keras", {"config.json": json.dumps(config)})
        with pytest.raises(ValueError, match="its model needs 4,000,000,000,000 bytes"):
            saved_files.read_model(path, "model")
        assert asked == []

    def test_a_model_that_cannot_be_compiled_comes_uncompiled_with_a_word(
        self, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked = failing(monkeypatch, TypeError("no such loss"), None)
        found = saved_files.read_model(path, "model", custom_objects={"a": 1}, safe_mode=False)
        assert found == "a model"
        assert [row["compile"] for row in asked] == [True, False]
        assert asked[1] | {"compile": True} == asked[0]
        assert caplog.messages == [f"{path}: loaded without its compile() settings (no such loss)"]

    def test_nothing_is_said_of_compiling_if_it_cannot_be_loaded_at_all(
        self, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        last = OSError("second")
        failing(monkeypatch, OSError("first"), last)
        with pytest.raises(ValueError, match=r"Keras says: OSError: second\. ") as error:
            saved_files.read_model(path, "model")
        assert error.value.__cause__ is last
        assert caplog.messages == []

    def test_a_file_that_may_not_be_read_is_told_as_such(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = failing(monkeypatch, PermissionError("not yours"))
        with pytest.raises(PermissionError, match=r"^not yours$"):
            saved_files.read_model(path, "model")
        assert len(asked) == 1

    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (KeyError(), "KeyError: KeyError"),
            (OSError("\n \n first \nsecond"), "OSError: first"),
            (ValueError("A total of 2 objects"), "ValueError: A total of 2 objects"),
            (ValueError("ab" * 301), "ValueError: " + "ab" * 298 + "a..."),
        ],
    )
    def test_the_error_shows_what_keras_says(
        self, error: Exception, says: str, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing(monkeypatch, error)
        with pytest.raises(ValueError, match="cannot be loaded") as found:
            saved_files.read_model(path, "backbone", compile=False)
        assert str(found.value) == (
            "`backbone` cannot be loaded as a Keras model. It is damaged or truncated: copy or "
            f"download it again. Keras says: {says}. Received: backbone={path!r}"
        )


def test_json_that_is_nested_too_deeply_is_damage(tmp_path: Path) -> None:
    deep = {name: "[" * 100_000 for name in ("finetunekit.json", "metadata.json")}
    path = archive(tmp_path / "m.keras", deep)
    with pytest.raises(ValueError, match=r"not a complete '\.keras' archive.*RecursionError"):
        saved_files.read_member(path, "model")
    assert saved_files.written_by(path) == ""
