"""Which state dict of a checkpoint is taken, and is it told?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer as torch
from finetunekit.backbones import checkpoints
from torch_writer import tensor

RAW, AVERAGE = (np.full((2, 3), n, "float32") for n in (1, 2))
OLD_FILES = Path("data") / "old_files"
_STORED: list[Any] = []


def stored(array: Any) -> Any:
    """A tensor with a storage of its own."""
    _STORED.append(array)
    return tensor(np.asarray(array, "float32"), str(len(_STORED)))


def net(array: np.ndarray = RAW, prefix: str = "") -> dict[str, Any]:
    """A state dict of two layers."""
    return {f"{prefix}a.weight": stored(array), f"{prefix}b.weight": stored(array * 10)}


ADAM = {"state": {0: {"exp_avg": stored(RAW), "step": stored(1.0)}}, "param_groups": [{"lr": 0.1}]}
LONE: dict[str, Any] = {
    "as saved": net(),
    "lone tensors": {"loss": stored(0.5), "weight": stored([1, 2]), "state_dict": net()},
    "epoch first": {"epoch": 3, "best": stored([0.1]), "model_state_dict": net()},
    "optimizer": {"optimizer": ADAM, "scheduler": {"last": 1}, "network": net()},
    "other name": {"my_own_name": net()},
    "deep": {"a": {"b": {"c": {"model": net()}}}},
    "lightning": {
        "epoch": 1, "callbacks": {"EarlyStopping": {"best_score": stored(0.3)}},
        "state_dict": net(), "optimizer_states": [ADAM], "lr_schedulers": [],
    },
    "settings": {
        "scheduler": {"milestones": torch.Called("collections", "Counter", {30: 1})},
        "args": {"data": torch.Called("pathlib", "PosixPath", "a", "b")}, "state_dict": net(),
    },
    "pair": (net(), ADAM),
    "parallel": {"state_dict": net(prefix="module.")},
    "compiled": net(prefix="_orig_mod."),
    "both": net(prefix="module._orig_mod.module."),
    "sharded": net(prefix="_fsdp_wrapped_module."),
    "average of torch": {"n_averaged": stored(3), **net(prefix="module.")},
}  # fmt: skip


@pytest.mark.parametrize("kind", LONE)
def test_the_only_state_dict_is_found(tmp_path: Path, kind: str) -> None:
    found = checkpoints.read(str(torch.write_zip(tmp_path / "net.pt", LONE[kind])))
    assert list(found.arrays) == ["a.weight", "b.weight"]
    assert np.array_equal(found.arrays["b.weight"], RAW * 10)
    assert not found.left


TWO: dict[str, dict[str, Any]] = {
    "timm": {"state_dict": net(), "state_dict_ema": net(AVERAGE)},
    "average first": {"model_ema": net(AVERAGE), "model": net()},
    "short": {"step": stored(1), "model": net(), "opt": ADAM, "ema": net(AVERAGE)},
    "wrapped": {"model": net(), "model_ema": {"n_averaged": stored(2), **net(AVERAGE, "module.")}},
    "restoration": {"params": net(), "params_ema": net(AVERAGE)},
    "stochastic": {"state_dict": net(), "swa_state_dict": net(AVERAGE)},
    "inside": {"model": {**net(prefix="online_model."), **net(AVERAGE, "ema_model.")}},
}


@pytest.mark.parametrize("kind", TWO)
def test_of_two_copies_the_average_is_taken_and_told(tmp_path: Path, kind: str) -> None:
    path = torch.write_zip(tmp_path / "net.pt", TWO[kind])
    found = checkpoints.read(str(path))
    assert np.array_equal(found.arrays["a.weight"], AVERAGE)
    (raw,) = found.left
    (note,) = found.notes
    assert repr(raw) in note
    chosen = checkpoints.read(str(path), state_dict=raw)
    assert np.array_equal(chosen.arrays["a.weight"], RAW)
    assert list(chosen.arrays) == ["a.weight", "b.weight"]


def dense() -> keras.Model:
    inputs = keras.Input((3,))
    layers = [keras.layers.Dense(2, use_bias=False, name=name) for name in "ab"]
    return keras.Model(inputs, [layer(inputs) for layer in layers])


def test_the_report_of_weights_names_the_copy_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = torch.write_zip(tmp_path / "net.pt", TWO["timm"])
    model = dense()
    report = ftk.load_weights_from_torch(model, path)
    assert np.array_equal(model.get_weights()[0], AVERAGE.T)
    assert report.of("skipped") == ["state_dict"]
    assert "average 'state_dict_ema'" in caplog.text
    ftk.load_weights_from_torch(model, path, state_dict="state_dict")
    assert np.array_equal(model.get_weights()[0], RAW.T)


SEVERAL: dict[str, tuple[Any, str]] = {
    "two networks": ({"generator": net(), "discriminator": net()}, "'generator'"),
    "two averages": ({"model": net(), "ema": net(), "swa": net()}, "'model'.*'ema'.*'swa'"),
    "other tensors": (
        {"model": net(), "model_ema": {"a.weight": stored(RAW)}}, r"'model_ema' \(1 tensor\)",
    ),
    "a list": ([net(), net()], "'0'.*'1'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_are_listed(tmp_path: Path, kind: str) -> None:
    value, match = SEVERAL[kind]
    path = torch.write_zip(tmp_path / "net.pt", value)
    with pytest.raises(ValueError, match=rf"more than one state dict: .*{match}.*Choose one") as e:
        ftk.load_weights_from_torch(dense(), path)
    assert f"Received: path={str(path)!r}" in str(e.value)


def test_a_part_of_the_keys_can_be_chosen(tmp_path: Path) -> None:
    both = {**net(prefix="module.student.backbone."), **net(AVERAGE, "module.teacher.backbone.")}
    path = torch.write_zip(tmp_path / "net.pt", {"model": both})
    model = dense()
    with pytest.raises(ValueError, match=r"'model\.student\.backbone', 'model\.teacher\.backbone'"):
        ftk.load_weights_from_torch(model, path)
    ftk.load_weights_from_torch(model, path, state_dict="model.teacher.backbone")
    assert np.array_equal(model.get_weights()[0], AVERAGE.T)
    ftk.load_weights_from_torch(model, path, state_dict="model.module.student")
    assert np.array_equal(model.get_weights()[0], RAW.T)


@pytest.mark.parametrize(
    ("given", "error"), [("net", ValueError), ("", ValueError), (3, TypeError)]
)
def test_a_key_that_is_not_there(tmp_path: Path, given: Any, error: type[Exception]) -> None:
    path = torch.write_zip(tmp_path / "net.pt", {"loss": stored([1.0]), "model": net()})
    with pytest.raises(error, match="state_dict"):
        ftk.load_weights_from_torch(dense(), path, state_dict=given)


def test_one_dict_many_times_is_read_once(tmp_path: Path) -> None:
    value: Any = net()
    for _ in range(5):
        value = {"x": value, "y": value}
    found = checkpoints.read(str(torch.write_zip(tmp_path / "net.pt", value)))
    assert (found.key, found.left) == ("x.x.x.x.x", {})


# --- Real files ------------------------------------------------------------------------------


@pytest.mark.real
def test_a_lone_loss_of_torch(data_folder: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [keras.layers.Dense(3, name=name)(inputs) for name in "ba"])
    report = ftk.load_weights_from_torch(model, data_folder / OLD_FILES / "ab_loss.pth")
    assert [row.note for row in report.rows] == ["stored as 'b'", "stored as 'a'"]
