"""Hugging Face folders of all heads and names, against a transformer in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import finetunekit as ftk
import hugging_face
from hugging_face import HEAD, check_outputs, renamed, tokens_of

CASES = {
    "bert bare": ("bert", {"hidden_act": "gelu_new"}, "", {}, True),
    "bert without pooler": ("bert", {"hidden_act": "gelu_new"}, "bert.", HEAD, False),
    "distilbert bare": ("distilbert", {}, "", HEAD, True),
    "albert bare, without pooler": ("albert", {}, "", {}, False),
    "roberta wrapped": ("roberta", {"layer_norm_eps": 1e-5}, "model.encoder.", HEAD, True),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_formula(tmp_path: Path, case: str) -> None:
    check_outputs(tmp_path / "model", *CASES[case])


def test_old_names_of_layer_normalization(tmp_path: Path) -> None:
    settings = hugging_face.config("roberta", layer_norm_eps=1e-5)
    weights = hugging_face.tensors("roberta")
    wanted = hugging_face.hidden_states("roberta", settings, weights)
    old = renamed(weights, "roberta.", weight="gamma", bias="beta")
    model = ftk.load_backbone(hugging_face.folder(tmp_path / "model", settings, old))
    assert np.allclose(tokens_of(model, "roberta")[1], wanted[1], atol=1e-5)


@pytest.mark.parametrize(
    "name", ["layer.1.output.dense.bias", "layer.0.output.dense.lora_A.weight"]
)
def test_tensors_that_are_not_read_are_told(tmp_path: Path, name: str) -> None:
    weights = hugging_face.tensors("distilbert")
    more = {f"transformer.{name}": np.ones((2, 2), "float32")}
    folder = hugging_face.folder(tmp_path / "m", hugging_face.config("distilbert"), weights | more)
    (told,) = ftk.load_report(ftk.load_backbone(folder)).dropped
    assert told == "transformer.layer (1 tensor)"


def test_weights_of_two_models_are_named(tmp_path: Path) -> None:
    weights = hugging_face.tensors("bert")
    both = renamed(weights, "question.") | renamed(weights, "context.")
    folder = hugging_face.folder(tmp_path / "model", hugging_face.config("bert"), both)
    with pytest.raises(ValueError, match=r"2 models, 'context.', 'question.'"):
        ftk.load_backbone(folder)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = hugging_face.tensors("bert")
    del weights["encoder.layer.0.output.dense.bias"]
    folder = hugging_face.folder(tmp_path / "model", hugging_face.config("bert"), weights)
    with pytest.raises(ValueError, match=r"do not hold what .*output.dense.bias"):
        ftk.load_backbone(folder)


def test_a_download_is_read_like_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    settings = hugging_face.config("distilbert", activation="relu")
    weights = hugging_face.tensors("distilbert")
    folder = hugging_face.folder(tmp_path / "model", settings, weights)
    asked = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, allow_patterns: asked.append(name) or str(folder),
    )
    model = ftk.load_backbone("hf:someone/something")
    assert asked == ["someone/something"]
    assert ftk.load_report(model).source == "hf:someone/something"
    wanted = hugging_face.hidden_states("distilbert", settings, weights)
    assert np.allclose(tokens_of(model, "distilbert")[1], wanted[1], atol=1e-5)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "ids", "outputs"),
    [
        ("bert_tokcls", "ref.npz", "bert_tokcls.npy"),
        ("bert_classifier", "ref.npz", "ref.npz"),
        ("rob_tt1", "rob_ids.npz", "rob_tt1.npy"),
    ],
)
def test_folders_of_transformers(data_folder: Path, name: str, ids: str, outputs: str) -> None:
    place = data_folder / "data" / "old_files" / "hf"
    known = np.load(place / ids)
    wanted = np.load(place / outputs)
    wanted = wanted if isinstance(wanted, np.ndarray) else wanted["y"]
    model = ftk.load_backbone(place / name)
    inputs = {"token_ids": known["ids"], "padding_mask": known["mask"]}
    if "bert" in name:
        inputs["segment_ids"] = np.zeros_like(known["ids"])
    found = model.predict(inputs, verbose=0)
    found = found["sequence_output"] if isinstance(found, dict) else found
    inside = known["mask"].astype(bool)
    assert np.abs(found - wanted)[inside].max() <= 1e-5 * np.abs(wanted).max()
