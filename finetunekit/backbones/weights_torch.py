"""`load_weights_from_torch`: tensors of a torch checkpoint matched with weights of a model."""

import os
from collections import Counter
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import checkpoints, feature_order, report, torch_matching, torch_modules
from finetunekit.backbones.torch_modules import Group, Order, Slot
from finetunekit.backbones.weights import WeightsReport, WeightsRow
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, plural, say

_REORDERED = "features reordered from channel, height, width"


def load_weights_from_torch(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    reference: tuple[Any, Any] | None = None,
) -> WeightsReport:
    """Loads the weights of a torch checkpoint into a model, in place: all of them, or none.

    Convolutions, dense layers, embeddings, BatchNormalization and LayerNormalization are matched
    by name, if all names agree (`layer1.0.conv1` is `layer1_0_conv1`); otherwise by order, if all
    classes and shapes agree; otherwise by shape, if each shape occurs once. Anything else is
    ambiguous, which is an error. Equal shapes do not prove that the model computes the same:
    padding, epsilons and flattening differ between the two, so pass `reference`.

    Args:
        model: A built Keras model.
        path: A file of `torch.save` or safetensors; torch is not needed.
        reference: A batch as the Keras model takes it and what the torch model gives for it,
            `(inputs, outputs)`; if the outputs differ, the old weights are restored.

    Returns:
        A `WeightsReport`.

    Raises:
        ValueError: If there is no unique match, or the outputs differ from the
            reference. The model is as it was.
        OSError: If the file cannot be read.
        TypeError: If it is not a keras.Model.

    Example:
        ```python
        import finetunekit as ftk

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
        try:
            ftk.load_weights_from_torch(model, "linear.pth")
        except FileNotFoundError as error:
            print(error)
        ```
    """
    arguments.check_model(model)
    target = os.fspath(path)
    groups = torch_modules.groups(checkpoints.read(target, "path"))
    matches = _matched(torch_modules.slots(model), groups, model, target)
    orders = _orders(model, checked=reference is not None)
    old = [[np.array(w) for w in match.slot.layer.get_weights()] for match in matches]
    for match in matches:
        layer, tensors = match.slot.layer, match.group.tensors
        layer.set_weights(torch_modules.arrays(layer, tensors, orders.get(id(layer), Order())))
    if reference is not None:
        try:
            report.check_parity(model, reference)
        except BaseException:
            for match, arrays in zip(matches, old, strict=True):
                match.slot.layer.set_weights(arrays)
            raise
    rows = [
        WeightsRow(
            match.slot.path,
            "loaded",
            match.slot.count,
            match.how,
            f"stored as {match.group.prefix!r}"
            + (f", {_REORDERED}" if id(match.slot.layer) in orders else ""),
        )
        for match in matches
    ]
    say(
        f"weights of {plural(len(rows), 'layer')} of {model.name!r} from "
        f"{os.path.basename(target)}, matched {_ways(rows)}"
        + _reordered([match.slot.path for match in matches if id(match.slot.layer) in orders])
        + ("" if reference is not None else "; not compared with outputs: give `reference=`")
    )
    return WeightsReport(os.path.basename(target), tuple(rows))


def _orders(model: keras.Model, *, checked: bool) -> dict[int, Order]:
    """The orders of flattened features; what cannot be followed needs outputs to compare with."""
    try:
        return feature_order.orders(model)
    except feature_order.Untraceable as fault:
        if checked:
            return {}
        raise ValueError(
            f"`model` {fault}, so it is not clear in which order torch has its weights. Build it as "
            "a graph of layers with Flatten and Reshape, or pass `reference=`: then the weights "
            f"are taken as they are, and the outputs compared. Received: model={model!r}"
        ) from fault


def _reordered(paths: list[str]) -> str:
    return f"; {_REORDERED} for {listed(paths, 4)}" if paths else ""


def _ways(rows: list[WeightsRow]) -> str:
    """How the layers were matched: `by name`, or `by name (3) and by order (1)`."""
    count = Counter(row.matched for row in rows)
    if len(count) == 1:
        return rows[0].matched
    return " and ".join(f"{how} ({number})" for how, number in count.items())


def _matched(
    slots: list[Slot], groups: list[Group], model: keras.Model, path: str
) -> list[torch_matching.Match]:
    try:
        return torch_matching.match(slots, groups)
    except torch_matching.Mismatch as fault:
        raise ValueError(
            f"`path` and {model.name!r} {fault}. Name the layers as in torch, `layer1_0_conv1` for "
            "`layer1.0.conv1`, or build the model in the order of the file; nothing was loaded. "
            f"Received: path={path!r}"
        ) from fault
