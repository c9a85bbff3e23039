"""Settings of a Hugging Face config.json that KerasHub's converters do not read, by model type."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from finetunekit.foundation.messages import listed

# Names of transformers -> those of Keras; `gelu_tanh` is the approximation by tanh.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
_ROPE = ("rope_scaling", "rope_parameters")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelType:
    """How KerasHub computes models of one type, whatever their config.json says.

    Args:
        activation: The key of the activation, what transformers takes without it, and what
            KerasHub computes; None if there is no such key.
        epsilon: The same for the epsilon of LayerNormalization.
        rebuilt: Whether blocks can be rebuilt with another activation and epsilon.
        options: Argument of the KerasHub class -> the key that its converter does not read.
        only: Key -> the values with which KerasHub computes the model, the default first.
        rope: Whether it has rotary positions, of which only the plain ones are read.
    """

    activation: tuple[str, str, str] | None = None
    epsilon: tuple[str, float, float] | None = None
    rebuilt: bool = False
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    only: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    rope: bool = False


_NO = (False, None)
_ENCODER = {
    "add_cross_attention": _NO,
    "is_decoder": _NO,
    "position_embedding_type": ("absolute", None),
    "pruned_heads": ({}, None),
}
_SILU = {"hidden_act": ("silu", "swish", None), "mlp_bias": _NO}
_RMS = {"layer_norm_epsilon": "rms_norm_eps"}
_GEMMA = {"attention_bias": _NO, "rope_theta": (10000.0, None)}
_ROBERTA = ModelType(
    activation=("hidden_act", "gelu", "gelu"),
    epsilon=("layer_norm_eps", 1e-12, 1e-5),
    rebuilt=True,
    options={"dropout": "hidden_dropout_prob"},
    only=_ENCODER,
)
_TYPES = {
    "albert": ModelType(
        activation=("hidden_act", "gelu_new", "gelu_tanh"),
        epsilon=("layer_norm_eps", 1e-12, 1e-12),
        rebuilt=True,
        only=_ENCODER,
    ),
    "bart": ModelType(
        activation=("activation_function", "gelu", "gelu"), only={"scale_embedding": _NO}
    ),
    "bert": ModelType(
        activation=("hidden_act", "gelu", "gelu_tanh"),
        epsilon=("layer_norm_eps", 1e-12, 1e-12),
        rebuilt=True,
        options={"dropout": "hidden_dropout_prob", "num_segments": "type_vocab_size"},
        only=_ENCODER,
    ),
    "deit": ModelType(activation=("hidden_act", "gelu", "gelu"), only={"num_channels": (3, None)}),
    "dinov2": ModelType(
        activation=("hidden_act", "gelu", "gelu"), epsilon=("layer_norm_eps", 1e-6, 1e-6)
    ),
    "distilbert": ModelType(
        activation=("activation", "gelu", "gelu"), rebuilt=True, only={"pruned_heads": ({}, None)}
    ),
    "esm": ModelType(only={"position_embedding_type": ("rotary",)}),
    "gemma": ModelType(options=_RMS, only=_GEMMA, rope=True),
    "gemma2": ModelType(options=_RMS, only=_GEMMA, rope=True),
    "gpt2": ModelType(
        activation=("activation_function", "gelu_new", "gelu_tanh"),
        epsilon=("layer_norm_epsilon", 1e-5, 1e-5),
        rebuilt=True,
        options={"intermediate_dim": "n_inner"},
        only={
            "add_cross_attention": _NO,
            "scale_attn_by_inverse_layer_idx": _NO,
            "scale_attn_weights": (True, None),
        },
    ),
    "llama": ModelType(options=_RMS, only=_SILU | {"attention_bias": _NO}, rope=True),
    "mistral": ModelType(only=_SILU, rope=True),
    "mixtral": ModelType(only=_SILU, rope=True),
    "qwen2": ModelType(only=_SILU, rope=True),
    "qwen3": ModelType(only=_SILU | {"attention_bias": _NO}, rope=True),
    "roberta": _ROBERTA,
    "swin": ModelType(
        activation=("hidden_act", "gelu", "gelu"),
        epsilon=("layer_norm_eps", 1e-5, 1e-5),
        only={"use_absolute_embeddings": _NO},
    ),
    "vit": ModelType(
        activation=("hidden_act", "gelu", "gelu"),
        options={"layer_norm_epsilon": "layer_norm_eps"},
        only={"num_channels": (3, None)},
    ),
    "xlm-roberta": _ROBERTA,
}


@dataclasses.dataclass(frozen=True)
class Changes:
    """What the blocks of a model must compute with instead of KerasHub's own; None for no change.

    Args:
        activation: A name of Keras, or `"gelu_tanh"`.
        epsilon: The epsilon of every LayerNormalization.
    """

    activation: str | None = None
    epsilon: float | None = None

    def __bool__(self) -> bool:
        return self.activation is not None or self.epsilon is not None


def options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for KerasHub's class that its converter does not take from the config."""
    rows = _of(config).options
    return {name: config[key] for name, key in rows.items() if config.get(key) is not None}


