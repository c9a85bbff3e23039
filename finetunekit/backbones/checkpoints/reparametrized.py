"""Weights that a checkpoint stores in parts, put together: `weight_norm` and pruning."""

import re

import numpy as np

from finetunekit.backbones.checkpoints.pickles import Refused
from finetunekit.foundation.messages import listed

_PARAMETRIZED = re.compile(r"(?:^|(?<=\.))parametrizations\.")
# What `torch.nn.utils` appends to the name of a weight, for the first part and the second.
_LENGTHS = (("_g", "_v"), (".original0", ".original1"))
_MASKED = (("_orig", "_mask"),)
_PARTS = re.compile(r".*(?:weight|bias)\w*(_g|_v|_orig|_mask|_u|\.original[01])")


def merged(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state dict with each weight in one piece, at the place of its first part.

    `weight_norm` stores length and direction, `weight_g` and `weight_v` or, since torch 2.0,
    `parametrizations.weight.original0` and `original1`; pruning stores `weight_orig` and
    `weight_mask`.

    Raises:
        Refused: If a weight is stored in parts of another kind.
    """
    found: dict[str, np.ndarray] = {}
    for key, array in state.items():
        divided = _PARTS.fullmatch(key)
        part = divided[1] if divided else ""
        start = key.removesuffix(part)
        pair = next((pair for pair in (*_LENGTHS, *_MASKED) if part in pair), None)
        if pair and all(start + name in state for name in pair):
            whole = _PARAMETRIZED.sub("", start)
            if whole not in found:
                join = _of_length if pair in _LENGTHS else _masked
                found[whole] = join(state[start + pair[0]], state[start + pair[1]], whole)
        elif _PARAMETRIZED.search(key) or (part == "_orig" and f"{start}_u" in state):
            raise _unknown(state)
        else:
            found[key] = array
    return found


def _masked(weight: np.ndarray, mask: np.ndarray, key: str) -> np.ndarray:
    if weight.shape != mask.shape:
        raise Refused(f"the mask of {key!r} has the shape {mask.shape}, not {weight.shape}")
    return (weight * mask).astype(weight.dtype)


def _of_length(length: np.ndarray, direction: np.ndarray, key: str) -> np.ndarray:
    """Directions scaled to lengths, one for each index of the axes that both have."""
    sides = length.shape or (1,) * direction.ndim
    if len(sides) != direction.ndim or any(
        n not in (1, full) for n, full in zip(sides, direction.shape, strict=True)
    ):
        raise Refused(
            f"the lengths of {key!r} have the shape {length.shape}, its directions "
            f"{direction.shape}"
        )
    axes = tuple(number for number, side in enumerate(sides) if side == 1)
    norm = np.sqrt(np.sum(np.square(direction.astype("float64")), axis=axes, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (direction * (length / norm)).astype(direction.dtype)


def _unknown(state: dict[str, np.ndarray]) -> Refused:
    parts = [k for k in state if _PARAMETRIZED.search(k) or k.endswith(("_u", "_orig"))]
    return Refused(
        f"it stores weights in parts of a kind that is not known here ({listed(parts, 3)}), such "
        "as those of spectral norm; in torch, make them whole with "
        "`torch.nn.utils.parametrize.remove_parametrizations` and save again"
    )
