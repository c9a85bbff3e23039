"""What Hugging Face models compute besides their tensors, put into tensors that KerasHub reads."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Config = dict[str, Any]
Tensors = dict[str, np.ndarray]
_TOKENS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"
_SEGMENTS = "embeddings.token_type_embeddings.weight"


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """A change of tensors and config; by default there is none.

    Args:
        needed: Whether there is something to change, by the config and a reader of tensors.
        apply: Changes tensors and config in place, given the prefix of all names, and says what
            it has changed.
    """

    needed: Callable[[Config, Callable[[str], np.ndarray | None]], bool] = lambda *_: False
    apply: Callable[[Tensors, Config, str], list[str]] = lambda *_: []


NOTHING = Adaptation()


def positions(*, adds_segment: bool) -> Adaptation:
    """RoBERTa's positions begin behind `pad_token_id`, and every token is of segment 0.

    KerasHub reads positions from row 2 on, and has no segments.
    """

    def needed(config: Config, tensor: Callable[[str], np.ndarray | None]) -> bool:
        segments = tensor(_SEGMENTS) if adds_segment else None
        return _pad(config) != 1 or (segments is not None and bool(np.any(segments[:1])))

    def apply(tensors: Tensors, config: Config, prefix: str) -> list[str]:
        done, table, pad = [], tensors[prefix + _POSITIONS], _pad(config)
        if not 0 <= pad < len(table) - 1:
            raise ValueError(
                f"`source` has a config.json with pad_token_id={pad}, behind which there are no "
                f"position embeddings: there are {len(table)}. Received: pad_token_id={pad}"
            )
        if pad != 1:
            table = np.concatenate([np.zeros_like(table[:2]), table[pad + 1 :]])
            config["max_position_embeddings"] = len(table)
            done.append(f"positions are read from row {pad + 1} on, as pad_token_id={pad} says")
        segments = tensors.get(prefix + _SEGMENTS)
        if adds_segment and segments is not None and np.any(segments[:1]):
            # Sums of half precision would be rounded to it.
            table = table.astype("float32") + segments[0].astype("float32")
            done.append("the token-type embedding was added to the position embeddings")
        tensors[prefix + _POSITIONS] = table
        return done

    return Adaptation(needed, apply)


def _pad(config: Config) -> int:
    found = config.get("pad_token_id")
    return found if type(found) is int else 1


def token_dropout() -> Adaptation:
    """ESM scales token embeddings by the share of tokens that was not masked in training."""
    kept = 1 - 0.15 * 0.8

    def apply(tensors: Tensors, config: Config, prefix: str) -> list[str]:
        if config.get("token_dropout") is not True:
            return []
        tensors[prefix + _TOKENS] = tensors[prefix + _TOKENS] * np.float32(kept)
        return [f"the token embeddings were multiplied by {kept:g}, as token_dropout asks"]

    return Adaptation(lambda config, _: config.get("token_dropout") is True, apply)
