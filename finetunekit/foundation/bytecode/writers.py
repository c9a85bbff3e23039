"""Which versions of Python may have written some bytecode."""

from collections.abc import Iterator

from finetunekit.foundation.bytecode.marshalled import Code

Version = tuple[int, int]

# The opcodes of each version, as bits.
_OPCODES: dict[Version, int] = {
    (3, 6): 0x7FFFE7BCF79FFFF7FFFFFBFFFB9C00003FDB9E3E,
    (3, 7): 0x37FFFE7BC779FFFF7FFFFFBFFFB9C00003FDB9E3E,
    (3, 8): 0xF7FFFE7BC741FFFF7FFFEFBFFFBFC00003FDB9E7E,
    (3, 9): 0x3F3C1FE7BC767FFFF7FEFCFFFFFBDF00003FDB9E7E,
    (3, 10): 0x3F3D1FE7BE76FFFFFFFEFCFFFFFBDE0007FFDB9E7E,
    (3, 11): 0x1F87D39BF5FFF7DFDFFFFFFFC0CF0307E003BC2009E06,
    (3, 12): 0x1F83C39EFFFFFFFFC7FFFFEA80CB030FE003BCE029A3E,
}
# How many empty units follow an opcode.
_CACHES: dict[Version, dict[int, int]] = {
    (3, 11): {25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
    (3, 12): {25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1, 116: 4, 122: 1, 123: 1, 141: 1}
    | {171: 3},
}
# The opcode RESUME, with the argument 0, with which the instructions of a function begin.
_RESUME: dict[Version, tuple[int, int]] = {(3, 13): (149, 0), (3, 14): (128, 0)}
# What these opcodes do differs between versions that leave equally many empty units.
_AMBIGUOUS = frozenset({173, 174, 175, 176})
_WITH_CACHES = [(3, 11), (3, 12)]
_BEFORE_311 = [version for version in _OPCODES if version < (3, 11)]


def candidates(code: Code) -> list[Version]:
    """The versions whose bytecode this can be, oldest first; empty if none is known."""
    if code.layout == (2, 0):
        return [(2, 7)]
    if code.layout == (3, 11):
        found = [v for v in _WITH_CACHES if all(_of_311(part, v) for part in _parts(code))]
        units = {(opcode, argument) for _, opcode, argument in _units(code.code)}
        return found or [v for v, resume in _RESUME.items() if resume in units]
    possible = [v for v in _BEFORE_311 if (v >= (3, 8)) == (code.layout == (3, 8))]
    found = [v for v in possible if all(_of_310(part, v) for part in _parts(code))]
    return found or ([(3, 5)] if code.layout == (3, 0) else [])


def is_ambiguous(code: Code) -> bool:
    """Whether it is bytecode of several versions, each of which would do something else."""
    opcodes = {opcode for part in _parts(code) for _, opcode, _ in _units(part.code)}
    return len(candidates(code)) > 1 and bool(_AMBIGUOUS & opcodes)


def listed(versions: list[Version]) -> str:
    """`3.9`, `3.6 or 3.7`, `3.5 or earlier`; `of an unknown version` for none."""
    words = [f"{major}.{minor}" for major, minor in versions]
    if not words:
        return "of an unknown version"
    if versions in ([(3, 5)], [(2, 7)]):
        return f"{words[0]} or earlier"
    if versions[-1] == (3, 14):
        return f"{' or '.join(words)} or later"
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _parts(code: Code) -> Iterator[Code]:
    yield code
    for inner in code.inner:
        yield from _parts(inner)


def _units(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Place, opcode and argument of each unit."""
    for place in range(0, len(code) - 1, 2):
        yield place, code[place], code[place + 1]


def _of_310(part: Code, version: Version) -> bool:
    if len(part.code) % 2 or not all(
        _OPCODES[version] >> opcode & 1 for _, opcode, _ in _units(part.code)
    ):
        return False
    if part.layout != (3, 8):
        return True
    # From 3.10, the table of lines covers all instructions; before, it is empty for one line.
    return (sum(part.lines[::2]) == len(part.code)) == (version == (3, 10))


def _of_311(part: Code, version: Version) -> bool:
    """Whether each opcode is known, and followed by as many empty units as that version leaves."""
    empty = 0
    resumes = False
    for _, opcode, argument in _units(part.code):
        if empty:
            if opcode or argument:
                return False
            empty -= 1
            continue
        if not opcode or not _OPCODES[version] >> opcode & 1:
            return False
        resumes = resumes or opcode == 151
        empty = _CACHES[version].get(opcode, 0)
    return not empty and resumes and len(part.code) % 2 == 0
