"""Layers of a model paired with modules of torch: by name, then by order, then by shape."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from finetunekit.backbones import torch_names
from finetunekit.backbones.torch_models.builder import named
from finetunekit.backbones.torch_modules import Group, Slot
from finetunekit.foundation.messages import listed

# How many prefixes of the file are tried, those that make the most names agree first.
_MOST_PREFIXES = 8


class Mismatch(Exception):
    """Why there is no certain match; what the file and the model do, in half a sentence."""


@dataclass(frozen=True)
class Match:
    """A layer with the module that is meant for it."""

    slot: Slot
    group: Group
    how: str


@dataclass
class _Sides:
    """The layers and modules, and the pairs so far: number of a layer -> (of a module, how)."""

    slots: list[Slot]
    groups: list[Group]
    pairs: dict[int, tuple[int, str]] = field(default_factory=dict)

    @cached_property
    def words(self) -> frozenset[str]:
        """All words in the names of the layers."""
        return torch_names.words(" ".join("_".join(slot.names) for slot in self.slots))

    def add(self, found: dict[int, int], how: str) -> None:
        self.pairs |= {slot: (group, how) for slot, group in found.items()}

    def agree(self, slot: int, group: int) -> bool:
        return self.slots[slot].signature == self.groups[group].signature

    def left(self) -> tuple[list[int], list[int]]:
        taken = {group for group, _ in self.pairs.values()}
        return (
            [number for number in range(len(self.slots)) if number not in self.pairs],
            [number for number in range(len(self.groups)) if number not in taken],
        )


def match(slots: list[Slot], groups: list[Group], key: str = "") -> list[Match]:
    """Pairs every layer with a module, and every module with a layer.

    Names that agree once a common prefix is taken off decide; only what is left goes by order,
    or by a shape that occurs once, and neither may contradict the names.

    Args:
        slots: The layers, in the order of the model.
        groups: The modules, in the order of the file.
        key: Where the state dict stands in the file, for messages.

    Raises:
        Mismatch: If that does not give one certain pairing of all.
    """
    sides = _Sides(slots, groups)
    prefix, found = _by_name(sides, key)
    sides.add(found, "by name")
    for spelt in (_plain, _plainest):
        sides.add(_by_spelling(sides, prefix, spelt), "by name")
    ending = _by_ending(sides)
    _check(sides, ending, prefix)
    sides.add(ending, "by name")
    ours, theirs = sides.left()
    _check_counts(sides, ours, theirs)
    in_order = dict(zip(ours, theirs, strict=True))
    if all(sides.agree(*pair) for pair in in_order.items()) and _rises(sides, in_order):
        rest, how = in_order, "by order"
    else:
        rest, how = _by_shape(sides, ours, theirs), "by shape"
    _check(sides, rest, prefix)
    sides.add(rest, how)
    return [
        Match(slot, groups[sides.pairs[number][0]], sides.pairs[number][1])
        for number, slot in enumerate(slots)
    ]


# --- By name ---------------------------------------------------------------------------------


def _aliases(slots: list[Slot], spelt: Callable[[str], str] = str) -> dict[str, int]:
    """The names that mean one layer only, its path before its own name; numbered ones left out."""
    common = torch_names.common_start(["_".join(slot.names) for slot in slots])
    found: dict[str, int] = {}
    for forms in (
        ["_".join(slot.names) for slot in slots],
        ["_".join(slot.names)[common:] for slot in slots],
        [slot.names[-1] for slot in slots],
    ):
        count = Counter(map(spelt, forms))
        for number, form in enumerate(map(spelt, forms)):
            if form and count[form] == 1 and not torch_names.is_automatic(slots[number]):
                found.setdefault(form, number)
    return found


def _by_name(sides: _Sides, key: str) -> tuple[str, dict[int, int]]:
    """The prefix that makes the most names agree, and the pairs that do."""
    aliases = _aliases(sides.slots)
    votes = Counter(
        prefix
        for group in sides.groups
        for prefix, rest in torch_names.prefixes(group)
        if named(rest) in aliases
    )
    votes[""] += 0
    tried = [prefix for prefix, _ in votes.most_common(_MOST_PREFIXES)]
    found = [(prefix, _agreeing(sides, aliases, prefix)) for prefix in tried]
    fitting = [sum(sides.agree(*pair) for pair in pairs.items()) for _, pairs in found]
    best = [pair for pair, count in zip(found, fitting, strict=True) if count == max(fitting)]
    best = [pair for pair in best if len(pair[1]) == max(len(pairs) for _, pairs in best)]
    together = {slot: group for _, pairs in reversed(best) for slot, group in pairs.items()}
    clear = all(together[slot] == group for _, pairs in best for slot, group in pairs.items())
    if not clear or len(set(together.values())) < len(together):
        shown = [sides.slots[number].path for number in best[0][1]]
        raise Mismatch(
            f"leave it open which is which: {listed(shown, 4)} may come from "
            f"{listed([f'{key}.{prefix}'.strip('.') for prefix, _ in best], 4)}, of which "
            "`state_dict=` chooses one"
        )
    for slot, group in together.items():
        if not sides.agree(slot, group):
            raise Mismatch(_contradiction(sides.slots[slot], sides.groups[group]))
    return best[0][0], together


def _agreeing(sides: _Sides, aliases: dict[str, int], prefix: str) -> dict[int, int]:
    found: dict[int, list[int]] = {}
    for number, group in enumerate(sides.groups):
        slot = aliases.get(named(group.prefix.removeprefix(prefix)))
        if slot is not None and not _named_for_another(sides, slot, prefix):
            found.setdefault(slot, []).append(number)
    return {slot: numbers[0] for slot, numbers in found.items() if len(numbers) == 1}


def _by_spelling(sides: _Sides, prefix: str, spelt: Callable[[str], str]) -> dict[int, int]:
    """Names that differ in case and punctuation only: `fc_1` and `fc1`."""
    ours, theirs = sides.left()
    aliases = _aliases([sides.slots[number] for number in ours], spelt)
    names = [spelt(sides.groups[number].prefix.removeprefix(prefix)) for number in theirs]
    count = Counter(names)
    found = {
        ours[aliases[name]]: number
        for name, number in zip(names, theirs, strict=True)
        if name in aliases and count[name] == 1
    }
    return {slot: group for slot, group in found.items() if sides.agree(slot, group)}


def _by_ending(sides: _Sides) -> dict[int, int]:
    """Names that end alike, behind a prefix of their own, if nothing else ends so."""
    ours, theirs = sides.left()
    aliases = _aliases([sides.slots[number] for number in ours])
    found: dict[int, set[int]] = {}
    for number in theirs:
        for before, rest in torch_names.prefixes(sides.groups[number]):
            slot = aliases.get(named(rest))
            if slot is not None and not _named_for_another(sides, ours[slot], before):
                found.setdefault(ours[slot], set()).add(number)
    count = Counter(number for numbers in found.values() for number in numbers)
    pairs = {slot: min(numbers) for slot, numbers in found.items() if len(numbers) == 1}
    return {s: g for s, g in pairs.items() if count[g] == 1 and sides.agree(s, g)}


def _named_for_another(sides: _Sides, slot: int, before: str) -> bool:
    """Whether what stands in front of a module's name is said of other layers alone."""
    said = torch_names.words(before)
    about = torch_names.words("_".join(sides.slots[slot].names))
    return bool(torch_names.shared(sides.words, said) and not torch_names.shared(about, said))


