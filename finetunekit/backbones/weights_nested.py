"""Weights of nested models in Keras 2 files, told apart by the layer names inside their names.

Keras 2 stores all weights of a nested model as one list: those that train, then the others. So
the order depends on what was frozen when the file was written, and only names say whose they are.
TensorFlow 1 appended `_1`, `_2` to a name that its graph held already: the kernel of layer `c1`
in a model that had been loaded before is `c1_2/kernel:0`.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.backbones.weights_pairing import base_of, is_numbered, kind_of
from finetunekit.foundation import keras_internals
from finetunekit.models import graph

Pairs = list[tuple[Any, int]]  # A variable with the position of its array.
_SUFFIX = re.compile(r"_\d+$")
_SUFFIXES = re.compile(r"(_\d+)+$")
_Candidates = dict[int, list[int]]  # A group's place -> the places of layers.
_Assigned = dict[int, int]


@dataclass(frozen=True)
class Match:
    """Each variable with the position of its array; whether names went by their order alone."""

    pairs: Pairs
    by_order: bool = False


@dataclass(frozen=True)
class _Leaf:
    """A layer that holds no model, with the names of the models around it."""

    layer: keras.layers.Layer
    around: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.layer.name)

    @property
    def kind(self) -> str | None:
        """The name without its number, if it is one that Keras gives; else None."""
        kind = kind_of(self.layer)
        return kind if is_numbered(self.name, kind) else None


@dataclass(frozen=True)
class _Group:
    """Stored arrays of one layer: the parts of their names down to the layer's, and positions."""

    parts: tuple[str, ...]
    numbers: tuple[int, ...]


def holds_models(layer: keras.layers.Layer) -> bool:
    """Whether it is a model made of a graph, or holds one inside, as `TimeDistributed` may."""
    return graph.is_graph(layer) or any(graph.is_graph(p.layer) for p in graph.walk(layer))


def match(
    model: keras.layers.Layer,
    names: Mapping[int, str],
    match_one: Callable[[keras.layers.Layer, Sequence[int]], Pairs | None],
    *,
    renumbered: bool,
) -> Match | None:
    """Pairs the variables of a nested model with stored arrays by the names of its layers.

    Args:
        model: A layer for which `holds_models` is true.
        names: The stored names by their positions.
        match_one: Pairs the variables of one layer with the arrays at some positions.
        renumbered: Whether Keras may have numbered the names in the file from elsewhere, as in a
            file of weights alone; in the file of a whole model, both are of one session.

    Returns:
        The pairs; None if the names leave no way, or several.
    """
    puzzle = _Puzzle(model, names, match_one)
    by_name = puzzle.solved(puzzle.by_name())
    by_rank = puzzle.by_rank() if renumbered else None
    if by_rank is None:
        return None if by_name is None else Match(puzzle.pairs(by_name))
    found = puzzle.solved(by_rank)
    if found is None or (found != by_name and not puzzle.is_explained(found)):
        return None
    return Match(puzzle.pairs(found), by_order=found != by_name)


def certain(
    model: keras.layers.Layer, pairs: Pairs, names: Mapping[int, str], *, renumbered: bool
) -> bool:
    """Whether pairs made by order may be taken: names do not contradict, and shapes allow no other.

    Args:
        model: As in `match`, like the other arguments.
        pairs: The variables in their order with the positions of the arrays in theirs.
        names: The stored names by their positions.
        renumbered: Whether the order may be that of another model.
    """
    leaves = list(_leaves(model))
    owner = {id(variable): leaf for leaf in leaves for variable in leaf.layer.weights}
    known = {leaf.name for leaf in leaves if not (renumbered and leaf.kind)}
    for variable, number in pairs:
        if (known - {owner[id(variable)].name}) & set(names[number].split("/")[:-1]):
            return False
    shapes = [tuple((v.name, tuple(v.shape)) for v in leaf.layer.weights) for leaf in leaves]
    return not renumbered or len(set(shapes)) == len(shapes)


def _leaves(layer: Any) -> Iterator[_Leaf]:
    seen: set[int] = set()

    def below(layer: Any, around: tuple[str, ...]) -> Iterator[_Leaf]:
        if id(layer) in seen or not layer.weights:
            return
        seen.add(id(layer))
        if not holds_models(layer):
            yield _Leaf(layer, around)
            return
        for inner in keras_internals.sublayers(layer):
            yield from below(inner, (*around, layer.name))

    yield from below(layer, ())


