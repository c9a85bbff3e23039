"""State dicts inside of a checkpoint: all are found, and one of them is chosen."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetunekit.backbones.checkpoints.pickles import Refused, Tensor
from finetunekit.foundation.messages import listed, plural

_DEEPEST = 6
_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg)([._]|$)")
# What wrappers of torch put into keys: compiling, sharding, saving memory.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))_(?:orig_mod|(?:fsdp|checkpoint)_wrapped_module)\.")
_COUNTERS = ("n_averaged", "num_batches_tracked")  # Of averaging, and of BatchNorm.


class Ambiguous(Exception):
    """More than one state dict may be meant; which ones, in a sentence."""


@dataclass(frozen=True)
class StateDict:
    """Tensors that stand together in a checkpoint.

    Args:
        key: Where they stand, such as `"state_dict"` or `"model.student"`; `""` at the top.
        tensors: Their own keys, and the tensors or arrays.
    """

    key: str
    tensors: dict[str, Any]

    @property
    def is_averaged(self) -> bool:
        """Whether its name says that it holds averaged weights."""
        return bool(_AVERAGED.search(self.key.lower()))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What is compared between two copies of a model."""
        tensors = unwrapped(self.tensors)
        return {k: _shape(v) for k, v in tensors.items() if k.rpartition(".")[2] not in _COUNTERS}

    def __str__(self) -> str:
        return f"{self.key!r} ({plural(len(self.tensors), 'tensor')})"


def choose(found: Any, wanted: str | None) -> tuple[StateDict, list[StateDict]]:
    """The state dict of a checkpoint, and those that are other copies of the same model.

    Of a model's raw and averaged weights, the averaged ones are chosen.

    Args:
        found: What the file holds.
        wanted: The key of the state dict; a part of the keys inside of it may follow.

    Raises:
        Refused: If there is none.
        Ambiguous: If there are several and none is named, or the one that is named is not there.
    """
    if not isinstance(found, (dict, list, tuple)):
        raise Refused(f"it holds {type(found).__name__}, no dict of tensors")
    everything = list(_walk(found))
    if not everything:
        held = listed(list(found), 6) if isinstance(found, dict) else ""
        raise Refused(f"it holds no tensors, but {held or 'nothing'}")
    if wanted is not None:
        return _named(everything, wanted), []
    candidates = [part for whole in _likely(everything) for part in _copies(whole)]
    if len(candidates) == 1:
        return candidates[0], []
    averaged = [one for one in candidates if one.is_averaged]
    same = all(one.shapes == candidates[0].shapes for one in candidates)
    if len(averaged) == 1 and same:
        return averaged[0], [one for one in candidates if one is not averaged[0]]
    raise Ambiguous(
        f"holds more than one state dict: {', '.join(map(str, candidates[:8]))}"
        f"{', ...' if len(candidates) > 8 else ''}. Choose one, as in "
        f"`state_dict={candidates[0].key!r}`"
    )


def unwrapped(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors without what wrappers of torch put into their keys."""
    clean = {_WRAPPERS.sub("", key): value for key, value in tensors.items()}
    if len(clean) < len(tensors):
        return tensors
    inner = {key: value for key, value in clean.items() if key != "n_averaged"}
    if not inner or not all(key.startswith("module.") for key in inner):
        return clean
    return unwrapped({key.removeprefix("module."): value for key, value in inner.items()})


def _walk(found: Any) -> Iterator[StateDict]:
    """Every dict with tensors in it, in the order of the file; an optimizer's left out."""
    seen: set[int] = set()
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), found)])
    while waiting:
        path, value = waiting.popleft()
        rows = list(value.items() if isinstance(value, dict) else enumerate(value))
        if id(value) in seen or (isinstance(value, dict) and "param_groups" in value):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            tensors = {str(k): v for k, v in rows if isinstance(v, (Tensor, np.ndarray))}
            if tensors:
                yield StateDict(".".join(path), tensors)
        if len(path) < _DEEPEST:
            inner = [((*path, str(k)), v) for k, v in rows if isinstance(v, (dict, list, tuple))]
            waiting += inner


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.size if isinstance(tensor, Tensor) else tensor.shape)


def _likely(everything: list[StateDict]) -> list[StateDict]:
    """Those that hold parameters: their keys have dots, or are those of a single layer."""

    def with_keys(pattern: str) -> list[StateDict]:
        return [
            one
            for one in everything
            if any(re.search(pattern, k) and len(_shape(v)) for k, v in one.tensors.items())
        ]

    return with_keys(r"\.") or with_keys(r"^(weight|bias)$") or with_keys("") or everything


def _copies(whole: StateDict) -> list[StateDict]:
    """A state dict divided in the copies of a model that it holds, if one is called averaged."""
    parts: dict[str, dict[str, Any]] = {}
    for key, tensor in whole.tensors.items():
        first, dot, rest = key.partition(".")
        if dot:
            parts.setdefault(first, {})[rest] = tensor
    copies = [StateDict(f"{whole.key}.{key}".strip("."), found) for key, found in parts.items()]
    averaged = [part for key, part in zip(parts, copies, strict=True) if _AVERAGED.search(key)]
    found = [one for one in copies if averaged and one.shapes == averaged[0].shapes]
    covered = sum(len(one.tensors) for one in found)
    dotted = sum("." in key for key in whole.tensors)
    return found if len(found) > 1 and covered == dotted else [whole]


def _named(everything: list[StateDict], wanted: str) -> StateDict:
    start = f"{wanted}." if wanted else ""
    for one in everything:
        if one.key == wanted:
            return one
    for clean in (dict, unwrapped):
        found = {
            full.removeprefix(start): tensor
            for one in everything
            for key, tensor in clean(one.tensors).items()
            if (full := f"{one.key}.{key}".removeprefix(".")).startswith(start)
        }
        if found:
            return StateDict(wanted, found)
    shown = ", ".join(map(str, everything[:8]))
    raise Ambiguous(f"holds no state dict of that key, but {shown}. Give the key of one")
