"""Is bytecode of another Python told apart, without running it?"""

from __future__ import annotations

import base64
import json
import marshal
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from finetunekit.foundation import bytecode
from finetunekit.foundation.bytecode import marshalled, stack, writers

# Functions that Python 2.7 to 3.13 have compiled and marshalled, by version and name.
SAMPLES: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("bytecode_samples.json").read_text()
)
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
CASES = [(version, name) for version, functions in SAMPLES.items() for name in functions]


def sample(version: str, name: str) -> bytes:
    return base64.b64decode(SAMPLES[version][name])


@pytest.mark.parametrize(("version", "name"), CASES)
def test_the_version_is_among_those_named(version: str, name: str) -> None:
    found = writers.candidates(marshalled.read(sample(version, name)))
    assert tuple(map(int, version.split("."))) in found
    assert len(found) <= 2


@pytest.mark.parametrize(("version", "name"), CASES)
def test_it_runs_here_or_is_refused(version: str, name: str) -> None:
    same = name in ("simple", "cond") and {version, HERE} <= {"3.11", "3.12"}
    if version == HERE or same:
        function = FunctionType(bytecode.load(sample(version, name)), {})
        assert {"simple": 7.0, "cond": 3, "pos": 3}[name] == function(3)
    else:
        with pytest.raises(bytecode.Foreign, match=f"this is Python {HERE}|by Python 3"):
            bytecode.load(sample(version, name))


def many(x: Any, factor: int = 2) -> Any:
    """A function of many kinds of instructions."""
    total = [x * i for i in range(3)]
    while x < 10:
        x += factor
        if x == 5:
            break
    else:
        total = [*total, f"{x!r:>3}"]
    try:
        (first, *rest), found = total, {"a": -x, **{"b": x}}
        yield from rest
    except (KeyError, TypeError) as error:
        raise ValueError(first) from error
    finally:
        del total
    with open(found) as file:
        return (lambda line: line[0:1] if line is not None else +x)(file)


@pytest.mark.parametrize("function", [many, lambda x: x, json.loads, json.JSONEncoder.iterencode])
def test_functions_of_this_python_run(function: Any) -> None:
    found = bytecode.load(marshal.dumps(function.__code__))
    assert found == function.__code__


def test_code_that_is_cut_or_no_code_is_refused() -> None:
    whole = marshal.dumps(many.__code__)
    for data in (b"", whole[:-1], whole + b"N", b"\xff" * 40, marshal.dumps([1, 2]), b"(" * 500):
        with pytest.raises(bytecode.Foreign, match="not the code of a function"):
            bytecode.load(data)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda code: code[:2] + b"\x7c\x63" + code[4:], id="no such variable"),
        pytest.param(lambda code: code[:-2] + b"\x01\x00" + code[-2:], id="an empty stack"),
        pytest.param(lambda code: code[:-2], id="no return"),
        pytest.param(lambda code: code[:-2] + b"\xff\x00", id="no such instruction"),
        pytest.param(lambda code: code[2:], id="no beginning"),
    ],
)
def test_unsound_instructions_are_found(change: Any) -> None:
    if HERE not in ("3.11", "3.12"):
        pytest.skip("the numbers are those of Python 3.11 and 3.12")

    def double(x: Any) -> Any:
        return x * 2

    assert stack.runs_here(double.__code__)
    assert not stack.runs_here(double.__code__.replace(co_code=change(double.__code__.co_code)))


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ([], "of an unknown version"),
        ([(2, 7)], "2.7 or earlier"),
        ([(3, 9)], "3.9"),
        ([(3, 6), (3, 7)], "3.6 or 3.7"),
        ([(3, 8), (3, 9), (3, 10)], "3.8, 3.9 or 3.10"),
        ([(3, 14)], "3.14 or later"),
    ],
)
def test_versions_in_words(versions: list[tuple[int, int]], words: str) -> None:
    assert writers.listed(versions) == words
