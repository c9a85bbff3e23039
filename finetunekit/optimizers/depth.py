"""Groups of layers by depth, from the input to the output, one for each block."""

import re
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.models import graph, metadata

# `conv2_block1`, `block_3`, `block5a`, `stage_0_block_2`, `transformer_layer_4`, `layer1_0`,
# `features_12`: as keras.applications, KerasHub, torchvision and timm name their blocks.
_UNIT = (
    r"(?:layers?\d+[_.]\d+"
    r"|(?:block|layer|stage|stack|cell|mixed|unit)s?\d+[a-z]?"
    r"|(?:block|layer|stage|stack|cell|unit|features)s?[_.]+\d+(?:[_.]\d+)?)(?![a-z0-9])"
)
_BLOCK = re.compile(rf"^.*?(?:(?<=[/_.])|^){_UNIT}(?:[_.]{_UNIT})*", re.IGNORECASE)

MOST = 24
"""How many groups there are at most; more are merged, as with timm's `layer_max`."""

Group = tuple[str, list[keras.layers.Layer]]


def groups(model: keras.Model) -> list[Group]:
    """Groups of the layers with weights by depth, the ones nearest to the input first.

    Blocks are recognised by their names; what comes before them is one group, what comes after them
    is another, and the head is the last. Without such names each layer with a kernel begins a
    group.
    """
    head = metadata.roles(model).get("head")
    of_head = {id(v) for v in head.weights} if head is not None else set()
    rows = [
        (place.path, place.layer)
        for place in graph.walk(model)
        if keras_internals.own_trainable_variables(place.layer)
    ]
    body = [row for row in rows if not _holds(row[1], of_head)]
    names = [_block(path) for path, _ in body]
    labelled = _by_name(names) if any(names) else _by_kernel(body)
    found: dict[str, list[keras.layers.Layer]] = {}
    for label, (_, layer) in zip(labelled, body, strict=True):
        found.setdefault(label, []).append(layer)
    merged = _merged(list(found.items()))
    last = [layer for _, layer in rows if _holds(layer, of_head)]
    return [*merged, ("head", last)] if last else merged


def _holds(layer: keras.layers.Layer, variables: set[int]) -> bool:
    return id(keras_internals.own_trainable_variables(layer)[0]) in variables


def _block(path: str) -> str | None:
    found = _BLOCK.match(path)
    return found.group() if found else None


def _by_name(names: list[str | None]) -> list[str]:
    """A label for each layer: its block, or what stands before, between or after the blocks."""
    first = next(n for n, name in enumerate(names) if name)
    last = max(n for n, name in enumerate(names) if name)
    labels: list[str] = []
    for number, name in enumerate(names):
        if name:
            labels.append(name)
        elif number < first:
            labels.append("stem")
        else:
            labels.append("tail" if number > last else labels[-1])
    return labels


def _by_kernel(rows: list[Any]) -> list[str]:
    labels: list[str] = []
    for path, layer in rows:
        begins = any(len(v.shape) >= 2 for v in keras_internals.own_trainable_variables(layer))
        labels.append(path if begins or not labels else labels[-1])
    return labels


def _merged(found: list[Group]) -> list[Group]:
    if len(found) <= MOST:
        return found
    merged: list[Group] = []
    for number, (label, layers) in enumerate(found):
        if number * MOST // len(found) == len(merged):
            merged.append((label, list(layers)))
        else:
            merged[-1][1].extend(layers)
    return merged
