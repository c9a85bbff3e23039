"""Readers of torch checkpoints, without torch and without running code."""

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finetunekit.backbones.checkpoints import (
    pickles,
    reparametrized,
    safetensors,
    state_dicts,
    torch_files,
)
from finetunekit.foundation import contents, file_kinds, paths

ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state dict that was taken from a file.

    Args:
        key: Where it stands in the file; `""` at the top.
        arrays: Key -> array, in the order of the file.
        left: Other state dicts of the file with the same tensors: key -> how many numbers.
    """

    key: str
    arrays: dict[str, np.ndarray]
    left: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What was chosen, in a line for each one that was not."""
        return [
            f"the weights {key!r}, in favour of their average {self.key!r} "
            f"(`state_dict={key!r}` takes them)"
            for key in self.left
        ]


def read(path: str, name: str = "source", *, state_dict: str | None = None) -> Checkpoint:
    """The state dict of a checkpoint.

    Reads the old (before 1.6) and new formats of `torch.save`, and safetensors. A state
    dict inside a larger checkpoint is found; of raw and averaged weights of one model, the
    averaged ones are taken. What wrappers of torch put into the keys is removed, such as `module.`
    in front of all. Weights that are stored in parts, by `weight_norm`, are put together. bfloat16
    becomes float32.

    Args:
        path: The file.
        name: What the caller calls it, for messages.
        state_dict: The key of the state dict, if there are several, or of a part of it.

    Raises:
        ValueError: If it is damaged, holds no state dict, several of different tensors, or more
            than tensors.
        OSError: If it cannot be read.
        TypeError: If `state_dict` is not a string.
    """
    if state_dict is not None and not isinstance(state_dict, str):
        raise TypeError(
            "`state_dict` must be the key of a state dict in the checkpoint, or None. "
            f"Received: state_dict={state_dict!r} (a {type(state_dict).__name__})"
        )
    target = paths.check_source(path, name)
    try:
        kind = file_kinds.kind_of(target)
        named = os.path.splitext(target)[1].lower() == ".safetensors"
        if kind == file_kinds.SAFETENSORS or (kind is None and named):
            found: Any = safetensors.read(target)
        else:
            found = torch_files.read(target)
        chosen, others = state_dicts.choose(found, state_dict)
        tensors = state_dicts.unwrapped(chosen.tensors)
        arrays = {k: v.array() if isinstance(v, pickles.Tensor) else v for k, v in tensors.items()}
        arrays = reparametrized.merged(arrays)
    except (pickles.Refused, MemoryError, RecursionError) as error:
        if fault := contents.mistaken(target):
            raise ValueError(f"`{name}` {fault}. Received: {name}={target!r}") from error
        raise ValueError(
            f"`{name}` cannot be read as a checkpoint: {error or type(error).__name__}. Expected "
            "is what `torch.save(model.state_dict(), path)` writes, or safetensors; nothing of "
            f"the file was run. Received: {name}={target!r}"
        ) from error
    except state_dicts.Ambiguous as fault:
        given = f", state_dict={state_dict!r}" if state_dict is not None else ""
        raise ValueError(f"`{name}` {fault}. Received: {name}={target!r}{given}") from fault
    left = {one.key: sum(map(math.prod, one.shapes.values())) for one in others}
    return Checkpoint(chosen.key, arrays, left)
