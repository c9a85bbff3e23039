"""The roles of a text model's inputs (token ids, padding mask, segments), by their names."""

from typing import Any

import keras

from finetunekit.models import graph

# Those of KerasHub, Hugging Face and TF-Hub.
_NAMES = {
    "ids": ("token_ids", "input_ids", "input_word_ids"),
    "mask": ("padding_mask", "attention_mask", "input_mask"),
    "segments": ("segment_ids", "token_type_ids", "input_type_ids"),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}


def named_inputs(model: keras.Model) -> dict[str, Any]:
    """Key or name of each input -> its symbolic tensor; empty if they are not known."""
    if not graph.is_graph(model):
        return {}
    structure = graph.input_structure(model)
    if isinstance(structure, dict):
        return dict(structure)
    return {tensor.name: tensor for tensor in keras.tree.flatten(structure)}


def of(model: keras.Model) -> dict[str, str] | None:
    """Key of each input -> `"ids"`, `"mask"` or `"segments"`; None if it takes anything else."""
    tensors = named_inputs(model)
    if len(tensors) == 1:
        ((key, tensor),) = tensors.items()
        whole = len(tensor.shape) == 2 and "float" not in str(tensor.dtype)
        known = _ROLES.get(key, "ids") == "ids"
        return {key: "ids"} if known and (whole or key in _ROLES) else None
    roles = {key: _ROLES.get(key, "") for key in tensors}
    return roles if sorted(roles.values()) in _WHOLE else None


_WHOLE = (["ids", "mask"], ["ids", "mask", "segments"])


def mask_of(model: keras.Model, inputs: Any) -> Any:
    """Of a model's inputs, symbolic or arrays, the padding mask; None if it takes none."""
    roles = of(model)
    if roles is None or "mask" not in roles.values():
        return None
    key = next(key for key, role in roles.items() if role == "mask")
    if isinstance(inputs, dict):
        return inputs.get(key)
    return keras.tree.flatten(inputs)[list(roles).index(key)]


def is_causal(model: keras.Model) -> bool:
    """Whether it reads from left to right, like GPT: its blocks are decoders, with no encoder."""
    kinds = [type(place.layer).__name__ for place in graph.walk(model)]
    decoders = any("Decoder" in kind for kind in kinds)
    return decoders and not any("Encoder" in kind for kind in kinds)


def longest(model: keras.Model) -> int | None:
    """The length of its position embedding; None if there is no such limit."""
    rooms = []
    for place in graph.walk(model):
        # KerasHub's PositionEmbedding, and what holds one.
        size = getattr(place.layer, "sequence_length", None)
        if "Position" in type(place.layer).__name__ and isinstance(size, int):
            rooms.append(size)
    return min(rooms, default=None)