def changes(config: Mapping[str, Any], source: str) -> Changes:
    """What to change in the model that KerasHub makes, so that it computes what the config says.

    Raises:
        ValueError: If the config asks for what neither KerasHub nor Keras computes.
    """
    kind = _of(config)
    for fault in _unsupported(config, kind):
        raise ValueError(
            f"`source` has a config.json with {fault}. Outputs would be wrong, so nothing was "
            f"loaded; use a checkpoint without it, or the library that it was made with. "
            f"Received: source={source!r}"
        )
    activation, epsilon = _activation(config, kind), _epsilon(config, kind)
    if kind.activation is not None and activation == kind.activation[2]:
        activation = None
    if kind.epsilon is not None and epsilon == kind.epsilon[2]:
        epsilon = None
    return Changes(activation, epsilon)


def _of(config: Mapping[str, Any]) -> ModelType:
    name = config.get("model_type")
    return _TYPES.get(name, ModelType()) if isinstance(name, str) else ModelType()


def _unsupported(config: Mapping[str, Any], kind: ModelType) -> Iterator[str]:
    name = config.get("model_type")
    for key, allowed in kind.only.items():
        if config.get(key, allowed[0]) not in allowed:
            yield f"{key}={config[key]!r}, and KerasHub computes {name} with {allowed[0]!r} only"
    if kind.activation is not None:
        asked, ours = _activation(config, kind), kind.activation[2]
        shown = f"{kind.activation[0]}={config.get(kind.activation[0])!r}"
        if asked is None:
            yield f"{shown}, which Keras does not have: it has {listed(_ACTIVATIONS)}"
        elif asked != ours and not kind.rebuilt:
            yield f"{shown}, and KerasHub computes {name} with {ours!r} only"
    if kind.epsilon is not None:
        asked_epsilon, ours_epsilon = _epsilon(config, kind), kind.epsilon[2]
        shown = f"{kind.epsilon[0]}={config.get(kind.epsilon[0])!r}"
        if asked_epsilon is None:
            yield f"{shown}, which is not a positive number"
        elif asked_epsilon != ours_epsilon and not kind.rebuilt:
            yield f"{shown}, and KerasHub computes {name} with {ours_epsilon:g} only"
    if kind.rope:
        yield from _rotary(config)
    if config.get("model_type") == "bart" and config.get("decoder_layers") != config.get(
        "encoder_layers"
    ):
        yield "another number of decoder_layers than encoder_layers, and KerasHub has one number"


def _rotary(config: Mapping[str, Any]) -> Iterator[str]:
    """Scaled rotary positions; KerasHub's converters read those of Llama 3 in `rope_scaling`."""
    for key in _ROPE:
        row = config.get(key)
        how = row.get("rope_type", row.get("type", "default")) if isinstance(row, dict) else None
        if how in (None, "default"):
            continue
        if not (config.get("model_type") == "llama" and (key, how) == ("rope_scaling", "llama3")):
            yield f"{key} of the type {how!r}, and KerasHub reads plain rotary positions only"


def _activation(config: Mapping[str, Any], kind: ModelType) -> str | None:
    if kind.activation is None:
        return None
    key, default, _ = kind.activation
    found = config.get(key)
    return _ACTIVATIONS.get(str(default if found is None else found))


def _epsilon(config: Mapping[str, Any], kind: ModelType) -> float | None:
    if kind.epsilon is None:
        return None
    key, default, _ = kind.epsilon
    found = default if config.get(key) is None else config[key]
    valid = isinstance(found, int | float) and not isinstance(found, bool) and found > 0
    return float(found) if valid else None