class _Puzzle:
    """Stored groups of arrays and the layers that they may belong to."""

    def __init__(self, model: Any, names: Mapping[int, str], match_one: Any) -> None:
        self.names, self.match_one = names, match_one
        self.leaves = list(_leaves(model))
        self.called: dict[str, list[int]] = {}
        for number, leaf in enumerate(self.leaves):
            self.called.setdefault(leaf.name, []).append(number)
        self.groups = self._grouped()

    def _grouped(self) -> list[_Group]:
        """The arrays by the parts of their names, down to the first that may be a layer's."""
        found: dict[tuple[str, ...], list[int]] = {}
        ends: dict[tuple[str, ...], int] = {}
        for number, name in self.names.items():
            parts = tuple(name.split(":")[0].split("/")[:-1])
            if parts not in ends:
                ends[parts] = self._end(parts)
            found.setdefault(parts[: ends[parts]], []).append(number)
        return [_Group(parts, tuple(numbers)) for parts, numbers in found.items()]

    def _end(self, parts: tuple[str, ...]) -> int:
        kinds = {leaf.kind for leaf in self.leaves} - {None}
        for end in range(1, len(parts) + 1):
            if _kind_and_numbers(parts[end - 1])[0] in kinds:
                return end
            if not _names_of(parts[:end]).isdisjoint(self.called):
                return end
        return len(parts)

    def _fits(self, place: int, number: int) -> bool:
        return self.match_one(self.leaves[number].layer, self.groups[place].numbers) is not None

    def by_name(self) -> _Candidates:
        """For each group, the layers whose names it may carry."""
        found: _Candidates = {}
        for place, group in enumerate(self.groups):
            named = [n for name in _names_of(group.parts) for n in self.called.get(name, ())]
            found[place] = self._nearest(group, [n for n in named if self._fits(place, n)])
        return found

    def _nearest(self, group: _Group, found: list[int]) -> list[int]:
        """Of several layers of a name, those inside the models that the group's name tells."""
        around = {form for part in group.parts[:-1] for form in (part, _SUFFIX.sub("", part))}
        shared = {number: len(around & set(self.leaves[number].around)) for number in found}
        return [number for number in found if shared[number] == max(shared.values())]

    def by_rank(self) -> _Candidates | None:
        """As `by_name`, but numbered layers by the order of their numbers; None if that is open.

        `conv2d_2` beside `conv2d_1_1` is layer `conv2d`: numbers of unequal length tell no order.
        """
        found = self.by_name()
        for kind in {leaf.kind for leaf in self.leaves} - {None}:
            ours = [number for number, leaf in enumerate(self.leaves) if leaf.kind == kind]
            ours.sort(key=lambda number: _kind_and_numbers(self.leaves[number].name)[1])
            theirs = [
                (numbers, place)
                for place, group in enumerate(self.groups)
                for base, numbers in [_kind_and_numbers(group.parts[-1] if group.parts else "")]
                if base == kind
            ]
            lengths = {len(numbers) for numbers, _ in theirs if numbers}
            if len(ours) != len(theirs) or len(lengths) > 1:
                return None
            for number, (_, place) in zip(ours, sorted(theirs), strict=True):
                found[place] = [number] if self._fits(place, number) else []
        return found

    def solved(self, candidates: _Candidates | None) -> _Assigned | None:
        """The one way to give each group a layer of its own; None if there is none, or several."""
        if candidates is None or len(self.groups) != len(self.leaves):
            return None
        left = {place: set(found) for place, found in candidates.items()}
        assigned: _Assigned = {}
        while left:
            forced = _forced(left)
            if forced is None:
                return self._in_turn(left, assigned)
            place, number = forced
            assigned[place] = number
            del left[place]
            for found in left.values():
                found.discard(number)
        return assigned

    def _in_turn(self, left: dict[int, set[int]], assigned: _Assigned) -> _Assigned | None:
        """Layers of one name in different models: numbers that rise with the file's order."""
        found = dict(assigned)
        rest = set(range(len(self.leaves))) - set(assigned.values())
        for same in self.called.values():
            numbers = [number for number in same if number in rest]
            places = [place for place in left if left[place] & set(numbers)]
            ranks = [_kind_and_numbers(self.groups[place].parts[-1])[1] for place in places]
            if len(numbers) != len(places) or ranks != sorted(set(ranks)):
                return None
            found |= dict(zip(places, numbers, strict=True))
        is_whole = sorted(found.values()) == list(range(len(self.leaves)))
        return found if is_whole and self.is_in_order(found) else None

    def pairs(self, assigned: _Assigned) -> Pairs:
        """The variables with the positions of their arrays."""
        return [
            pair
            for place, number in assigned.items()
            for pair in self.match_one(self.leaves[number].layer, self.groups[place].numbers)
        ]

    def _sequence(self, assigned: _Assigned) -> list[int]:
        """The places of the layers, array by array in the file's order."""
        owner = {n: assigned[p] for p, group in enumerate(self.groups) for n in group.numbers}
        return [owner[number] for number in sorted(owner)]

    def is_in_order(self, assigned: _Assigned) -> bool:
        """Whether all layers stand in the file in the order of the graph."""
        firsts = list(dict.fromkeys(self._sequence(assigned)))
        return firsts == sorted(firsts) and self.is_explained(assigned)

    def is_explained(self, assigned: _Assigned) -> bool:
        """Whether freezing explains the order: first what trained, then what did not."""
        sequence = self._sequence(assigned)
        return sum(b < a for a, b in itertools.pairwise(sequence)) <= 1


def _forced(left: dict[int, set[int]]) -> tuple[int, int] | None:
    """A group with one layer left for it, or a layer with one group."""
    for place, found in left.items():
        if len(found) == 1:
            return place, next(iter(found))
    holders: dict[int, list[int]] = {}
    for place, found in left.items():
        for number in found:
            holders.setdefault(number, []).append(place)
    return next(((places[0], n) for n, places in holders.items() if len(places) == 1), None)


def _names_of(parts: Sequence[str]) -> set[str]:
    """The names that a layer may have whose arrays have these parts in their names.

    TensorFlow 1 may have put a number behind; a name with slashes has several parts, and `_` in
    their place in Keras 3.
    """
    joined = ["_".join(parts[start:]) for start in range(len(parts))]
    return {*joined, *(_SUFFIX.sub("", name) for name in joined)}


def _kind_and_numbers(part: str) -> tuple[str, tuple[int, ...]]:
    """A name that Keras gave, such as `dense_3_1`, as the kind of layer and the numbers behind.

    TensorFlow 1 called some classes by their version: `batch_normalization_v1_2`.
    """
    name = _SUFFIXES.sub("", part)
    numbers = part[len(name) :].split("_")[1:]
    return base_of(re.sub(r"_v\d$", "", name)), tuple(int(number) for number in numbers)
