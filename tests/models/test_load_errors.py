"""Does the message about a file of Keras 3 say what is wrong, and only that?"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import pytest

import finetunekit as ftk
from finetunekit.models import load_errors

registered = keras.saving.register_keras_serializable("theirs")


@registered
class Outer(keras.layers.Layer):
    """A layer of a package."""

    def call(self, x: Any) -> Any:
        return x + 1.0


@registered
class Inner(Outer):
    """Another one."""


@registered
class Start(keras.initializers.Initializer):
    """An initializer of the package."""

    def __call__(self, shape: Any, dtype: Any = None, **options: Any) -> Any:
        return keras.ops.ones(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        return {}


CLASSES = {kind.__name__: kind for kind in (Outer, Inner, Start)}


@pytest.fixture(params=[".keras", ".h5"])
def path(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with classes that nobody has registered."""
    inner = keras.Sequential([keras.Input((2,)), Inner()])
    dense = keras.layers.Dense(2, kernel_initializer=Start())
    file = tmp_path / f"model{request.param}"
    keras.Sequential([keras.Input((2,)), Outer(), inner, dense]).save(file)
    known = keras.saving.get_custom_objects()
    for name in CLASSES:
        monkeypatch.delitem(known, f"theirs>{name}")
    return file


def test_all_unknown_classes_are_named_at_once(path: Path) -> None:
    with pytest.raises(ValueError, match="classes and functions that it needs") as caught:
        ftk.load_backbone(path)
    wanted = "custom_objects={'Outer': Outer, 'Inner': Inner, 'Start': Start}"
    assert wanted in str(caught.value)
    assert "damaged" not in str(caught.value)
    assert "safe_mode" not in str(caught.value)
    with pytest.raises(ValueError, match=r"\{'Start': Start\} \(given: 'Outer', 'Inner'\)"):
        ftk.load_backbone(path, custom_objects={"Outer": Outer, "theirs>Inner": Inner})


@pytest.mark.parametrize("prefix", ["", "theirs>", "other>"])
def test_classes_are_given_by_short_and_long_names(prefix: str, path: Path) -> None:
    given = {f"{prefix}{name}": kind for name, kind in CLASSES.items()}
    loaded = ftk.load_backbone(path, custom_objects=given)
    assert [type(layer) for layer in loaded.layers[:1]] == [Outer]


def test_a_damaged_file_is_called_so(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises((ValueError, OSError), match="truncated"):
        ftk.load_backbone(path)
    assert not load_errors.is_whole(str(path))


def test_a_whole_file_of_another_version_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="d")]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["units"] = -2
    members["config.json"] = json.dumps(config).encode()
    members["metadata.json"] = members["metadata.json"].replace(keras.version().encode(), b"9.9.9")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"written by Keras 9\.9\.9.*itself is whole") as caught:
        ftk.load_backbone(path)
    assert "Received an invalid value for `units`" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_an_archive_without_a_member_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for gone in ("config.json", "model.weights.h5"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                if name != gone:
                    archive.writestr(name, content)
        with pytest.raises(ValueError, match=f"an archive without '{gone}'.*again"):
            ftk.load_backbone(path)
