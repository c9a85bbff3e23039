"""Which versions of Python may have written some bytecode?"""

from __future__ import annotations

import pytest

from bytecode_samples import CASES, sample
from finetunekit.foundation.bytecode import marshalled, writers


@pytest.mark.parametrize(("version", "name"), CASES)
def test_the_version_is_among_those_named(version: str, name: str) -> None:
    found = writers.candidates(marshalled.read(sample(version, name)))
    assert tuple(map(int, version.split("."))) in found
    assert len(found) <= 2


def test_code_of_several_versions_that_differ_in_meaning_is_ambiguous() -> None:
    # RESUME, an opcode that 3.11 and 3.12 read differently, and one that they share.
    units = {opcode: bytes([151, 0, opcode, 0]) for opcode in (173, 83)}
    codes = {opcode: marshalled.Code((3, 11), unit, b"", ()) for opcode, unit in units.items()}
    assert writers.candidates(codes[83]) == [(3, 11), (3, 12)]
    assert not writers.is_ambiguous(codes[83])
    both = writers.candidates(codes[173])
    assert writers.is_ambiguous(codes[173]) == (len(both) == 2)


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
