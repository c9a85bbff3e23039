"""Which tensors are in a torch checkpoint? And what happens if it holds anything else."""

from __future__ import annotations

import json
import pickle
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torch_writer as torch
from finetunekit.backbones import checkpoints
from torch_writer import Called, Global, tensor

A = np.arange(24, dtype="float32").reshape(6, 4)


@pytest.mark.parametrize("old", [False, True])
def test_views_are_what_torch_shows(tmp_path: Path, old: bool) -> None:
    views = {
        "whole": tensor(A, "0", old=old),
        "turned": tensor(A, "0", old=old, size=(4, 6), stride=(1, 4)),
        "part": tensor(A, "0", old=old, size=(5, 2), stride=(4, 1), offset=6),
        "repeated": tensor(A, "0", old=old, size=(2, 4), stride=(0, 1)),
        "half": tensor(A.astype("float16"), "1", old=old),
        "number": tensor(np.array(7), "2", old=old, size=(), stride=()),
    }
    write = torch.write_row if old else torch.write_zip
    found = checkpoints.read(str(write(tmp_path / "a.pth", views))).arrays
    wanted = [A, A.T, A[1:, 2:], A[[0, 0]], A.astype("float16"), np.array(7)]
    assert list(found) == list(views)
    for array, expected in zip(found.values(), wanted, strict=True):
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


def test_a_state_dict_inside_of_a_checkpoint(tmp_path: Path) -> None:
    names = Called("argparse", "Namespace")
    inner = {f"module.{name}": array for name, array in {"a": A, "b": A[0]}.items()}
    value = {"epoch": 3, "args": names, "state_dict": torch.state(inner), "optimizer": {"lr": 0.1}}
    value["args"] = None
    found = checkpoints.read(str(torch.write_zip(tmp_path / "a.pt", value))).arrays
    assert list(found) == ["a", "b"]
    assert np.array_equal(found["a"], A)


_ARRAY = Called("numpy.core.multiarray", "_reconstruct", Global("numpy", "ndarray"), (0,), b"b")
_CALLBACK = Global("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")


@pytest.mark.parametrize(
    "beside",
    [
        ("MT19937", _ARRAY),
        Called("collections", "defaultdict", Global("builtins", "list")),
        Called("collections", "deque", [1.0], 10),
        Called("datetime", "datetime", b"0123456789"),
        Called("lightning.fabric.utilities.data", "AttributeDict", {"lr": 0.1}),
        {"callback": _CALLBACK},
        {1, 2},
    ],
    ids=["array", "defaultdict", "deque", "date", "hyperparameters", "callback", "set"],
)
def test_the_state_of_a_script_is_passed_over(tmp_path: Path, beside: Any) -> None:
    value = {"state_dict": torch.state({"a": A}), "beside": beside}
    found = checkpoints.read(str(torch.write_zip(tmp_path / "a.ckpt", value))).arrays
    assert list(found) == ["a"]
    assert np.array_equal(found["a"], A)


