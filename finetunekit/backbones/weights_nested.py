"""Weights of nested models in Keras 2 files, told apart by the layer names inside their names.

Keras 2 stores all weights of a nested model as one list: those that train, then the others. So
the order depends on what was frozen when the file was written, and only names say whose they are.
TensorFlow 1 appended `_1`, `_2` to a name that its graph held already: the kernel of layer `c1`
in a model that had been loaded before is `c1_2/kernel:0`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.backbones.weights_pairing import is_numbered, kind_of
from finetunekit.foundation import keras_internals
from finetunekit.models import graph

Shape = tuple[int, ...]
# Pairs the variables of one layer with stored arrays by their positions; None if they do not fit.
MatchLayer = Callable[[Any, Sequence[str], Sequence[Shape]], list[tuple[Any, int]] | None]
_SUFFIX = re.compile(r"_\d+$")


@dataclass(frozen=True)
class Match:
    """Each variable with the position of its array, and whether numbered names went by order."""

    pairs: list[tuple[Any, int]]
    by_order: bool


@dataclass(frozen=True)
class _Leaf:
    """A layer that is no model, with the names of the models around it."""

    layer: keras.layers.Layer
    around: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        return is_numbered(self.layer.name, kind_of(self.layer))


@dataclass(frozen=True)
class _Group:
    """Stored arrays of one layer: the parts of their names down to the layer's, and positions."""

    parts: tuple[str, ...]
    numbers: tuple[int, ...]


_Candidates = dict[int, list[int]]  # Position of a group -> positions of leaves.
_Assigned = dict[int, int]


def holds_models(layer: keras.layers.Layer) -> bool:
    """Whether it is a model made of a graph, or holds one inside, as `TimeDistributed` may."""
    return graph.is_graph(layer) or any(graph.is_graph(p.layer) for p in graph.walk(layer))


def match(
    model: keras.layers.Layer,
    names: Sequence[str],
    shapes: Sequence[Shape],
    match_layer: MatchLayer,
    *,
    renumbered: bool,
) -> Match | None:
    """Pairs the variables of a nested model with stored arrays by the names of its layers.

    Args:
        model: A layer for which `holds_models` is true.
        names: The stored names, in the file's order.
        shapes: The stored shapes.
        match_layer: Pairs the variables of one layer.
        renumbered: Whether names that Keras numbered may have been numbered from elsewhere, as in
            a file of weights alone; in a whole model's file names and weights are of one session.

    Returns:
        A `Match`; None if the names leave none, or more than one way.
    """
    puzzle = _Puzzle(model, names, shapes, match_layer)
    by_name = puzzle.solved(puzzle.by_name())
    by_rank = puzzle.solved(puzzle.by_rank()) if renumbered else None
    if by_rank is not None and not puzzle.plausible(by_rank):
        by_rank = None
    if by_name is not None and by_rank is not None and by_name != by_rank:
        fitting = [found for found in (by_name, by_rank) if puzzle.in_order(found)]
        if len(fitting) != 1:
            return None
        by_name = fitting[0] if fitting[0] is by_name else None
    assigned = by_name if by_name is not None else by_rank
    if assigned is None:
        return None
    return Match(puzzle.pairs(assigned), by_name is None)


def contradicts(model: keras.layers.Layer, pairs: Sequence[tuple[Any, int]], names: Any) -> bool:
    """Whether pairs made by order give a layer the arrays that carry another layer's name.

    Or whether another order would have fitted as well: two layers inside have equal weights.
    """
    owner = {id(v): leaf for leaf in _leaves(model) for v in leaf.layer.weights}
    known = {leaf.layer.name for leaf in owner.values()}
    signatures: dict[Any, set[int]] = {}
    for leaf in owner.values():
        shapes = tuple((v.name, tuple(v.shape)) for v in leaf.layer.weights)
        signatures.setdefault(shapes, set()).add(id(leaf.layer))
    if any(len(same) > 1 for same in signatures.values()):
        return True
    return any(
        known & set(names[number].split("/")[:-1]) - {owner[id(variable)].layer.name}
        for variable, number in pairs
    )


def _leaves(layer: Any, around: tuple[str, ...] = ()) -> Iterator[_Leaf]:
    if not holds_models(layer):
        yield _Leaf(layer, around)
        return
    for inner in keras_internals.sublayers(layer):
        if inner.weights:
            yield from _leaves(inner, (*around, layer.name))


