"""Weights of layers in `.weights.h5` files, found in their tree of groups."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import h5py
import keras

from finetunekit.backbones import hdf5
from finetunekit.backbones.keras2 import cudnn
from finetunekit.backbones.keras2.stored import Array
from finetunekit.backbones.weights_members import OPEN, Entry, pair_members
from finetunekit.backbones.weights_pairing import (
    Assignment,
    Disagreement,
    Pair,
    Stored,
    base_of,
    difference,
    kind_of_class,
    pair,
    paired,
)
from finetunekit.foundation import keras_internals
from finetunekit.foundation.messages import listed
from finetunekit.models import graph

LAYERS = ("layers", "_layer_checkpoint_dependencies")  # The second until tf_keras 2.13.
# What tf_keras called layers that are read into others.
_KINDS = {"cu_dnngru": "gru", "cu_dnnlstm": "lstm"}
_RANDOM_STATE = "seed_generator"
_DEEPEST = 100


class Keras3File:
    """A tree of groups by class and attribute, with numbered arrays under `vars`."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self.group, self.name = group, name
        self.visits = 0
        self.open: set[int] = set()

    def pairs(self, model: keras.Model) -> tuple[list[Pair], list[Stored]]:
        """The model's layers with what is stored for each, and what is stored for none."""
        if graph.is_graph(model):
            names = [layer.name for layer in model.layers]
            found, left = paired(model, self._stored_in(self.group, names))
            self.open = self._of_a_class(found)
            return found, left
        found, left = pair_members(model, list(self._entries(model, self.group)))
        self.open = {id(entry.stored) for entry in found if entry.how == OPEN}
        return found, left

    def _entries(self, layer: Any, group: h5py.Group) -> Iterator[Entry]:
        """What a group stores of the layers inside a layer."""
        held = {
            key.lstrip("_") for key, v in vars(layer).items() if isinstance(v, keras.layers.Layer)
        }
        for key in sorted(group, key=_natural):
            place = group[key]
            if key in ("vars", _RANDOM_STATE) or not isinstance(place, h5py.Group):
                continue
            alone = "vars" in place or key.lstrip("_") in held
            for child, inner in [(key, place)] if alone else _groups(place):
                name = self._layer_name(inner)
                named = bool(name) and not (alone and _is_automatic(str(name)))
                kind = None if alone else self._kind(child, place)
                stored = self._as_stored(str(name) if named else child, kind, inner)
                if stored.keys:
                    yield Entry(key, alone, dataclasses.replace(stored, named=named))

    def _of_a_class(self, pairs: Sequence[Pair]) -> set[int]:
        """Stored layers of a subclassed model whose order is not that of a graph, and alike."""
        if all(key in (*LAYERS, "vars") for key in self.group):
            return set()
        unnamed = [found.stored for found in pairs if not found.stored.named]
        forms = Counter((stored.kind, *sorted(stored.shapes)) for stored in unnamed)
        return {id(e) for e in unnamed if e.kind and forms[e.kind, *sorted(e.shapes)] > 1}

    def _as_stored(self, name: str, kind: str | None, group: h5py.Group) -> Stored:
        keys = list(self._arrays(group))
        shapes = [hdf5.shape_of(group, path, name=self.name) for path in keys]
        return Stored(name, kind, group, tuple(keys), tuple(shapes))

    def _stored_in(self, group: h5py.Group, named: Iterable[str] = ()) -> list[Stored]:
        """What a group stores of a model's layers; of its attributes, those named as layers."""
        key = next((key for key in LAYERS if key in group), None)
        container = group if key is None else hdf5.child(group, key, name=self.name)
        # A subclassed model's file has the attributes that hold layers beside what is left.
        places = [] if key is None else [(group, child) for child in named if child in group]
        places += [(container, child) for child in sorted(container, key=_natural)]
        found = []
        for holder, child in places:
            if child == "vars" or not isinstance(holder[child], h5py.Group):
                continue
            inner = hdf5.child(holder, child, name=self.name)
            name = self._layer_name(inner)
            if holder is group:  # Attributes are named by hand.
                name = name if name and not _is_automatic(name) else child
            kind = None if holder is group else self._kind(child, container)
            entry = self._as_stored(name or child, kind, inner)
            if entry.keys:
                found.append(dataclasses.replace(entry, named=bool(name)))
        return found

    def _kind(self, child: str, container: h5py.Group) -> str:
        """The kind of layer that a group is of."""
        kind = re.sub(r"_\d+$", "", child)
        # Where both are there, their common order is not in the file.
        today = _KINDS.get(kind, kind)
        return kind if today in container else today

    def _layer_name(self, group: h5py.Group) -> str | None:
        own = group.get("vars")
        if not isinstance(own, h5py.Group):
            return None
        return hdf5.attribute_text(own, "name", name=self.name)

    def _arrays(self, group: h5py.Group, path: str = "", depth: int = 0) -> Iterator[str]:
        for key in sorted(group, key=_natural):
            self.visits += 1
            # Groups linked in a circle have no end, and those linked twice double at each step.
            if depth > _DEEPEST or self.visits > hdf5.MOST_LINKS:
                raise ValueError(
                    f"`{self.name}` is refused: its groups contain each other without end. Get "
                    f"the file again. Received: {self.name}={group.file.filename!r}"
                )
            place = f"{path}/{key}" if path else key
            if isinstance(group[key], h5py.Group):
                if key != _RANDOM_STATE:
                    yield from self._arrays(group[key], place, depth + 1)
            else:
                yield place

    def assign(self, layer: keras.layers.Layer, stored: Stored) -> tuple[list[Assignment], bool]:
        """Where each variable's value is stored, and whether any was found by its order alone.

        Raises:
            Disagreement: If the layers inside, the number of weights or their shapes differ.
        """
        if id(stored) in self.open:
            raise Disagreement(open_end([layer.name]))
        assigned, by_order = self._assign(layer, stored.group)
        if len(assigned) != len(stored.keys):
            raise Disagreement(difference(layer.weights, stored))
        return assigned, by_order

    def _assign(self, layer: Any, group: h5py.Group) -> tuple[list[Assignment], bool]:
        converted = list(self._of_cudnn(layer, group))
        if converted:
            return converted, False
        assigned = list(self._own(layer, group))
        by_order = False
        if graph.is_graph(layer):
            inner_layers = [inner for inner in layer.layers if inner.weights]
            pairs = pair(inner_layers, self._stored_in(group))
            missing = {id(inner) for inner in inner_layers} - {id(found.layer) for found in pairs}
            if missing:
                names = [inner.name for inner in inner_layers if id(inner) in missing]
                raise Disagreement(f"the file holds nothing for {listed(names, 4)} in it")
            below = [(found.layer, found.stored.group) for found in pairs]
            by_order = any(found.how == "by order" for found in pairs)
        else:
            pairs = self._composite(layer, group)
            below = [(found.layer, found.stored.group) for found in pairs]
            by_order = any(found.how != "by name" for found in pairs)
        for inner, inner_group in below:
            more, more_by_order = self._assign(inner, inner_group)
            assigned += more
            by_order |= more_by_order
        return assigned, by_order

    def _of_cudnn(self, layer: Any, group: h5py.Group) -> Iterator[Assignment]:
        own = group.get("vars")
        if not isinstance(own, h5py.Group) or sorted(own) != ["0", "1", "2"]:
            return
        shapes = [hdf5.shape_of(own, key, name=self.name) for key in sorted(own)]
        pairs = cudnn.pairs(layer, shapes)
        if pairs and (fault := cudnn.fault([layer])):
            raise Disagreement(fault)
        for number, (variable, way) in enumerate(pairs):
            array = Array(str(number), (str(number),), (shapes[number],), (way,))
            read = functools.partial(array.read, own, way, self.name)
            yield Assignment(variable, read, (way.note,))

    def _own(self, layer: Any, group: h5py.Group) -> Iterator[Assignment]:
        variables = keras_internals.own_weights(layer)
        own = group.get("vars")
        own = own if isinstance(own, h5py.Group) else {}
        if len(own) != len(variables):
            raise Disagreement(
                f"{layer.name!r} has {len(variables)} weights of its own, the file {len(own)}"
            )
        for number, variable in enumerate(variables):
            shape = hdf5.shape_of(own, str(number), name=self.name)
            if shape != tuple(variable.shape):
                raise Disagreement(f"{variable.name} is {tuple(variable.shape)}, stored {shape}")
            read = functools.partial(hdf5.array, own, str(number), shape=shape, name=self.name)
            yield Assignment(variable, read)

    def _composite(self, layer: Any, group: h5py.Group) -> list[Pair]:
        pairs, _ = pair_members(layer, list(self._entries(layer, group)))
        open_ends = [found.layer.name for found in pairs if found.how == OPEN]
        if open_ends:
            raise Disagreement(open_end(open_ends))
        done = {id(found.layer) for found in pairs}
        left = [x.name for x in keras_internals.sublayers(layer) if x.weights and id(x) not in done]
        if left:
            raise Disagreement(f"the file holds nothing for {listed(left, 4)} in it")
        return pairs


def open_end(names: Sequence[str]) -> str:
    """Why layers without names in the file are not paired."""
    return (
        f"the file has no names, and shapes leave more than one way for {listed(names, 4)}: save "
        "the weights in tf_keras as an '.h5' file, which has names"
    )


def _groups(group: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    for key in sorted(group, key=_natural):
        if isinstance(group[key], h5py.Group):
            yield key, group[key]


@functools.cache
def _automatic_names() -> frozenset[str]:
    classes = (v for v in vars(keras.layers).values() if isinstance(v, type))
    return frozenset(kind_of_class(found.__name__) for found in classes) | {
        "functional",
        "sequential",
    }


def _is_automatic(name: str) -> bool:
    """Whether Keras named a layer so, by its class and a number."""
    return base_of(name) in _automatic_names()


def _natural(key: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]
