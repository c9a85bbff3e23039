"""`load_weights_from_torch`: tensors of a torch checkpoint matched with weights of a model."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.backbones import checkpoints, report
from finetunekit.backbones.torch_models.builder import named
from finetunekit.backbones.weights import WeightsReport, WeightsRow
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed, say
from finetunekit.models import graph

_L = keras.layers
_IGNORED = ("num_batches_tracked", "position_ids")


@dataclass(frozen=True)
class _Slot:
    """A layer of the model, and what its weights look like in torch: names and shapes."""

    path: str
    layer: Any
    shapes: dict[str, tuple[int, ...]]

    @property
    def signature(self) -> tuple[Any, ...]:
        return tuple(sorted(self.shapes.items()))


@dataclass(frozen=True)
class _Group:
    """The tensors of one module of torch."""

    prefix: str
    tensors: dict[str, np.ndarray]

    @property
    def signature(self) -> tuple[Any, ...]:
        return tuple(sorted((name, array.shape) for name, array in self.tensors.items()))


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
    groups = _groups(checkpoints.read(target, "path"))
    slots = _slots(model)
    pairs, how = _pairs(slots, groups, model, target)
    old = [[np.array(w) for w in slot.layer.get_weights()] for slot, _ in pairs]
    for slot, group in pairs:
        slot.layer.set_weights(_arrays(slot.layer, group.tensors))
    if reference is not None:
        try:
            report.check_parity(model, reference)
        except BaseException:
            for (slot, _), arrays in zip(pairs, old, strict=True):
                slot.layer.set_weights(arrays)
            raise
    rows = [
        WeightsRow(slot.path, "loaded", _count(slot), how, f"stored as {group.prefix!r}")
        for slot, group in pairs
    ]
    say(
        f"weights of {len(rows)} layers of {model.name!r} from {os.path.basename(target)}, "
        f"matched {how}"
        + ("" if reference is not None else "; not compared with outputs: give `reference=`")
    )
    return WeightsReport(os.path.basename(target), tuple(rows))


def _count(slot: _Slot) -> int:
    return sum(int(np.prod(shape)) for shape in slot.shapes.values())


def _groups(state: dict[str, np.ndarray]) -> list[_Group]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in state.items():
        prefix, _, name = key.rpartition(".")
        if name not in _IGNORED:
            found.setdefault(prefix, {})[name] = array
    return [_Group(prefix, tensors) for prefix, tensors in found.items()]


def _slots(model: keras.Model) -> list[_Slot]:
    slots = []
    for place in graph.leaves(model):
        if not place.layer.weights:
            continue
        shapes = _shapes_in_torch(place.layer)
        if shapes is None:
            raise ValueError(
                f"`model` has the layer {place.path!r}, a {type(place.layer).__name__}, which has "
                "no plain counterpart in torch. Set its weights yourself, "
                "`layer.set_weights(arrays)`. "
                f"Received: model={model!r}"
            )
        slots.append(_Slot(place.path, place.layer, shapes))
    return slots


def _shapes_in_torch(layer: Any) -> dict[str, tuple[int, ...]] | None:
    if isinstance(layer, (_L.BatchNormalization, _L.LayerNormalization)):
        names = {"gamma": "weight", "beta": "bias"}
        names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
        return {names[v.name]: tuple(v.shape) for v in layer.weights if v.name in names}
    if isinstance(layer, _L.Embedding):
        return {"weight": tuple(layer.embeddings.shape)}
    if type(layer) not in (_L.Dense, _L.Conv1D, _L.Conv2D, _L.DepthwiseConv2D):
        return None
    kernel = tuple(layer.kernel.shape)
    if isinstance(layer, _L.DepthwiseConv2D):
        shape: tuple[int, ...] = (kernel[2] * kernel[3], 1, *kernel[:2])
    else:
        shape = (kernel[-1], kernel[-2], *kernel[:-2])
    return {"weight": shape} | ({"bias": tuple(layer.bias.shape)} if layer.use_bias else {})


def _arrays(layer: Any, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The tensors of a module in the order and form of the layer's weights."""
    if isinstance(layer, (_L.BatchNormalization, _L.LayerNormalization)):
        names = {"gamma": "weight", "beta": "bias"}
        names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
        return [tensors[names[v.name]] for v in layer.weights]
    weight = tensors["weight"]
    if isinstance(layer, _L.DepthwiseConv2D):
        weight = weight.reshape(*layer.kernel.shape[2:], *weight.shape[2:]).transpose(2, 3, 0, 1)
    elif not isinstance(layer, _L.Embedding):
        weight = np.moveaxis(weight, (0, 1), (-1, -2))
    return [weight, *([tensors["bias"]] if "bias" in tensors else [])]


def _pairs(
    slots: list[_Slot], groups: list[_Group], model: keras.Model, path: str
) -> tuple[list[tuple[_Slot, _Group]], str]:
    by_name = {named(group.prefix): group for group in groups}
    names = [slot.layer.name for slot in slots]
    if set(names) == set(by_name) and len(set(names)) == len(slots) == len(groups):
        pairs = [(slot, by_name[slot.layer.name]) for slot in slots]
        if all(slot.signature == group.signature for slot, group in pairs):
            return pairs, "by name"
    ours, theirs = ([part.signature for part in parts] for parts in (slots, groups))
    if ours == theirs:
        return list(zip(slots, groups, strict=True)), "by order"
    if Counter(ours) == Counter(theirs) and len(set(ours)) == len(ours):
        by_shape = {group.signature: group for group in groups}
        return [(slot, by_shape[slot.signature]) for slot in slots], "by shape"
    raise ValueError(_disagreement(slots, groups, model, path))


def _disagreement(slots: list[_Slot], groups: list[_Group], model: keras.Model, path: str) -> str:
    ours = Counter(slot.signature for slot in slots)
    theirs = Counter(group.signature for group in groups)
    if ours == theirs:
        twice = {signature for signature, count in ours.items() if count > 1}
        what = (
            "hold the same shapes in another order, and some several times, so that it is not "
            f"clear which is which: {listed([s.path for s in slots if s.signature in twice], 4)}"
        )
    else:
        lacking = [s.path for s in slots if ours[s.signature] > theirs[s.signature]]
        over = [g.prefix for g in groups if theirs[g.signature] > ours[g.signature]]
        what = (
            f"do not agree: nothing of the right shape is there for {listed(lacking, 4) or 'none'}"
            f", and {listed(over, 4) or 'none'} of the file is left over"
        )
    return (
        f"`path` and {model.name!r} {what}. Name the layers as in torch, `layer1_0_conv1` for "
        "`layer1.0.conv1`, or build the model in the order of the file; nothing was loaded. "
        f"Received: path={path!r}"
    )
