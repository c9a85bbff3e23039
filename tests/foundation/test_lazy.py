"""Are names loaded when they are first used, and only then?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from finetunekit.foundation import lazy, messages

HOMES = {"foundation.messages": ["say", "listed"], "foundation.plots": ["plots_nothing"]}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("finetunekit_toy")
    made.own = 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "finetunekit_toy", made)
    return made


@pytest.fixture
def attached(package: ModuleType) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    return lazy.attach("finetunekit_toy", HOMES, ["inner"])


def test_a_name_comes_from_its_home_and_stays(
    package: ModuleType, attached: tuple[Callable[[str], Any], Any]
) -> None:
    find, _ = attached
    assert "say" not in vars(package)
    assert find("say") is messages.say
    assert vars(package)["say"] is messages.say, "the next use does not ask"
    assert "listed" not in vars(package)


def test_a_submodule_is_imported(
    package: ModuleType,
    attached: tuple[Callable[[str], Any], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = ModuleType("finetunekit_toy.inner")
    monkeypatch.setitem(sys.modules, "finetunekit_toy.inner", inner)
    assert attached[0]("inner") is inner


def test_other_names_are_attribute_errors(attached: tuple[Callable[[str], Any], Any]) -> None:
    with pytest.raises(AttributeError, match="'finetunekit_toy' has no attribute 'sai'"):
        attached[0]("sai")
    with pytest.raises(AttributeError, match="plots_nothing"):
        attached[0]("plots_nothing")


def test_all_names_are_listed_unloaded(
    package: ModuleType, attached: tuple[Any, Callable[[], list[str]]]
) -> None:
    names = attached[1]()
    assert [n for n in names if n[:2] != "__"] == ["inner", "listed", "own", "plots_nothing", "say"]
    assert names == sorted(names)
    assert "say" not in vars(package)
