"""What `fit` is told about caching is checked, and says which file is whose."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from finetunekit.caching import engines, memory, options
from finetunekit.caching.options import CacheOptions

ARGUMENTS = {
    "cache": "auto",
    "engine": "auto",
    "frozen_dropout": False,
    "deterministic": False,
    "memory_limit": 1000,
    "verbose": "auto",
}
PLAIN = {
    "cache": "auto",
    "path": None,
    "engine": "auto",
    "frozen_dropout": False,
    "deterministic": False,
    "memory_limit": 1000,
    "verbose": "auto",
    "beside": None,
    "engines_in": None,
}


def read(**given: Any) -> CacheOptions:
    return options.read(**(ARGUMENTS | given))


def test_nothing_is_asked_for_by_default() -> None:
    assert dataclasses.asdict(CacheOptions()) == PLAIN | {"memory_limit": 0}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {}),
        ({"cache": True}, {"cache": True}),
        ({"cache": False}, {"cache": False}),
        ({"cache": "f.h5"}, {"cache": True, "path": "f.h5", "engines_in": ""}),
        ({"cache": "a/b/f.hdf5"}, {"cache": True, "path": "a/b/f.hdf5", "engines_in": "a/b"}),
        ({"cache": Path("a/f.h5")}, {"cache": True, "path": "a/f.h5", "engines_in": "a"}),
        ({"engine": "keras"}, {"engine": "keras"}),
        ({"frozen_dropout": True}, {"frozen_dropout": True}),
        ({"deterministic": True}, {"deterministic": True}),
        ({"memory_limit": "2 kB"}, {"memory_limit": 2000}),
        ({"memory_limit": None}, {"memory_limit": 500}),
        ({"verbose": 0}, {"verbose": 0}),
    ],
    ids=str,
)
def test_arguments_are_read(
    given: dict[str, Any], wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1001)
    assert dataclasses.asdict(read(**given)) == PLAIN | wanted


@pytest.mark.parametrize("cache", ["", "True", "f.txt", "h5", Path("auto"), Path("f.h5.gz")])
def test_a_path_of_no_hdf5_file_is_refused(cache: Any) -> None:
    with pytest.raises(ValueError, match=r"`cache` must be 'auto', True, False, or") as caught:
        read(cache=cache)
    assert str(caught.value).endswith(f"such as 'features.h5'. Received: cache={cache!r}")


@pytest.mark.parametrize("cache", [None, 1, 0, b"f.h5", ["f.h5"]])
def test_a_cache_of_a_wrong_type_is_refused(cache: Any) -> None:
    with pytest.raises(TypeError, match=r"`cache` must be 'auto', True, False, or") as caught:
        read(cache=cache)
    assert str(caught.value).endswith(f"such as 'features.h5'. Received: cache={cache!r}")


@pytest.mark.parametrize("name", ["frozen_dropout", "deterministic"])
def test_flags_are_true_or_false(name: str) -> None:
    with pytest.raises(TypeError, match=f"`{name}` must be True or False. Received: {name}=1"):
        read(**{name: 1})


def test_engines_that_cannot_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"one of 'auto', 'keras', 'graph', 'xla', 'litert'\."):
        read(engine="torch")
    monkeypatch.setattr(engines, "available", lambda name: name != "litert")
    with pytest.raises(ValueError, match="needs the package ai-edge-litert"):
        read(engine="litert")
    assert read(engine="auto").engine == "auto"


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`memory_limit` must be.*memory_limit=0"):
        read(memory_limit=0)


@pytest.mark.parametrize(("cache", "insists"), [(True, True), (False, False), ("auto", False)])
def test_only_a_cache_that_was_asked_for_has_to_be(cache: Any, insists: bool) -> None:
    given = read(cache=cache, engine="keras")
    assert given.insists == insists
    if insists:
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # The whole text is compared.
            given.without_cache("the data are random")
        assert str(caught.value) == (
            "`cache` is not possible: the data are random. Leave it out. Received: cache=True"
        )
    else:
        wanted = PLAIN | {"cache": False, "engine": "keras"}
        assert dataclasses.asdict(given.without_cache("the data are random")) == wanted
    assert given.cache == cache


@pytest.mark.parametrize(
    ("cache", "path", "wanted"),
    [
        ("auto", "run.h5", "run.h5"),
        (True, "run.h5", "run.h5"),
        (False, "run.h5", None),
        ("own.h5", "run.h5", "own.h5"),
        ("auto", None, None),
        ("own.h5", None, "own.h5"),
    ],
)
def test_a_run_keeps_its_features_unless_the_user_does(
    cache: Any, path: str | None, wanted: str | None
) -> None:
    given = read(cache=cache)
    kept = given.kept_beside(path)
    assert kept == dataclasses.replace(given, path=wanted)


@pytest.mark.parametrize(
    ("path", "number", "wanted"),
    [
        ("a/f.h5", 0, "a/f.h5"),
        ("a/f.h5", 1, "a/f.stage2.h5"),
        ("a.b/f.c.hdf5", 2, "a.b/f.c.stage3.hdf5"),
    ],
)
def test_each_stage_has_a_file_of_its_own(path: str, number: int, wanted: str) -> None:
    given = read(cache=path)
    assert given.for_stage(number) == dataclasses.replace(given, path=wanted)
    assert read(cache=True).for_stage(number) == read(cache=True)


def test_a_file_made_beside_another_notes_its_name() -> None:
    given = read(cache="a/f.h5")
    validation = given.for_validation()
    assert validation == dataclasses.replace(given, path="a/f.validation.h5", beside="a/f.h5")
    assert validation.mark == {"beside": "f.h5"}
    assert given.mark == {}
    second = given.for_stage(1).for_validation()
    assert (second.path, second.mark) == ("a/f.stage2.validation.h5", {"beside": "f.stage2.h5"})
    assert read(cache=True).for_validation() == read(cache=True)
