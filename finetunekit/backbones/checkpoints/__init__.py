"""Readers of torch checkpoints, without torch and without running code."""

import os
from typing import Any

import numpy as np

from finetunekit.backbones.checkpoints import pickles, safetensors, torch_files
from finetunekit.foundation import contents, paths
from finetunekit.foundation.messages import listed

ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
# Under which names training scripts keep the state dict, the averaged one first.
_OUTER = (
    "state_dict_ema",
    "params_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "params",
    "net",
)
_DEEPEST = 4


def read(path: str, name: str = "source") -> dict[str, np.ndarray]:
    """The state dict of a checkpoint: key -> array, in the order of the file.

    Reads the old (before 1.6) and new formats of `torch.save`, and safetensors. A state
    dict inside a larger checkpoint is found, and `module.` in front of all keys is removed.
    bfloat16 becomes float32.

    Args:
        path: The file.
        name: What the caller calls it, for messages.

    Raises:
        ValueError: If it is damaged, holds no state dict, or holds more than tensors.
        OSError: If it cannot be read.
    """
    target = paths.check_source(path, name)
    try:
        if os.path.splitext(target)[1].lower() == ".safetensors":
            found: Any = safetensors.read(target)
        else:
            found = torch_files.read(target)
        state = _state(found)
    except (pickles.Refused, MemoryError, RecursionError) as error:
        if fault := contents.mistaken(target):
            raise ValueError(f"`{name}` {fault}. Received: {name}={target!r}") from error
        raise ValueError(
            f"`{name}` cannot be read as a checkpoint: {error or type(error).__name__}. Expected "
            "is what `torch.save(model.state_dict(), path)` writes, or safetensors; nothing of "
            f"the file was run. Received: {name}={target!r}"
        ) from error
    return state


def _state(found: Any, depth: int = 0) -> dict[str, np.ndarray]:
    if not isinstance(found, dict):
        raise pickles.Refused(f"it holds {type(found).__name__}, no dict of tensors")
    tensors = {str(k): v for k, v in found.items() if isinstance(v, pickles.Tensor | np.ndarray)}
    if not tensors and depth < _DEEPEST:
        inner = [found[key] for key in _OUTER if isinstance(found.get(key), dict)]
        if inner:
            return _state(inner[0], depth + 1)
    if not tensors:
        raise pickles.Refused(f"it holds no tensors, but {listed(list(found), 6) or 'nothing'}")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    arrays = {k: v.array() if isinstance(v, pickles.Tensor) else v for k, v in tensors.items()}
    return arrays
