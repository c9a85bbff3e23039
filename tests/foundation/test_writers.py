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


@pytest.mark.parametrize(
    ("opcodes", "versions", "ambiguous"),
    [
        ([83], [(3, 11), (3, 12)], False),
        ([173], [(3, 11), (3, 12)], True),  # What it does differs between these versions.
        ([173, 10], [(3, 11)], False),  # 3.12 has no instruction 10.
    ],
)
def test_code_that_several_versions_read_otherwise_is_ambiguous(
    opcodes: list[int], versions: list[writers.Version], ambiguous: bool
) -> None:
    resume = 151
    units = bytes(byte for opcode in (resume, *opcodes) for byte in (opcode, 0))
    code = marshalled.Code((3, 11), units, b"", ())
    assert writers.candidates(code) == versions
    assert writers.is_ambiguous(code) is ambiguous


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
