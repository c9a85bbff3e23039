"""Stored layers paired with layers of the model: by name, by order where names are numbered."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# Names that Keras 1 and 2 numbered, of what has another name today.
_ALIASES = {
    "atrousconvolution1d": "conv1d",
    "atrousconvolution2d": "conv2d",
    "batchnormalization": "batch_normalization",
    "conv_lst_m2d": "conv_lstm2d",
    "convlstm2d": "conv_lstm2d",
    "convolution1d": "conv1d",
    "convolution2d": "conv2d",
    "convolution3d": "conv3d",
    "cu_dnngru": "gru",
    "cu_dnnlstm": "lstm",
    "deconvolution2d": "conv2d_transpose",
    "model": "functional",
    "prelu": "p_re_lu",
    "separableconvolution2d": "separable_conv2d",
    "simplernn": "simple_rnn",
    "timedistributed": "time_distributed",
    "timedistributeddense": "dense",
}


class Disagreement(Exception):
    """Why a stored layer does not fit the layer it is meant for."""


@dataclass(frozen=True)
class Assignment:
    """A variable, what reads its value, and what is converted on the way, in words."""

    variable: Any
    read: Callable[[], np.ndarray[Any, Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """A layer as a file has it: its name, the group of its weights, and their names and shapes.

    `kind` is the name that Keras gives to unnamed layers of its class, None if it is not known.
    A file of an early Keras 3 has no names (`named` is false), only classes and their order.
    """

    name: str
    kind: str | None
    group: Any
    keys: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    named: bool = True


@dataclass(frozen=True)
class Pair:
    """A layer of the model with the stored one that is meant for it."""

    layer: keras.layers.Layer
    stored: Stored
    how: str


def kind_of(layer: keras.layers.Layer) -> str:
    """The name that Keras gives to an unnamed layer of this class: `conv2d` for Conv2D."""
    return kind_of_class(type(layer).__name__)


def kind_of_class(name: str) -> str:
    """The name that Keras gives to an unnamed layer of a class of this name."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def base_of(name: str) -> str:
    """A name without its number: `dense` for `dense_3`."""
    base = re.sub(r"_\d+$", "", name)
    return _ALIASES.get(base, base)


def number_of(name: str) -> int:
    """The number that Keras appended to a name; 0 if none."""
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else 0


def is_numbered(name: str, kind: str) -> bool:
    """Whether a layer of that kind got this name from Keras."""
    return base_of(name) == kind


def pair(layers: Sequence[keras.layers.Layer], stored: Sequence[Stored]) -> list[Pair]:
    """Pairs layers with stored ones; what is in no pair has no certain counterpart.

    Names that users gave are compared as they are. Names that Keras gave depend on what else was
    built in the same session: `dense_1` may be the second Dense layer in one file and the first in
    another. Where these do not agree as a whole, the layers of a class are paired in their order,
    if both sides have equally many and their numbers rise in the same order.
    """
    by_name = {entry.name: entry for entry in stored if entry.named}
    pairs = [
        Pair(layer, by_name[layer.name], "by name")
        for layer in layers
        if layer.name in by_name
        and not is_numbered(layer.name, kind_of(layer))
        and by_name[layer.name].kind in (None, kind_of(layer))
    ]
    taken = {id(found.layer) for found in pairs} | {id(found.stored) for found in pairs}
    ours = [layer for layer in layers if id(layer) not in taken]
    theirs = [entry for entry in stored if id(entry) not in taken]
    for kind in dict.fromkeys(map(kind_of, ours)):
        same = [layer for layer in ours if kind_of(layer) == kind]
        unnamed = [entry for entry in theirs if not entry.named and entry.kind == kind]
        if unnamed:
            pairs += _pair_in_order(same, unnamed)
            continue
        pairs += _pair_numbered(
            [layer for layer in same if is_numbered(layer.name, kind)],
            [e for e in theirs if e.kind in (None, kind) and is_numbered(e.name, kind)],
        )
    order = {id(layer): number for number, layer in enumerate(layers)}
    return sorted(pairs, key=lambda found: order[id(found.layer)])


def _pair_numbered(ours: Sequence[keras.layers.Layer], theirs: Sequence[Stored]) -> list[Pair]:
    by_name = {entry.name: entry for entry in theirs}
    names = {layer.name for layer in ours}
    if names <= set(by_name) or set(by_name) <= names:
        both = [layer for layer in ours if layer.name in by_name]
        return [Pair(layer, by_name[layer.name], "by name") for layer in both]
    return _pair_in_order(ours, theirs)


def _pair_in_order(ours: Sequence[keras.layers.Layer], theirs: Sequence[Stored]) -> list[Pair]:
    """Pairs by place, if both sides have equally many, and if the numbers do not say otherwise.

    The numbers give the order in which layers were made, the places the order in the graph.
    """
    if len(ours) != len(theirs):
        return []
    pairs = [Pair(layer, entry, "by order") for layer, entry in zip(ours, theirs, strict=True)]
    if all(entry.named for entry in theirs):
        by_number = sorted(pairs, key=lambda found: number_of(found.layer.name))
        numbers = [number_of(found.stored.name) for found in by_number]
        if numbers != sorted(numbers):
            return []
    return pairs


def paired(model: keras.Model, stored: list[Stored]) -> tuple[list[Pair], list[Stored]]:
    """The model's layers with what is stored for each, and what is stored for none."""
    pairs = pair([layer for layer in model.layers if layer.weights], stored)
    used = {id(found.stored) for found in pairs}
    return pairs, [entry for entry in stored if id(entry) not in used]


def difference(variables: Sequence[Any], stored: Stored) -> str:
    """The mismatch in words: what the layer has and what the file has for it."""
    ours = ", ".join(f"{v.name} {tuple(v.shape)}" for v in variables[:4])
    last = [key.split(":")[0].split("/")[-1] for key in stored.keys]
    theirs = ", ".join(
        f"{name} {shape}" for name, shape in list(zip(last, stored.shapes, strict=True))[:4]
    )
    more = ", ..." if max(len(variables), len(last)) > 4 else ""
    return f"the layer has {ours or 'no weights'}{more}, the file {theirs}{more}"
