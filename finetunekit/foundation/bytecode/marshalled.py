"""Python's marshal format read without running or making anything: code of any version."""

import struct
from dataclasses import dataclass
from typing import Any

_DEEPEST = 50  # Each level takes three frames of the stack; the code of a function has few.
_FLAG_REF = 0x80


class Unknown(ValueError):
    """Bytes that are not the code of a function in a layout that is known."""


@dataclass(frozen=True)
class Code:
    """The parts of a code object that tell which Python made it.

    Attributes:
        layout: The first version whose code objects are stored like this one.
        code: The instructions.
        lines: The table of line numbers.
        inner: The functions and comprehensions inside it.
    """

    layout: tuple[int, int]
    code: bytes
    lines: bytes
    inner: tuple["Code", ...]


# The fields of a code object: numbers, then objects by their kinds: b(ytes), t(uple), s(tring) and
# n(umber). The order of versions is that in which they are tried.
_LAYOUTS = {
    (3, 11): (5, "btttbsssnbb"),
    (3, 8): (6, "btttttssnb"),
    (3, 0): (5, "btttttssnb"),
    (2, 0): (4, "btttttssnb"),
}
_KINDS: dict[str, type | tuple[type, ...]] = {"b": bytes, "t": tuple, "s": (str, bytes), "n": int}
_SINGLE = {b"N": None, b"T": True, b"F": False, b".": Ellipsis, b"S": StopIteration, b"0": None}


def read(data: bytes) -> Code:
    """The code that `marshal.dumps` of some version of Python wrote.

    Raises:
        Unknown: If it is of another layout, or damaged.
    """
    for layout in _LAYOUTS:
        reader = _Reader(data, layout)
        try:
            found = reader.object()
        except (Unknown, struct.error, IndexError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(found, Code) and reader.place == len(data):
            return found
    raise Unknown("it is not the code of a function of a known version of Python")


class _Reader:
    """One pass over the bytes, with one idea of how code objects are stored."""

    def __init__(self, data: bytes, layout: tuple[int, int]) -> None:
        self.data, self.layout, self.place, self.depth = data, layout, 0, 0
        self.references: list[Any] = []
        self.interned: list[Any] = []

    def take(self, count: int) -> bytes:
        if count < 0 or self.place + count > len(self.data):
            raise Unknown("it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def object(self) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unknown("it is nested too deeply")
        first = self.take(1)[0]
        kind = bytes([first & ~_FLAG_REF])
        place = None
        if first & _FLAG_REF and kind not in _SINGLE:
            place = len(self.references)
            self.references.append(None)
        found = _SINGLE[kind] if kind in _SINGLE else self._of_kind(kind)
        if place is not None:
            self.references[place] = found
        self.depth -= 1
        return found

    def _of_kind(self, kind: bytes) -> Any:
        if kind == b"r":
            return self.references[self.number()]
        if kind == b"R":
            return self.interned[self.number()]
        if kind == b"c":
            return self._code()
        if kind in _READERS:
            return _READERS[kind](self)
        raise Unknown(f"it holds an object of the kind {kind!r}")

    def _code(self) -> Code:
        numbers, kinds = _LAYOUTS[self.layout]
        for _ in range(numbers):
            self.number()
        fields: list[Any] = []
        for kind in kinds:
            found = self.number() if kind == "n" else self.object()
            if not isinstance(found, _KINDS[kind]):
                raise Unknown("its code is of another layout")
            fields.append(found)
        inner = tuple(value for value in fields[1] if isinstance(value, Code))
        return Code(self.layout, fields[0], fields[kinds.index("n") + 1], inner)

    def long(self) -> int:
        """Only its size matters here."""
        count = self.number()
        self.take(2 * abs(count))
        return count

    def text(self, count: int) -> str:
        return self.take(count).decode("utf-8", "surrogatepass")

    def old_text(self) -> bytes:
        """A text of Python 2, which later ones refer to by number."""
        self.interned.append(self.take(self.number()))
        return bytes(self.interned[-1])

    def objects(self, count: int) -> tuple[Any, ...]:
        if not 0 <= count <= len(self.data):
            raise Unknown("it declares more than it holds")
        return tuple(self.object() for _ in range(count))

    def pairs(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        while self.data[self.place : self.place + 1] != b"0":
            found[len(found)] = (self.object(), self.object())
        self.take(1)
        return found


_READERS: dict[bytes, Any] = {
    b"i": _Reader.number,
    b"I": lambda reader: reader.take(8),
    b"l": _Reader.long,
    b"g": lambda reader: reader.take(8),
    b"y": lambda reader: reader.take(16),
    b"f": lambda reader: reader.take(reader.take(1)[0]),
    b"x": lambda reader: [reader.take(reader.take(1)[0]) for _ in range(2)],
    b"s": lambda reader: reader.take(reader.number()),
    b"t": lambda reader: (
        reader.old_text() if reader.layout < (3, 0) else reader.text(reader.number())
    ),
    b"u": lambda reader: reader.text(reader.number()),
    b"a": lambda reader: reader.text(reader.number()),
    b"A": lambda reader: reader.text(reader.number()),
    b"z": lambda reader: reader.text(reader.take(1)[0]),
    b"Z": lambda reader: reader.text(reader.take(1)[0]),
    b"(": lambda reader: reader.objects(reader.number()),
    b")": lambda reader: reader.objects(reader.take(1)[0]),
    b"[": lambda reader: list(reader.objects(reader.number())),
    b"<": lambda reader: reader.objects(reader.number()),
    b">": lambda reader: reader.objects(reader.number()),
    b"{": _Reader.pairs,
    b":": lambda reader: reader.objects(3),
}
