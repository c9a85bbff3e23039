"""Does each layer get the weights of the module that is meant for it?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
import torch_writer

L = keras.layers
OLD_FILES = Path("data") / "old_files"


def width(name: str) -> int:
    """Names of heads are layers of 2 units, all others of 3."""
    return 2 if name.rpartition(".")[2] in ("head", "classifier", "output", "bad") else 3


def tensor(name: str) -> np.ndarray:
    """The tensor of a module: other numbers for each name."""
    seed = int.from_bytes(name.encode()[-7:], "little")
    return np.random.default_rng(seed).normal(size=(width(name), 3)).astype("float32")


def chain(names: list[str], name: str = "net") -> keras.Model:
    """Dense layers one behind the other; in front of a dot stands a model around them."""
    layers: list[keras.layers.Layer] = [keras.Input((3,))]
    for full in names:
        around, dot, own = full.rpartition(".")
        if not dot:
            layers.append(L.Dense(width(own), use_bias=False, name=own))
        elif layers[-1].name != around:
            inner = [each.rpartition(".")[2] for each in names if each.startswith(f"{around}.")]
            layers.append(chain(inner, around))
    return keras.Sequential(layers, name=name)


def load(tmp_path: Path, file: str, model: keras.Model) -> tuple[list[str], ftk.WeightsReport]:
    """The modules whose weights the layers have, in the order of the model; and the report."""
    arrays = {f"{name}.weight": tensor(name) for name in file.split()}
    path = torch_writer.save(tmp_path / "net.pth", arrays)
    report = ftk.load_weights_from_torch(model, path)
    found = []
    for array in model.get_weights():
        found += [name for name in file.split() if np.array_equal(tensor(name).T, array)]
    return found, report


@pytest.mark.parametrize(
    ("file", "layers", "wanted"),
    [
        ("q k v head", "k q v classifier", "k q v head"),
        ("q k v proj", "v k q out", "v k q proj"),
        ("a b c head", "x y z output", "a b c head"),
        ("model.q model.k model.head", "k q head", "model.k model.q model.head"),
        ("student.backbone.q student.backbone.k", "k q", "student.backbone.k student.backbone.q"),
        ("0.q 0.k", "k q", "0.k 0.q"),
        ("net.0.q net.0.k net.1.head", "k q classifier", "net.0.k net.0.q net.1.head"),
        ("backbone.q backbone.k head", "k q head", "backbone.k backbone.q head"),
        ("q k head", "body.k body.q head", "k q head"),
        ("model.q model.k head", "body.k body.q classifier", "model.k model.q head"),
        ("encoder.q encoder.k head", "encoder.k encoder.q head", "encoder.k encoder.q head"),
        ("q k", "net_k net_q", "k q"),
        ("blocks.0.q blocks.0.k blocks.1.q blocks.1.k",
         "blocks_0_k blocks_0_q blocks_1_k blocks_1_q",
         "blocks.0.k blocks.0.q blocks.1.k blocks.1.q"),
        ("layers.1.0.q layers.10.q", "layers_10_q layers_1_0_q", "layers.10.q layers.1.0.q"),
        ("enc.c fc.mu fc.lv dec.d dec.t", "c lv mu t d", "enc.c fc.lv fc.mu dec.t dec.d"),
        ("fc1 fc2 fc3", "fc_2 fc_1 fc_3", "fc2 fc1 fc3"),
        ("dense_1 dense_2", "dense_2 dense_3", "dense_1 dense_2"),
        ("body aux.fc top", "body aux_out fc", "body aux.fc top"),
        ("conv1_1 conv1_2 conv11_1 conv11_2", "conv_11_1 conv_11_2 conv_1_1 conv_1_2",
         "conv11_1 conv11_2 conv1_1 conv1_2"),
        ("layer.0 layer.1 layer.2", "stem layer_1 layer_2", "layer.0 layer.1 layer.2"),
        ("dec.0 enc.0", "decoder_in encoder_in", "dec.0 enc.0"),
        ("model.features.0 model.features.2", "first second",
         "model.features.0 model.features.2"),
    ],
)  # fmt: skip
def test_names_win_behind_a_common_prefix(
    tmp_path: Path, file: str, layers: str, wanted: str
) -> None:
    found, _ = load(tmp_path, file, chain(layers.split()))
    assert found == wanted.split()


@pytest.mark.parametrize(
    ("file", "layers", "match"),
    [
        (
            "layers.0.k layers.0.q layers.1.k layers.1.q",
            "block0_q block0_k block1_q block1_k",
            "contradict .*'block0_q'.*'layers.0.k'",
        ),
        ("conv0 conv1 conv2", "conv1 conv2 conv3", "contradict .*'conv3'.*'conv0'"),
        ("layer.0 layer.1 layer.2", "layer_1 layer_2 layer_3", "'layer_3'.*'layer.0'"),
        ("0 1 2", "fc_1 fc_2 fc_3", "contradict .*'fc_3'.*'0'"),
        ("layer.0 layer.1 layer.2", "layer_1 layer_2 out", "contradict .*'out'.*'layer.0'"),
        ("blocks.0.q blocks.1.q", "blocks_1.q blocks_2.q", "'blocks_2/q'.*'blocks.0.q'"),
        ("decoder.fc encoder.fc", "enc.fc dec.fc", "contradict .*'enc/fc'.*'decoder.fc'"),
        ("k_proj q_proj", "query_proj key_proj", "'query_proj'.*'k_proj'"),
        ("right.0 left.0", "left_fc right_fc", "contradict .*'left_fc'.*'right.0'"),
        ("linear1 linear2", "lin2 lin1", "contradict .*'lin2'.*'linear1'"),
        ("dense dense_1", "dense_1 dense", "contradict .*'dense_1'.*'dense'"),
        ("one.q one.k two.q two.k", "q k a b", "'one', 'two'.*state_dict="),
        ("a b c d", "d c x y", "not clear which is which: 'x', 'y'"),
        ("q k v", "q k", "left over"),
        ("q k", "q k v", "'v'"),
    ],
)
def test_contradictions_are_errors(tmp_path: Path, file: str, layers: str, match: str) -> None:
    model = chain(layers.split())
    before = model.get_weights()
    with pytest.raises(ValueError, match=match) as caught:
        load(tmp_path, file, model)
    assert "Received: path=" in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_a_name_with_other_shapes_is_an_error(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3,)), *(L.Dense(n, use_bias=False, name=m) for n, m in ((3, "q"), (2, "k")))]
    )
    path = torch_writer.save(
        tmp_path / "net.pth", {"q.weight": np.ones((2, 3), "f4"), "k.weight": np.ones((3, 3), "f4")}
    )
    with pytest.raises(ValueError, match=r"'q' in the file is named like 'q', but holds weight"):
        ftk.load_weights_from_torch(model, path)


def test_the_report_says_how(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, report = load(tmp_path, "q k v head", chain("k q v classifier".split()))
    assert [row.matched for row in report.rows] == ["by name"] * 3 + ["by shape"]
    assert "matched by name (3) and by shape (1)" in caplog.text


# --- Real files ------------------------------------------------------------------------------


@pytest.mark.real
def test_attention_of_torch(data_folder: Path) -> None:
    path = data_folder / OLD_FILES / "qkv.pth"
    model = chain("k q v classifier".split())
    report = ftk.load_weights_from_torch(model, path)
    assert [row.note for row in report.rows] == [f"stored as {n!r}" for n in "k q v head".split()]
