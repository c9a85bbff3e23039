"""Layers inside a layer or subclassed model, paired with the groups of a `.weights.h5` file.

Such a file names a group by the attribute that holds the layer. Layers in lists and dicts, and
those found only in the list of all layers, are counted by class: `dense`, `dense_1`. Keras 3 adds
the name of each layer, tf_keras none.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.backbones.weights_pairing import Pair, Stored, is_numbered, kind_of, pair
from finetunekit.foundation import keras_internals

OPEN = "open"  # How layers are paired whose weights could as well be those of another.


@dataclass(frozen=True)
class Entry:
    """A stored layer with the attribute that it is stored under, alone or among others."""

    attribute: str
    alone: bool
    stored: Stored


def pair_members(layer: Any, entries: Sequence[Entry]) -> tuple[list[Pair], list[Stored]]:
    """Pairs the layers inside a layer: by name, by attribute, then by order.

    Args:
        layer: A layer or model whose wiring cannot be read.
        entries: What the file has for it, in natural order of the groups.

    Returns:
        The pairs in the order of the layers, those that are uncertain marked `OPEN`, and what is
        stored for none of them.
    """
    members = [inner for inner in keras_internals.sublayers(layer) if inner.weights]
    left = _Left(members, list(entries))
    left.take(_by_given_name(left))
    left.take(_by_attribute(layer, left))
    is_stock = type(layer).__module__.partition(".")[0] == "keras"
    for attribute, held in _containers(layer):
        ours = [inner for inner in left.members if any(inner is each for each in held)]
        theirs = [e for e in left.entries if not e.alone and _plain(e.attribute) == attribute]
        trusted = is_stock or _counts_up(ours)
        left.take(_by_order(ours, [entry.stored for entry in theirs], trusted))
    rest = [entry.stored for entry in left.entries if not entry.alone]
    left.take(_by_order(left.members, rest, is_stock))
    order = {id(inner): number for number, inner in enumerate(members)}
    pairs = sorted(left.pairs, key=lambda found: order[id(found.layer)])
    return pairs, [entry.stored for entry in left.entries]


class _Left:
    """What is in no pair yet, and the pairs."""

    def __init__(self, members: list[Any], entries: list[Entry]) -> None:
        self.members, self.entries = members, entries
        self.pairs: list[Pair] = []

    def take(self, pairs: Sequence[Pair]) -> None:
        self.pairs += pairs
        used = {id(found.layer) for found in pairs} | {id(found.stored) for found in pairs}
        self.members = [inner for inner in self.members if id(inner) not in used]
        self.entries = [entry for entry in self.entries if id(entry.stored) not in used]


def _plain(attribute: str) -> str:
    return attribute.lstrip("_")


def _by_given_name(left: _Left) -> list[Pair]:
    """Layers and stored ones of one name that their maker gave, wherever they are held."""
    ours = Counter(inner.name for inner in left.members)
    names = Counter(entry.stored.name for entry in left.entries if entry.stored.named)
    stored = {entry.stored.name: entry.stored for entry in left.entries if entry.stored.named}
    return [
        Pair(inner, stored[inner.name], "by name")
        for inner in left.members
        if not is_numbered(inner.name, kind_of(inner))
        and ours[inner.name] == names[inner.name] == 1
        and stored[inner.name].kind in (None, kind_of(inner))
    ]


def _by_attribute(layer: Any, left: _Left) -> list[Pair]:
    held = {_plain(key): value for key, value in vars(layer).items() if _is_layer(value)}
    free = {id(inner) for inner in left.members}
    pairs = []
    for entry in left.entries:
        inner = held.get(_plain(entry.attribute)) if entry.alone else None
        if inner is not None and id(inner) in free:
            free.discard(id(inner))
            pairs.append(Pair(inner, entry.stored, "by name"))
    return pairs


def _containers(layer: Any) -> Iterator[tuple[str, list[Any]]]:
    for attribute, value in vars(layer).items():
        if attribute != "_layers" and isinstance(value, (list, tuple, dict)):
            values = value.values() if isinstance(value, dict) else value
            yield _plain(attribute), [inner for inner in values if _is_layer(inner)]


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def _by_order(ours: Sequence[Any], theirs: Sequence[Stored], trusted: bool) -> list[Pair]:
    """Layers whose names Keras numbered, and stored ones without a name, class by class."""
    pairs = pair(ours, [stored for stored in theirs if stored.named])
    for kind in dict.fromkeys(map(kind_of, ours)):
        same = [inner for inner in ours if kind_of(inner) == kind]
        unnamed = [stored for stored in theirs if not stored.named and stored.kind == kind]
        pairs += _unnamed(same, unnamed, trusted)
    return pairs


def _unnamed(ours: Sequence[Any], theirs: Sequence[Stored], trusted: bool) -> list[Pair]:
    """Pairs by place where that is trusted; else by shapes, if no two are alike."""
    if len(ours) != len(theirs):
        return []
    shapes = [sorted(tuple(v.shape) for v in inner.weights) for inner in ours]
    stored = [sorted(entry.shapes) for entry in theirs]
    in_order = [Pair(inner, entry, "by order") for inner, entry in zip(ours, theirs, strict=True)]
    if trusted or sorted(shapes) != sorted(stored):
        return in_order  # Shapes that differ are told when they are compared.
    if any(shapes.count(shape) > 1 for shape in shapes):
        return [Pair(found.layer, found.stored, OPEN) for found in in_order]
    found = [theirs[stored.index(shape)] for shape in shapes]
    how = "by order" if shapes == stored else "by shape"
    return [Pair(inner, entry, how) for inner, entry in zip(ours, found, strict=True)]


def _counts_up(layers: Sequence[Any]) -> bool:
    """Whether names in a list say no more than its order: `block_0`, `block_1`, or Keras' own."""
    if all(is_numbered(inner.name, kind_of(inner)) for inner in layers):
        return True
    found = [re.fullmatch(r"(.*?)(\d+)(\D*)", inner.name) for inner in layers]
    parts = [(match[1], match[3], int(match[2])) for match in found if match is not None]
    stems = {(before, after) for before, after, _ in parts}
    numbers = [number for _, _, number in parts]
    return len(parts) == len(layers) and len(stems) <= 1 and numbers == sorted(set(numbers))
