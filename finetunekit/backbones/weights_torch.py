"""`load_weights_from_torch`: tensors of a torch checkpoint matched with weights of a model."""

import os
from collections import Counter
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import (
    checkpoints,
    feature_order,
    report,
    torch_defaults,
    torch_matching,
    torch_modules,
)
from finetunekit.backbones.checkpoints import Checkpoint
from finetunekit.backbones.torch_matching import Match
from finetunekit.backbones.torch_modules import Order
from finetunekit.backbones.weights import WeightsReport, WeightsRow
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, plural, say, warn

_REORDERED = "features reordered from channel, height, width"


def load_weights_from_torch(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    reference: tuple[Any, Any] | None = None,
    state_dict: str | None = None,
) -> WeightsReport:
    """Loads the weights of a torch checkpoint into a model, in place: all of them, or none.

    Convolutions, dense layers, embeddings and normalisations are matched by name: what agrees once
    a common prefix is taken off counts (`model.layer1.0.conv1` is `layer1_0_conv1`). What is left
    is matched by order, if classes and shapes agree, or by a shape that occurs once. A pairing that
    contradicts names or shapes, or is ambiguous, is an error. Dense layers behind a Flatten, and in
    front of a Reshape to images, get their features in Keras' order, channels last.

    Matching weights do not prove that the model computes the same: padding and epsilons are not in
    a checkpoint. Keras' own defaults are warned of; pass `reference` to be sure.

    Args:
        model: A built Keras model.
        path: A file of `torch.save` or safetensors; torch is not needed.
        reference: A batch as the Keras model takes it and what the torch model gives for it,
            `(inputs, outputs)`; if the outputs differ, the old weights are restored.
        state_dict: The key of the state dict, if the file holds several, or of a part of it, such
            as `"state_dict"` or `"model.student.backbone"`. By default the only one; of raw and
            averaged weights of the same model, the averaged ones.

    Returns:
        A `WeightsReport`.

    Raises:
        ValueError: If there is no unique match, several state dicts may be meant, or the outputs
            differ from the reference. The model is as it was.
        OSError: If the file cannot be read.
        TypeError: If it is not a keras.Model, or `state_dict` is not a string.

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
    checkpoint = checkpoints.read(target, "path", state_dict=state_dict)
    matches = _matches(model, checkpoint, target)
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
    reordered = [match.slot.path for match in matches if id(match.slot.layer) in orders]
    _say(model, target, checkpoint, matches, reordered, compared=reference is not None)
    return WeightsReport(os.path.basename(target), _rows(checkpoint, matches, reordered))


def _matches(model: keras.Model, checkpoint: Checkpoint, path: str) -> list[Match]:
    slots, groups = torch_modules.slots(model), torch_modules.groups(checkpoint.arrays)
    try:
        return torch_matching.match(slots, groups, checkpoint.key)
    except torch_matching.Mismatch as fault:
        raise ValueError(
            f"`path` and {model.name!r} {fault}. Name the layers as in torch, `layer1_0_conv1` for "
            "`layer1.0.conv1`, build the model in the order of the file, or take a part of the "
            f"file with `state_dict=`; nothing was loaded. Received: path={path!r}"
        ) from fault


def _rows(
    checkpoint: Checkpoint, matches: list[Match], reordered: list[str]
) -> tuple[WeightsRow, ...]:
    rows = []
    for match in matches:
        path, note = match.slot.path, f"stored as {match.group.prefix!r}"
        note += f", {_REORDERED}" if path in reordered else ""
        rows.append(WeightsRow(path, "loaded", match.slot.count, match.how, note))
    note = f"raw weights; the average {checkpoint.key!r} is taken"
    left = checkpoint.left.items()
    return (*rows, *(WeightsRow(key, "skipped", count, note=note) for key, count in left))


def _say(
    model: keras.Model,
    path: str,
    checkpoint: Checkpoint,
    matches: list[Match],
    reordered: list[str],
    *,
    compared: bool,
) -> None:
    source = os.path.basename(path)
    for line in checkpoint.notes:
        say(f"{source}: left out {line}")
    say(
        f"weights of {plural(len(matches), 'layer')} of {model.name!r} from {source}, matched "
        + _ways(matches)
        + (f"; {_REORDERED} for {listed(reordered, 4)}" if reordered else "")
        + ("" if compared else "; not compared with outputs: give `reference=`")
    )
    if not compared:
        for doubt in torch_defaults.doubts(
            (match.slot.path, match.slot.layer) for match in matches
        ):
            warn(f"{source}: {doubt}")


def _orders(model: keras.Model, *, checked: bool) -> dict[int, Order]:
    """The orders of flattened features; what cannot be followed needs outputs to compare with."""
    try:
        return feature_order.orders(model)
    except feature_order.Untraceable as fault:
        if checked:
            return {}
        raise ValueError(
            f"`model` {fault}, so it is not clear in which order torch has its weights. Build it "
            "as a graph of layers with Flatten and Reshape, or pass `reference=`: then the weights "
            f"are taken as they are, and the outputs compared. Received: model={model!r}"
        ) from fault


def _ways(matches: list[Match]) -> str:
    """How the layers were matched: `by name`, or `by name (3) and by order (1)`."""
    count = Counter(match.how for match in matches)
    if len(count) == 1:
        return matches[0].how
    return " and ".join(f"{how} ({number})" for how, number in count.items())
