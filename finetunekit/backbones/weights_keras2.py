"""Weights of layers in Keras 2 files, found by their lists of names."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import h5py
import keras

from finetunekit.backbones import hdf5
from finetunekit.backbones.keras2 import weights as keras2
from finetunekit.backbones.keras2.conversions import LayerArrays, Written
from finetunekit.backbones.weights_pairing import (
    Assignment,
    Disagreement,
    Pair,
    Stored,
    difference,
    is_numbered,
    kind_of,
    paired,
)
from finetunekit.foundation import keras_internals
from finetunekit.models import graph


class Keras2File:
    """Lists of names: `layer_names` of the file, `weight_names` of each layer."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self.group, self.name = group, name
        self.written = Written.read([group, group.file], name)

    def pairs(self, model: keras.Model) -> tuple[list[Pair], list[Stored]]:
        """The model's layers with what is stored for each, and what is stored for none."""
        return paired(model, self._stored())

    def _stored(self) -> list[Stored]:
        """The layers that hold weights, in the file's order."""
        found = []
        names = hdf5.attribute_list(self.group, "layer_names", name=self.name)
        for layer in [*names, "top_level_model_weights"]:
            if layer == "top_level_model_weights" and layer not in self.group:
                continue
            group = hdf5.child(self.group, layer, name=self.name)
            keys = hdf5.attribute_list(group, "weight_names", name=self.name)
            shapes = [hdf5.shape_of(group, key, name=self.name) for key in keys]
            if keys:
                # Keras 3 allows no slash in a name and writes `_` for it.
                name = layer.replace("/", "_")
                found.append(Stored(name, None, group, tuple(keys), tuple(shapes)))
        return found

    def assign(self, layer: keras.layers.Layer, stored: Stored) -> tuple[list[Assignment], bool]:
        """Where each variable's value is stored, and whether any was found by its order alone.

        Raises:
            Disagreement: If names or shapes differ.
        """
        arrays = LayerArrays(layer, stored.keys, stored.shapes, self.written)
        pairs = keras2.match_layer(layer, arrays.names, arrays.shapes, arrays.fits)
        by_order = False
        if pairs is None:
            variables = keras2.variables_of(layer)
            if [tuple(v.shape) for v in variables] != [*stored.shapes] or not _is_nameless(
                variables
            ):
                raise Disagreement(difference(variables, stored))
            pairs, by_order = [(variables[0], 0)], True
        elif fault := arrays.fault(pairs):
            raise Disagreement(fault)
        elif graph.is_graph(layer):
            by_order = _by_order(layer, pairs, arrays.names)
        assigned = [
            Assignment(
                variable,
                functools.partial(arrays.read, variable, number, stored.group, self.name),
                tuple(arrays.notes(variable, number)),
            )
            for variable, number in pairs
        ]
        return assigned, by_order


def _by_order(
    model: keras.Model, pairs: Sequence[tuple[Any, int]], stored_names: Sequence[str]
) -> bool:
    """Whether layers inside a nested model have other names in the file.

    Raises:
        Disagreement: If these are not all names that Keras numbered: order must not override
            names.
    """
    owners = {
        id(v): p.layer for p in graph.leaves(model) for v in keras_internals.own_weights(p.layer)
    }
    names = {_owner(variable.path) for variable, _ in pairs}
    by_order = False
    for variable, number in pairs:
        ours, theirs = _owner(variable.path), _owner(stored_names[number])
        kind = kind_of(owners[id(variable)])
        if ours != theirs:
            by_order = True
            if theirs in names and not (is_numbered(ours, kind) and is_numbered(theirs, kind)):
                raise Disagreement(f"the file has {theirs!r} where the model has {ours!r}")
    return by_order


def _is_nameless(variables: Sequence[Any]) -> bool:
    """Whether it is one variable that its layer gave no name, such as ConvNeXt's LayerScale."""
    return len(variables) == 1 and re.fullmatch(r"variable(_\d+)?", variables[0].name) is not None


def _owner(name: str) -> str:
    return "/".join(name.split(":")[0].split("/")[-2:-1])
