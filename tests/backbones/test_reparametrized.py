"""Are weights that torch stores in parts put together as torch does it?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer as torch
from finetunekit.backbones import checkpoints

RAW = np.ones((2, 3), "float32")


def parts(kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What torch stores of a weight, and the weight."""
    random = np.random.default_rng(0)
    v, g = random.normal(size=(2, 3)).astype("f4"), np.array([[2.0], [3.0]], "f4")
    whole = np.stack([g[n] * v[n] / np.linalg.norm(v[n]) for n in range(2)])
    mask = np.array([[1, 0, 1], [0, 1, 1]], "f4")
    stored = {
        "weight norm": ({"a.weight_g": g, "a.weight_v": v}, whole),
        "weight norm of today": (
            {"a.parametrizations.weight.original0": g, "a.parametrizations.weight.original1": v},
            whole,
        ),
        "one length": (
            {"a.weight_g": np.array(2, "f4"), "a.weight_v": v}, 2 * v / np.sqrt((v**2).sum()),
        ),
        "pruned": ({"a.weight_orig": v, "a.weight_mask": mask}, v * mask),
    }  # fmt: skip
    return stored[kind]


@pytest.mark.parametrize("kind", ["weight norm", "weight norm of today", "one length", "pruned"])
@pytest.mark.parametrize("turned", [False, True])
def test_weights_in_parts_are_put_together(tmp_path: Path, kind: str, turned: bool) -> None:
    arrays, whole = parts(kind)
    rows = [("a.bias", np.zeros(2, "f4")), *arrays.items()]
    path = torch.save(tmp_path / "net.pth", dict(rows[::-1] if turned else rows))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a")])
    ftk.load_weights_from_torch(model, path)
    assert np.allclose(model.get_weights()[0], whole.T, atol=1e-6)


@pytest.mark.parametrize(
    "arrays",
    [
        {"a.weight_orig": RAW, "a.weight_u": RAW[:, 0], "a.weight_v": RAW[0]},
        {"a.parametrizations.weight.original": RAW, "a.parametrizations.weight.0._u": RAW[:, 0]},
        {"a.weight_g": RAW[:, 0], "a.weight_v": RAW},
        {"a.weight_orig": RAW, "a.weight_mask": RAW[:1]},
    ],
    ids=["spectral", "spectral of today", "lengths", "mask"],
)
def test_other_parts_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    path = torch.save(tmp_path / "net.pth", arrays)
    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint: .*a\.(weight|param)"):
        checkpoints.read(str(path))