class _Puzzle:
    """Stored groups and the layers that they may belong to."""

    def __init__(self, model: Any, names: Any, shapes: Any, match_layer: MatchLayer) -> None:
        self.names, self.shapes, self.match_layer = names, shapes, match_layer
        unique = {id(leaf.layer): leaf for leaf in _leaves(model)}
        self.leaves = list(unique.values())
        self.groups = self._grouped()

    def _grouped(self) -> list[_Group]:
        """The arrays by the first part of their names that may be a layer's name."""
        found: dict[tuple[str, ...], list[int]] = {}
        for number, name in enumerate(self.names):
            parts = tuple(name.split(":")[0].split("/")[:-1])
            ends = (end for end in range(1, len(parts) + 1) if self._may_end(parts[:end]))
            found.setdefault(parts[: next(ends, len(parts))], []).append(number)
        return [_Group(parts, tuple(numbers)) for parts, numbers in found.items()]

    def _may_end(self, parts: tuple[str, ...]) -> bool:
        return any(
            _is_name_of(parts, leaf) or _number_of(parts[-1], leaf) is not None
            for leaf in self.leaves
        )

    def _fits(self, group: _Group, leaf: _Leaf) -> bool:
        return self._paired(group, leaf) is not None

    def _paired(self, group: _Group, leaf: _Leaf) -> list[tuple[Any, int]] | None:
        chosen = [(self.names[number], self.shapes[number]) for number in group.numbers]
        found = self.match_layer(leaf.layer, [n for n, _ in chosen], [s for _, s in chosen])
        return None if found is None else [(v, group.numbers[place]) for v, place in found]

    def by_name(self) -> _Candidates | None:
        """For each group, the layers whose names it may carry."""
        return {
            place: self._nearest(
                group,
                [
                    number
                    for number, leaf in enumerate(self.leaves)
                    if _is_name_of(group.parts, leaf) and self._fits(group, leaf)
                ],
            )
            for place, group in enumerate(self.groups)
        }

    def _nearest(self, group: _Group, found: list[int]) -> list[int]:
        """Of several layers of a name, those inside the models that the group's name tells."""
        if len(found) < 2:
            return found
        around = {form for part in group.parts[:-1] for form in (part, _SUFFIX.sub("", part))}
        shared = {number: len(around & set(self.leaves[number].around)) for number in found}
        return [number for number in found if shared[number] == max(shared.values())]

    def by_rank(self) -> _Candidates | None:
        """As `by_name`, but numbered layers by the order of the numbers; None if that is unsure."""
        found = self.by_name()
        assert found is not None
        kinds = dict.fromkeys(kind_of(leaf.layer) for leaf in self.leaves if leaf.numbered)
        for kind in kinds:
            ours = [n for n, x in enumerate(self.leaves) if x.numbered and kind_of(x.layer) == kind]
            ranked = [(_number_of(g.parts[-1], self.leaves[ours[0]]), p) for p, g in
                      enumerate(self.groups) if g.parts]
            theirs = sorted((key, place) for key, place in ranked if key is not None)
            if len(ours) != len(theirs) or len({len(key) for key, _ in theirs}) > 1:
                return None
            ours.sort(key=lambda n: _number_of(self.leaves[n].layer.name, self.leaves[n]) or ())
            for number, (_, place) in zip(ours, theirs, strict=True):
                fits = self._fits(self.groups[place], self.leaves[number])
                found[place] = [number] if fits else []
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
        """Layers of one name in different models, if the numbers rise with the file's order."""
        taken = set(assigned.values())
        rest = [number for number in range(len(self.leaves)) if number not in taken]
        keys = [self.groups[place].parts[-1] for place in left]
        for name in dict.fromkeys(self.leaves[number].layer.name for number in rest):
            same = [n for n in rest if self.leaves[n].layer.name == name]
            places = [place for place in left if left[place] & set(same)]
            numbers = [_suffix(self.groups[place].parts[-1], name) for place in places]
            if len(same) != len(places) or numbers != sorted(set(numbers)):
                return None
            assigned |= dict(zip(places, same, strict=True))
        whole = len(assigned) == len(self.groups) and len(keys) == len(rest)
        return assigned if whole and self.in_order(assigned) else None

    def pairs(self, assigned: _Assigned) -> list[tuple[Any, int]]:
        """The variables with the positions of their arrays."""
        return [
            pair
            for place, number in assigned.items()
            for pair in self._paired(self.groups[place], self.leaves[number]) or []
        ]

    def _sequence(self, assigned: _Assigned) -> list[int]:
        """The positions of the layers, array by array."""
        owner = {n: assigned[p] for p, group in enumerate(self.groups) for n in group.numbers}
        return [owner[number] for number in sorted(owner)]

    def in_order(self, assigned: _Assigned) -> bool:
        """Whether the arrays of the layers stand in the order of the graph, some layers frozen."""
        sequence = self._sequence(assigned)
        firsts = list(dict.fromkeys(sequence))
        return firsts == sorted(firsts) and self.plausible(assigned)

    def plausible(self, assigned: _Assigned) -> bool:
        """Whether freezing can explain the order: what trains in its order, then the others."""
        sequence = self._sequence(assigned)
        falls = sum(b < a for a, b in zip(sequence, sequence[1:], strict=False))
        return falls <= 1


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


def _is_name_of(parts: Sequence[str], leaf: _Leaf) -> bool:
    """Whether the last of the parts are a layer's name, perhaps with a number behind.

    A name with slashes has several parts, and `_` in their place in Keras 3.
    """
    name = leaf.layer.name
    return any(
        name in (joined, _SUFFIX.sub("", joined))
        for joined in ("_".join(parts[start:]) for start in range(len(parts)))
    )


def _number_of(part: str, leaf: _Leaf) -> tuple[int, ...] | None:
    """The numbers in a name that Keras gave to a layer of this class; None if it is no such name.

    TensorFlow 1 called some classes by their version, as in `batch_normalization_v1_2`.
    """
    if not leaf.numbered:
        return None
    found = re.fullmatch(rf"{re.escape(kind_of(leaf.layer))}(?:_v\d)?((?:_\d+){{0,2}})", part)
    return None if found is None else tuple(int(n) for n in found[1].split("_")[1:])


def _suffix(part: str, name: str) -> int:
    return int(part[len(name) + 1 :]) if part != name and part[len(name) + 1 :].isdigit() else 0
