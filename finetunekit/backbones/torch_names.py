"""Names of layers and modules, and what they say against a pairing that was not made by name."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from finetunekit.backbones.torch_models.builder import named
from finetunekit.backbones.torch_modules import Group, Slot
from finetunekit.backbones.weights_pairing import is_numbered, kind_of

# One letter stands for a word where two whole names are compared: `k` for `key`.
_SHORTEST = 2


def is_automatic(slot: Slot) -> bool:
    """Whether Keras chose the name, whose number says nothing: it counts through a session."""
    return is_numbered(slot.layer.name, kind_of(slot.layer))


def common_start(names: list[str]) -> int:
    """The length of a prefix that all names have, up to an underscore."""
    words = [re.findall(r"[^_]*_", name) for name in names] if len(names) > 1 else [[]]
    same = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return sum(len(column[0]) for column in same)


def prefixes(group: Group) -> Iterable[tuple[str, str]]:
    """All ways to divide a module's name at a dot, the shortest prefix first."""
    parts = group.prefix.split(".")
    for number in range(len(parts)):
        yield "".join(f"{part}." for part in parts[:number]), ".".join(parts[number:])


def ours(slots: Sequence[Slot], number: int) -> tuple[str, ...]:
    """The names that stand for a layer, the fullest first; without those that Keras chose."""
    slot = slots[number]
    if is_automatic(slot):
        around = [name for name in slot.names[:-1] if not _CONTAINER.fullmatch(name)]
        return ("_".join(around),) if around else ()
    full = "_".join(slot.names)
    common = common_start(["_".join(one.names) for one in slots])
    return (full, full[common:], slot.names[-1])


def theirs(group: Group, prefix: str) -> tuple[str, ...]:
    """The names that stand for a module, the fullest first."""
    return (group.prefix.removeprefix(prefix), *(named(rest) for _, rest in prefixes(group)))


_CONTAINER = re.compile(r"(functional|sequential|model)(_\d+)?")


# --- Contradictions --------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """A layer and a module that may belong together.

    Args:
        ours: The names that stand for the layer, the fullest first; none if Keras chose it.
        theirs: The names that stand for the module, the fullest first.
        own: The layer's own name, whoever chose it.
        kind: What both have in common; pairs of one kind could be exchanged.
        sure: Whether order or shape speaks for the pair, and not only that nothing else is left.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    own: str
    kind: Any
    sure: bool

    @cached_property
    def words(self) -> tuple[frozenset[str], frozenset[str]]:
        """The words of both full names."""
        return words("".join(self.ours[:1])), words(self.theirs[0])

    @cached_property
    def skeletons(self) -> tuple[str, str]:
        """The skeletons of both full names."""
        return skeleton("".join(self.ours[:1])), skeleton(self.theirs[0])

    @cached_property
    def numbers(self) -> tuple[list[int], list[int]]:
        """The numbers of both full names."""
        return _numbers("".join(self.ours[:1])), _numbers(self.theirs[0])


def first_contradiction(pairs: Sequence[Pair], known: set[str]) -> int | None:
    """The number of a pair whose names say that it is wrong; None if none do.

    Args:
        pairs: The pairs that were not made by name.
        known: The skeletons of names that agreed for other layers.
    """
    own = {(pair.kind, pair.own) for pair in pairs}
    there = {(pair.kind, pair.theirs[-1]) for pair in pairs}
    for number, pair in enumerate(pairs):
        if _is_shifted(pair, known):
            return number
        crossed = (pair.kind, pair.own) in there and (pair.kind, pair.theirs[-1]) in own
        if crossed and pair.own != pair.theirs[-1]:
            return number
    for (number, a), (_, b) in itertools.combinations(enumerate(pairs), 2):
        if a.kind == b.kind and (_fits_crossed(a, b) or _counts_backwards(a, b)):
            return number
    return None


def words(name: str) -> frozenset[str]:
    """The words of a name, without its numbers."""
    return frozenset(re.findall(r"[a-z]+", name.lower()))


def skeleton(name: str) -> str:
    """A name with a sign for every number: `blocks_#_q`."""
    return re.sub(r"\d+", "#", re.sub(r"\W", "_", name))


def shared(mine: Iterable[str], others: Iterable[str], shortest: int = _SHORTEST) -> int:
    """How many words are one of the others, or short for one, or the other way round."""
    there = list(others)
    return sum(any(_is_short_for(a, b, shortest) for b in there) for a in mine)


def _numbers(name: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", name)]


def _is_short_for(a: str, b: str, shortest: int) -> bool:
    short, long = sorted((a, b), key=len)
    return a == b or (len(short) >= shortest and long.startswith(short))


def _is_shifted(pair: Pair, known: set[str]) -> bool:
    """Whether it has other numbers, in names of a form that agreed for other layers."""
    mine = {skeleton(name): _numbers(name) for name in pair.ours}
    others = {skeleton(name): _numbers(name) for name in pair.theirs}
    if not pair.sure and any("#" in form and form in known for form in (*mine, *others)):
        return True
    return any(
        form in known and others.get(form, count) != count and form.strip("#_")
        for form, count in mine.items()
    )


def _fits_crossed(a: Pair, b: Pair) -> bool:
    """Whether two pairs' names fit better if the modules are exchanged."""
    (x, y), (u, v) = a.words, b.words
    if not (a.ours and b.ours) or x == u or y == v:
        return False
    straight = shared(x, y, 1) + shared(u, v, 1)
    return shared(x, v, 1) + shared(u, y, 1) > straight


def _counts_backwards(a: Pair, b: Pair) -> bool:
    """Whether the numbers of the layers rise where those of the modules fall."""
    if a.skeletons != b.skeletons:
        return False
    (x, y), (u, v) = a.numbers, b.numbers
    return (x < u and y > v) or (x > u and y < v)
