"""Tokenizers of Hugging Face folders and KerasHub presets."""

from pathlib import Path
from typing import Any

import keras

from finetunekit.backbones import hub_checks
from finetunekit.foundation.messages import warn
from finetunekit.text import attach, roles
from finetunekit.text.tokenizer import tokenizer_of
from finetunekit.text.wordpiece import WordPiece

_BERT_LIKE = ("bert", "distilbert")


def remember_tokenizer(
    model: keras.Model, hub: Any, preset: str, folder: str | None, config: dict[str, Any]
) -> None:
    """Records the tokenizer that belongs to a text model, if its files have one."""
    if roles.of(model) is None:
        return
    encoder = None
    if folder and config.get("model_type") in _BERT_LIKE:
        encoder = _bert_tokenizer(Path(folder))
    if encoder is None:
        try:
            encoder = hub.models.Tokenizer.from_preset(preset)
        except Exception as error:  # There may be none; the model is of use without it.
            warn(
                f"no tokenizer was found for {model.name!r} ({type(error).__name__}): it takes "
                "token ids, or texts after `ftk.use_tokenizer(model, ...)`"
            )
            return
    tokenizer = tokenizer_of(
        encoder, causal=roles.is_causal(model), max_length=roles.longest(model)
    )
    attach.remember(model, tokenizer)


def _bert_tokenizer(folder: Path) -> WordPiece | None:
    """BERT's tokenizer as Hugging Face has it: accents go with the case unless it says so.

    KerasHub reads the same files and keeps the accents, so that words with one are unknown.
    """
    vocabulary = folder / "vocab.txt"
    if not vocabulary.is_file():
        return _of_one_file(folder / "tokenizer.json")
    path = folder / "tokenizer_config.json"
    settings = hub_checks.read_json(path) if path.is_file() else {}
    return WordPiece.from_file(
        vocabulary,
        name="source",
        lowercase=bool(settings.get("do_lower_case", True)),
        strip_accents=settings.get("strip_accents"),
        split_chinese=bool(settings.get("tokenize_chinese_chars", True)),
    )


def _of_one_file(path: Path) -> WordPiece | None:
    """The same out of a tokenizer.json; None if there is none, or one of another kind."""
    settings = hub_checks.read_json(path) if path.is_file() else {}
    model, normalizer = (settings.get(key) for key in ("model", "normalizer"))
    if not isinstance(model, dict) or not isinstance(normalizer, dict):
        return None
    ids = model.get("vocab")
    known = (model.get("type"), model.get("unk_token"), model.get("continuing_subword_prefix"))
    if known != ("WordPiece", "[UNK]", "##") or normalizer.get("type") != "BertNormalizer":
        return None
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()):
        return None
    if sorted(ids.values()) != list(range(len(ids))):
        return None
    return WordPiece(
        sorted(ids, key=ids.__getitem__),
        lowercase=bool(normalizer.get("lowercase", True)),
        strip_accents=normalizer.get("strip_accents"),
        split_chinese=bool(normalizer.get("handle_chinese_chars", True)),
    )
