"""Folders as transformers writes them, and its encoders in NumPy, apart from KerasHub."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np

import finetunekit as ftk

WIDTH, HEADS, INNER, TOKENS, ROOM = 8, 2, 12, 20, 12
IDS = np.array([[5, 7, 9, 4, 6], [8, 3, 5, 11, 13]])
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
SEGMENTS = np.array([[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]])
_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "out": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "inner": "ffn.lin1",
    "outer": "ffn.lin2",
    "norm2": "output_layer_norm",
}
_ALBERT = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "out": "attention.dense",
    "norm1": "attention.LayerNorm",
    "inner": "ffn",
    "outer": "ffn_output",
    "norm2": "full_layer_layer_norm",
}
_BLOCKS = {
    "albert": ("encoder.albert_layer_groups.0.albert_layers.0.", _ALBERT),
    "bert": ("encoder.layer.0.", _BERT),
    "distilbert": ("transformer.layer.0.", _DISTILBERT),
    "roberta": ("encoder.layer.0.", _BERT),
    "xlm-roberta": ("encoder.layer.0.", _BERT),
}
Tensors = dict[str, np.ndarray]
HEAD: Tensors = {
    "classifier.weight": np.ones((3, WIDTH), "float32"),
    "classifier.bias": np.ones(3, "float32"),
}


def config(kind: str, **changes: Any) -> dict[str, Any]:
    """The config of a model of one block."""
    sizes = {"vocab_size": TOKENS, "max_position_embeddings": ROOM, "model_type": kind}
    if kind == "distilbert":
        sizes |= {"n_layers": 1, "n_heads": HEADS, "dim": WIDTH, "hidden_dim": INNER}
        sizes |= {"dropout": 0.1}
    else:
        sizes |= {"num_hidden_layers": 1, "num_attention_heads": HEADS, "hidden_size": WIDTH}
        sizes |= {"intermediate_size": INNER, "type_vocab_size": 2, "hidden_dropout_prob": 0.1}
        sizes |= {"attention_probs_dropout_prob": 0.1}
    if kind == "albert":
        sizes |= {"embedding_size": WIDTH, "num_hidden_groups": 1, "inner_group_num": 1}
    return sizes | changes


def tensors(kind: str, pooler: bool = True, seed: int = 0) -> Tensors:
    """Random weights under the names of the bare class."""
    random = np.random.default_rng(seed)
    found: Tensors = {}

    def dense(name: str, inputs: int, outputs: int) -> None:
        found[name + ".weight"] = random.normal(0, 0.5, (outputs, inputs)).astype("float32")
        found[name + ".bias"] = random.normal(0, 0.5, outputs).astype("float32")

    def norm(name: str) -> None:
        found[name + ".weight"] = random.normal(1, 0.2, WIDTH).astype("float32")
        found[name + ".bias"] = random.normal(0, 0.2, WIDTH).astype("float32")

    tables = {"word": TOKENS, "position": ROOM} | (
        {} if kind == "distilbert" else {"token_type": 2}
    )
    for name, rows in tables.items():
        table = random.normal(0, 1, (rows, WIDTH)).astype("float32")
        found[f"embeddings.{name}_embeddings.weight"] = table
    norm("embeddings.LayerNorm")
    if kind == "albert":
        dense("encoder.embedding_hidden_mapping_in", WIDTH, WIDTH)
    start, names = _BLOCKS[kind]
    for role, name in names.items():
        if role.startswith("norm"):
            norm(start + name)
        else:
            sizes = {"inner": (WIDTH, INNER), "outer": (INNER, WIDTH)}.get(role, (WIDTH, WIDTH))
            dense(start + name, *sizes)
    if pooler and kind in ("bert", "albert"):
        dense("pooler.dense" if kind == "bert" else "pooler", WIDTH, WIDTH)
    return found


def folder(path: Path, settings: dict[str, Any], weights: Tensors) -> Path:
    """A folder of a config and its weights."""
    from safetensors.numpy import save_file

    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings))
    save_file(weights, path / "model.safetensors")
    return path


def inputs(kind: str) -> dict[str, np.ndarray]:
    """What KerasHub's model of that kind is fed."""
    found = {"token_ids": IDS, "padding_mask": MASK}
    return found | ({"segment_ids": SEGMENTS} if kind in ("bert", "albert") else {})


