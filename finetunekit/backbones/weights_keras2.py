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
from finetunekit.backbones.weights_nested import Match, holds_models
from finetunekit.backbones.weights_pairing import (
    Assignment,
    Disagreement,
    Pair,
    Stored,
    difference,
    paired,
)
from finetunekit.foundation.messages import listed
from finetunekit.models import graph


class Keras2File:
    """Lists of names: `layer_names` of the file, `weight_names` of each layer."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self.group, self.name = group, name
        self.flattens: list[str] = []
        self.written = Written.read([group, group.file], name)

    def pairs(self, model: keras.Model) -> tuple[list[Pair], list[Stored]]:
        """The model's layers with what is stored for each, and what is stored for none."""
        self.flattens = [place.path for place in graph.walk(model) if _mixes_axes(place.layer)]
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
        found = keras2.match_layer(layer, arrays.names, arrays.shapes, arrays.fits, renumbered=True)
        if found is None:
            found = self._nameless(layer, stored)
        elif fault := arrays.fault(found.pairs):
            raise Disagreement(fault)
        elif self.flattens and arrays.is_turned(found.pairs):
            raise Disagreement(
                "its kernel in the file is of a model with channels first, and "
                f"{self.flattens[0]!r} would put the pixels in another order than there"
            )
        assigned = [
            Assignment(
                variable,
                functools.partial(arrays.read, variable, number, stored.group, self.name),
                tuple(arrays.notes(variable, number)),
            )
            for variable, number in found.pairs
        ]
        return assigned, found.by_order

    def _nameless(self, layer: keras.layers.Layer, stored: Stored) -> Match:
        """Of one variable that its layer gave no name.

        Raises:
            Disagreement: If it is another layer.
        """
        variables = keras2.variables_of(layer)
        shapes = [tuple(v.shape) for v in variables]
        if shapes == [*stored.shapes] and _is_nameless(variables):
            return Match([(variables[0], 0)], by_order=True)
        if holds_models(layer) and sorted(shapes) == sorted(stored.shapes):
            owners = dict.fromkeys(key.rpartition("/")[0] for key in stored.keys)
            raise Disagreement(
                f"the layers inside are called otherwise in the file, {listed(owners, 6)}, and "
                "their shapes leave more than one way"
            )
        raise Disagreement(difference(variables, stored))


def _mixes_axes(layer: keras.layers.Layer) -> bool:
    """Whether a layer puts channels and pixels into one axis."""
    if not isinstance(layer, (keras.layers.Flatten, keras.layers.Reshape)):
        return False
    try:
        shape = tuple(layer.input.shape)
    except (AttributeError, ValueError):  # Called several times, or inside a wrapper.
        return True
    return len(shape) > 3 and any(size != 1 for size in shape[1:-1])


def _is_nameless(variables: Sequence[Any]) -> bool:
    """Whether it is one variable that its layer gave no name, such as ConvNeXt's LayerScale."""
    return len(variables) == 1 and re.fullmatch(r"variable(_\d+)?", variables[0].name) is not None