def _plain(name: str) -> str:
    """In lower case and without punctuation, but between numbers: `conv1_1` is not `conv11`."""
    return re.sub(r"(?<!\d)[\W_]+|[\W_]+(?!\d)", "", name).replace(".", "_").lower()


def _plainest(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _contradiction(slot: Slot, group: Group) -> str:
    return (
        f"contradict each other: {group.prefix!r} in the file is named like {slot.path!r}, but "
        f"holds {_shown(group.shapes)}, not {_shown(slot.shapes)}"
    )


def _shown(shapes: dict[str, tuple[int, ...]]) -> str:
    rows = [f"{name} {shape}" for name, shape in shapes.items()]
    return ", ".join(rows[:4]) + (", ..." if len(rows) > 4 else "")


# --- The rest --------------------------------------------------------------------------------


def _rises(sides: _Sides, rest: dict[int, int]) -> bool:
    """Whether the model lists its layers as the file does, as far as names can tell."""
    pairs = {slot: group for slot, (group, _) in sides.pairs.items()} | rest
    numbers = [pairs[slot] for slot in sorted(pairs)]
    return numbers == sorted(numbers)


def _by_shape(sides: _Sides, ours: list[int], theirs: list[int]) -> dict[int, int]:
    by_shape = {sides.groups[number].signature: number for number in theirs}
    count = Counter(sides.groups[number].signature for number in theirs)
    twice = [sides.slots[n].path for n in ours if count[sides.slots[n].signature] > 1]
    if twice:
        raise Mismatch(
            "hold the same shapes in another order, and some several times, so that it is not "
            f"clear which is which: {listed(twice, 4)}"
        )
    return {number: by_shape[sides.slots[number].signature] for number in ours}


def _check_counts(sides: _Sides, ours: list[int], theirs: list[int]) -> None:
    mine = Counter(sides.slots[number].signature for number in ours)
    other = Counter(sides.groups[number].signature for number in theirs)
    if mine == other:
        return
    lacking = [s.path for n in ours if mine[(s := sides.slots[n]).signature] > other[s.signature]]
    over = [g.prefix for n in theirs if other[(g := sides.groups[n]).signature] > mine[g.signature]]
    shown = [group for group in sides.groups if group.prefix in over[:2]]
    held = "; ".join(f"{group.prefix!r} holds {_shown(group.shapes)}" for group in shown)
    parts = [f"nothing of the right shape is there for {listed(lacking, 4)}"] if lacking else []
    parts += [f"{listed(over, 4)} of the file is left over ({held})"] if over else []
    raise Mismatch(f"do not agree: {', and '.join(parts)}")


def _check(sides: _Sides, found: dict[int, int], prefix: str) -> None:
    """Refuses pairs of which the names, or their numbers, say something else."""
    count = Counter(slot.signature for slot in sides.slots)
    rises = _rises(sides, found)
    pairs = [
        torch_names.Pair(
            torch_names.ours(sides.slots, slot),
            torch_names.theirs(sides.groups[group], prefix),
            sides.slots[slot].names[-1],
            sides.slots[slot].signature,
            sure=rises or count[sides.slots[slot].signature] == 1,
        )
        for slot, group in found.items()
    ]
    known = {
        torch_names.skeleton(name)
        for slot in sides.pairs
        for name in torch_names.ours(sides.slots, slot)
    }
    wrong = torch_names.first_contradiction(pairs, known)
    if wrong is not None:
        slot, group = list(found.items())[wrong]
        raise Mismatch(
            f"contradict each other: by order, {sides.slots[slot].path!r} would take the "
            f"weights of {sides.groups[group].prefix!r}"
        )