def hidden_states(kind: str, settings: dict[str, Any], weights: Tensors) -> np.ndarray:
    """The last hidden state, as the papers and transformers' documentation define it."""
    pad = settings.get("pad_token_id", 1)
    first = pad + 1 if "roberta" in kind else 0
    segments = SEGMENTS if kind in ("bert", "albert") else np.zeros_like(IDS)
    places = np.arange(IDS.shape[1]) + first
    x = weights["embeddings.word_embeddings.weight"][IDS]
    x = x + weights["embeddings.position_embeddings.weight"][places]
    if kind != "distilbert":
        x = x + weights["embeddings.token_type_embeddings.weight"][segments]
    epsilon = settings.get("layer_norm_eps", 1e-12)
    key, default = ("activation", "gelu") if kind == "distilbert" else ("hidden_act", "gelu")
    act = _ACTIVATIONS[settings.get(key, "gelu_new" if kind == "albert" else default)]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * weights[name + ".weight"] + weights[name + ".bias"]

    x = norm(x.astype("float64"), "embeddings.LayerNorm")
    if kind == "albert":
        x = dense(x, "encoder.embedding_hidden_mapping_in")
    start, names = _BLOCKS[kind]
    names = {role: start + name for role, name in names.items()}
    q, k, v = (_split(dense(x, names[role])) for role in ("query", "key", "value"))
    scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(WIDTH // HEADS)
    scores = np.where(MASK[:, None, None, :] == 1, scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ v
    mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
    x = norm(x + dense(mixed, names["out"]), names["norm1"])
    return norm(x + dense(act(dense(x, names["inner"])), names["outer"]), names["norm2"])


def check_outputs(
    path: Path,
    kind: str,
    changes: dict[str, Any],
    prefix: str,
    head: Tensors,
    pooler: bool,
) -> None:
    """Loads a folder of that kind and compares it with the formula, where there is no padding."""
    settings, weights = config(kind, **changes), tensors(kind, pooler=pooler)
    wanted = hidden_states(kind, settings, weights)
    model = ftk.load_backbone(folder(path, settings, renamed(weights, prefix) | head))
    difference = np.abs(tokens_of(model, kind) - wanted)[MASK == 1].max()
    assert difference <= 1e-5 * np.abs(wanted).max()
    if kind in ("bert", "albert"):
        assert ("pooled_output" in model.output) is pooler
    assert bool(ftk.load_report(model).dropped) is bool(head)


def tokens_of(model: keras.Model, kind: str) -> np.ndarray:
    """The vectors of the tokens."""
    found = model(inputs(kind), training=False)
    return np.asarray(found["sequence_output"] if isinstance(found, dict) else found)


def renamed(weights: Tensors, prefix: str, **others: str) -> Tensors:
    """With a prefix, and the parameters of LayerNormalization under other names."""
    found = {}
    for name, array in weights.items():
        for old, new in others.items():
            name = name.replace(f"LayerNorm.{old}", f"LayerNorm.{new}")
        found[prefix + name] = array
    return found


def classifier(path: Path) -> keras.Model:
    """A BERT whose folder held a head for three classes."""
    names = {"id2label": {"0": "neg", "1": "neu", "2": "pos"}}
    settings = config("bert", hidden_act="gelu_new", **names)
    return ftk.load_backbone(folder(path, settings, renamed(tensors("bert"), "bert.") | HEAD))


def _split(x: np.ndarray) -> np.ndarray:
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)


_ACTIVATIONS = {
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
}
