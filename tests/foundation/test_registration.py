"""Are our objects registered once Keras is there, and is it left alone until then?"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import keras
import pytest

from finetunekit.foundation import registration


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    found = list(sys.meta_path)
    monkeypatch.setattr(sys, "meta_path", found)
    return found


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What has been registered: nothing, in place of importing modules."""
    calls: list[int] = []
    monkeypatch.setattr(registration, "_register", lambda: calls.append(1))
    return calls


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module named keras that is not there yet."""
    (folder / "keras.py").write_text("toy = True\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "keras")
    importlib.invalidate_caches()


def test_with_keras_there_it_is_done_at_once(finders: list[object], registered: list[int]) -> None:
    before = list(finders)
    registration.register_with_keras()
    assert registered == [1]
    assert finders == before


def test_without_keras_it_waits_for_it(
    tmp_path: Path,
    finders: list[object],
    registered: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = sys.modules["keras"]
    stand_in(tmp_path, monkeypatch)
    before = list(finders)
    registration.register_with_keras()
    registration.register_with_keras()
    assert len(finders) == len(before) + 1, "one waits, however often it is asked for"
    importlib.import_module("colorsys")
    assert not registered
    toy = importlib.import_module("keras")
    assert isinstance(toy, ModuleType)
    assert toy.toy
    assert registered == [1]
    assert finders == before, "who has waited is gone"
    assert not isinstance(toy.__spec__.loader, registration.importlib.abc.MetaPathFinder)
    assert type(toy.__spec__.loader).__name__ == "SourceFileLoader", "Keras keeps its own loader"
    monkeypatch.setitem(sys.modules, "keras", own)


def test_a_module_of_ours_that_is_imported_first_is_whole_before_others_are(
    finders: list[object], registered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "keras")
    before = list(finders)
    registration.register_with_keras()
    waiting = finders[0]
    assert waiting.find_spec("finetunekit.foundation.lazy", None) is None  # type: ignore[attr-defined]
    assert not registered
    spec = waiting.find_spec("finetunekit.models", None)  # type: ignore[attr-defined]
    assert not registered, "it is not loaded yet"
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert registered == [1]
    assert finders == before, "who has waited is gone"


def test_all_modules_that_register_are_named() -> None:
    package = Path(registration.__file__).parents[1]
    using = {
        ".".join(("finetunekit", *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if "@keras.saving.register_keras_serializable" in path.read_text("utf-8")
    }
    assert using == set(registration.REGISTERING)
    for name in registration.REGISTERING:
        importlib.import_module(name)
    assert "finetunekit>SavedModelLayer" in keras.saving.get_custom_objects()
