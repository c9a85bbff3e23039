"""Settings of a config.json that KerasHub does not read: computed, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
import hugging_face
from hugging_face import HEAD, check_outputs, tokens_of

CASES = {
    "bert exact gelu": ("bert", {"hidden_act": "gelu"}, "bert.", {}, True),
    "bert relu, epsilon": ("bert", {"hidden_act": "relu", "layer_norm_eps": 0.1}, "", HEAD, False),
    "distilbert silu": ("distilbert", {"activation": "silu"}, "distilbert.", HEAD, True),
    "roberta approximate gelu": ("roberta", {"hidden_act": "gelu_new"}, "roberta.", {}, True),
    "albert exact gelu": ("albert", {"hidden_act": "gelu"}, "albert.", {}, True),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_formula(tmp_path: Path, case: str) -> None:
    check_outputs(tmp_path / "model", *CASES[case])


def test_settings_go_into_the_file(tmp_path: Path) -> None:
    """In plain Keras too: KerasHub's class would build its own activation again."""
    settings = hugging_face.config("bert", hidden_act="relu", layer_norm_eps=0.1)
    folder = hugging_face.folder(tmp_path / "model", settings, hugging_face.tensors("bert"))
    model = ftk.load_backbone(folder)
    wanted = tokens_of(model, "bert")
    path = ftk.save(model, tmp_path / "model.keras", verbose=0)
    assert np.allclose(tokens_of(keras.saving.load_model(path), "bert"), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("bert", {"is_decoder": True}, "is_decoder"),
        ("bert", {"hidden_act": "quick_gelu"}, "quick_gelu"),
        ("bert", {"layer_norm_eps": "small"}, "positive number"),
        ("roberta", {"pad_token_id": 40}, "pad_token_id"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("llama", {"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act"),
        ("vit", {"hidden_act": "quick_gelu"}, "quick_gelu"),
        ("swin", {"layer_norm_eps": 1e-3}, "layer_norm_eps"),
        ("bart", {"encoder_layers": 2, "decoder_layers": 1}, "decoder_layers"),
    ],
)
def test_what_cannot_be_computed_is_refused(
    tmp_path: Path, kind: str, changes: dict[str, Any], match: str
) -> None:
    base = kind if kind in ("bert", "roberta") else "bert"
    settings = hugging_face.config(base) | {"model_type": kind} | changes
    folder = hugging_face.folder(tmp_path / "model", settings, hugging_face.tensors(base))
    with pytest.raises(ValueError, match=rf"{match}.*Received: "):
        ftk.load_backbone(folder)


def test_options_that_the_converter_leaves_out(tmp_path: Path) -> None:
    """What differs in training only, and sizes."""
    settings = hugging_face.config("bert", hidden_act="gelu_new", hidden_dropout_prob=0.25)
    weights = hugging_face.tensors("bert")
    table = "embeddings.token_type_embeddings.weight"
    settings["type_vocab_size"], weights[table] = 1, weights[table][:1]
    model = ftk.load_backbone(hugging_face.folder(tmp_path / "model", settings, weights))
    assert model.dropout == 0.25
    assert np.array_equal(model.get_layer("segment_embedding").embeddings, weights[table])
