"""Settings of a config.json that KerasHub does not read: computed, or refused."""

from __future__ import annotations

import math
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


def vision_transformer(weights: dict[str, np.ndarray], image: np.ndarray, epsilon: float) -> Any:
    """The last hidden state of a ViT of one block, one head and patches of 2 x 2 pixels."""

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * weights[name + ".weight"] + weights[name + ".bias"]

    corners = [(row, column) for row in (0, 2) for column in (0, 2)]
    patches = [image[r : r + 2, c : c + 2].transpose(2, 0, 1).ravel() for r, c in corners]
    kernel = weights["embeddings.patch_embeddings.projection.weight"].reshape(4, -1)
    vectors = np.stack(patches) @ kernel.T + weights["embeddings.patch_embeddings.projection.bias"]
    x = np.concatenate([weights["embeddings.cls_token"][0], vectors])
    x = x + weights["embeddings.position_embeddings"][0]
    start = "encoder.layer.0."
    y = norm(x, start + "layernorm_before")
    q, k, v = (dense(y, f"{start}attention.attention.{n}") for n in ("query", "key", "value"))
    shares = np.exp(q @ k.T / 2)
    mixed = shares / shares.sum(axis=-1, keepdims=True) @ v
    x = x + dense(mixed, start + "attention.output.dense")
    inner = dense(norm(x, start + "layernorm_after"), start + "intermediate.dense")
    erf = np.vectorize(math.erf)(inner / math.sqrt(2))
    x = x + dense(inner * 0.5 * (1 + erf), start + "output.dense")
    return norm(x, "layernorm")


def test_the_epsilon_of_a_vision_transformer_without_head(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = {
        "embeddings.cls_token": (1, 1, 4),
        "embeddings.position_embeddings": (1, 5, 4),
        "embeddings.patch_embeddings.projection": (4, 3, 2, 2),
        **{f"encoder.layer.0.attention.attention.{n}": (4, 4) for n in ("query", "key", "value")},
        "encoder.layer.0.attention.output.dense": (4, 4),
        "encoder.layer.0.intermediate.dense": (6, 4),
        "encoder.layer.0.output.dense": (4, 6),
        **{f"encoder.layer.0.layernorm_{n}": (4,) for n in ("before", "after")},
        "layernorm": (4,),
    }
    weights = {}
    for name, shape in shapes.items():
        ends = ("",) if name in list(shapes)[:2] else (".weight", ".bias")
        for end in ends:
            size = shape[:1] if end == ".bias" else shape
            weights[name + end] = random.normal(0, 0.5, size).astype("float32")
    settings = {"model_type": "vit", "image_size": 4, "patch_size": 2, "num_hidden_layers": 1}
    settings |= {"num_attention_heads": 1, "hidden_size": 4, "intermediate_size": 6}
    settings |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings |= {"qkv_bias": True, "layer_norm_eps": 0.1}
    model = ftk.load_backbone(hugging_face.folder(tmp_path / "vit", settings, weights))
    image = random.normal(size=(4, 4, 3)).astype("float32")
    wanted = vision_transformer(weights, image, 0.1)
    assert np.allclose(model(image[None], training=False)[0], wanted, atol=1e-5)
