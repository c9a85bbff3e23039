"""Is marshalled code of any version of Python read, without making or running anything?"""

from __future__ import annotations

import marshal
from typing import Any

import pytest

from bytecode_samples import CASES, sample
from finetunekit.foundation.bytecode import marshalled


@pytest.mark.parametrize(("version", "name"), CASES)
def test_layouts(version: str, name: str) -> None:
    major, minor = map(int, version.split("."))
    found = marshalled.read(sample(version, name))
    layouts = [(3, 11), (3, 8), (3, 0), (2, 0)]
    assert found.layout == next(layout for layout in layouts if layout <= (major, minor))


def test_it_holds_what_python_reads() -> None:
    def outer(x: Any, /, y: Any = 2.5, *more: Any, z: Any = 1j) -> Any:
        """Text, \u00e9."""
        big, names = 10**30, {"a": b"bytes", "b": (None, True, ..., -7)}
        return lambda: [x + big for _ in (y, z, names, more, frozenset({"c", "d"}))]

    def compare(found: marshalled.Code, code: Any) -> None:
        assert found.code == code.co_code
        inner = [value for value in code.co_consts if hasattr(value, "co_code")]
        assert len(found.inner) == len(inner)
        for one, other in zip(found.inner, inner, strict=True):
            compare(one, other)

    for version in (2, 3, 4):
        compare(marshalled.read(marshal.dumps(outer.__code__, version)), outer.__code__)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "nothing"),
        (marshal.dumps(test_layouts.__code__)[:-3], "cut"),
        (marshal.dumps(test_layouts.__code__) + b"N", "more"),
        (marshal.dumps(["not", "code"]), "no code"),
        (b"(" + (2**31 - 1).to_bytes(4, "little"), "declares more than it holds"),
        (b"(\x01\x00\x00\x00" * 500 + b"N", "too deep"),
        (b"r\x05\x00\x00\x00", "a reference to nothing"),
        (b"?", "an unknown kind"),
    ],
)
def test_anything_else_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(marshalled.Unknown, match="not the code of a function"):
        marshalled.read(data)