class Witness:
    """Pickles that would write a file if anything of them ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def hostile(witness: Path) -> dict[str, bytes]:
    code = f"open({str(witness)!r}, 'w')"
    protocol = b"\x80\x02"
    call = b"cbuiltins\neval\n(X" + struct.pack("<I", len(code)) + code.encode() + b"tR."
    return {
        "reduce": pickle.dumps({"a": Witness(witness)}, 2),
        "eval": protocol + call,
        "system": protocol + b"cos\nsystem\n(X\x04\x00\x00\x00truetR.",
        "inst": protocol + b"(X\x04\x00\x00\x00trueios\nsystem\n.",
        "obj": protocol + b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x15OrderedDict.__class__\x93)R.",
        "extension": protocol + b"\x82\x01.",
        "nested": protocol + b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
        "persistent": protocol + b"Pevil\n.",
        "build": protocol + b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
        "memo": protocol + b"]r\xff\xff\xff\x7f.",
        "long": protocol + b"\x8b\xff\xff\xff\x7f.",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
        "deep": protocol + b"(" * 100_000 + b"t" * 100_000 + b".",
        "lists": protocol + b"]" * 50_000 + b"a" * 49_999 + b".",
        "empty": b"",
        "nothing": protocol + b"N.",
        "no tensors": protocol + b"}X\x01\x00\x00\x00aK\x01s.",
    }


@pytest.mark.parametrize("kind", sorted(hostile(Path("x"))))
@pytest.mark.parametrize("old", [False, True])
def test_hostile_pickles_do_nothing(tmp_path: Path, kind: str, old: bool) -> None:
    witness = tmp_path / "ran"
    content = hostile(witness)[kind]
    path = tmp_path / "a.pth"
    if old:
        path.write_bytes(content)
    else:
        import zipfile

        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", content)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"`source` (cannot be read as a checkpoint|is empty)"):
        checkpoints.read(str(path))
    assert not witness.exists()
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (("torch.nn.modules.linear", "Linear"), "whole model"),
        (("torch._utils", "_rebuild_qtensor"), "quantised"),
        (("torch._utils", "_rebuild_sparse_tensor"), "sparse"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, name: Any, remedy: str) -> None:
    path = torch.write_zip(tmp_path / "a.pth", {"a": Called(*name)})
    with pytest.raises(ValueError, match=remedy):
        checkpoints.read(str(path))


def test_a_program_is_refused(tmp_path: Path) -> None:
    path = torch.write_zip(tmp_path / "a.pt", torch.state({"a": A}), **{"constants.pkl": b""})
    with pytest.raises(ValueError, match="TorchScript"):
        checkpoints.read(str(path))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"size": (10**6, 10**6), "stride": (0, 0)},
        {"size": (10**12,), "stride": (1,)},
        {"offset": 20},
        {"offset": -1},
        {"stride": (-4, 1)},
        {"stride": (4,)},
        {"size": ("a", "b")},
        {"count": 10**12},
        {"count": -1},
    ],
)
def test_impossible_tensors(tmp_path: Path, options: dict[str, Any], old: bool) -> None:
    write = torch.write_row if old else torch.write_zip
    path = write(tmp_path / "a.pth", {"a": tensor(A, "0", old=old, **options)})
    with pytest.raises(ValueError, match="checkpoint"):
        checkpoints.read(str(path))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", torch.pickled(torch.state({"a": A})))
        file.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(ValueError, match="compressed"):
        checkpoints.read(str(path))


def safetensors(path: Path, arrays: dict[str, np.ndarray], **changes: Any) -> Path:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in arrays.items():
        kind = {"float32": "F32", "int64": "I64", "uint16": "BF16"}[str(array.dtype)]
        end = at + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    for name, change in changes.items():
        header[name] = {**header.get(name, {}), **change}
    text = json.dumps(header).encode()
    content = b"".join(array.tobytes() for array in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def test_safetensors(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC000], "uint16")  # 1 and -2 as bfloat16.
    path = safetensors(tmp_path / "a.safetensors", {"a": A, "b": np.arange(3), "c": bits})
    found = checkpoints.read(str(path)).arrays
    assert np.array_equal(found["a"], A)
    assert found["b"].dtype == np.int64
    assert found["c"].tolist() == [1.0, -2.0]
    assert found["c"].dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [-8, 88]},
        {"data_offsets": [96, 0]},
        {"data_offsets": [4, 96]},
        {"data_offsets": "all"},
        {"shape": [10**6, 10**6]},
        {"shape": [-6, -4]},
        {"shape": None},
        {"dtype": "F8_E4M3"},
        {"dtype": 3},
    ],
)
def test_damaged_safetensors(tmp_path: Path, change: dict[str, Any]) -> None:
    path = safetensors(tmp_path / "a.safetensors", {"a": A}, a=change)
    with pytest.raises(ValueError, match="checkpoint"):
        checkpoints.read(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 20_000) + b"[" * 20_000,
        struct.pack("<Q", 30) + b'{"a": {}, "a": {}}            ',
        struct.pack("<Q", 3) + b"\xff\xfe{",
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint|is empty"):
        checkpoints.read(str(path))


@pytest.mark.parametrize("kind", ["zip", "row", "safetensors"])
def test_random_damage_is_an_error_or_other_numbers(tmp_path: Path, kind: str) -> None:
    arrays = {"layer.weight": A, "layer.bias": A[0]}
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        safetensors(path, arrays)
    else:
        write = torch.write_zip if kind == "zip" else torch.write_row
        write(path, torch.state(arrays, old=kind == "row"))
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 4)):
            damaged[place] = random.integers(256)
        if random.random() < 0.3:
            damaged = damaged[: random.integers(len(whole))]
        path.write_bytes(damaged)
        try:
            found = checkpoints.read(str(path)).arrays
        except ValueError:
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())


def test_no_module_is_imported_by_name(tmp_path: Path) -> None:
    path = torch.write_zip(tmp_path / "a.pth", {"a": Global("antigravity", "x")})
    with pytest.raises(ValueError, match=r"antigravity\.x"):
        checkpoints.read(str(path))
    assert "antigravity" not in sys.modules
