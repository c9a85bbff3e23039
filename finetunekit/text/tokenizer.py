"""Tokenizers of models, and how they are saved: our WordPiece, and KerasHub's."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetunekit.foundation.messages import listed
from finetunekit.text.packing import Layout, Packed, pack
from finetunekit.text.wordpiece import WordPiece

INSTALL = "`pip install 'finetunekit[hub]'`"
_VOCABULARY = "vocab.txt"
_CONFIG = "tokenizer.json"
# Their texts come between <s> and </s>, and two </s> stand in a pair.
_ROBERTA_LIKE = ("RobertaTokenizer", "XLMRobertaTokenizer", "BartTokenizer")

HELD_IN_FILES = (
    "language_tokens",
    "merges",
    "proto",
    "special_tokens",
    "vocabulary",
)
"""Options of KerasHub's tokenizers that may be paths, which a file of others must not name."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Texts -> arrays of token ids.

    Args:
        encoder: A `WordPiece`, or a tokenizer of KerasHub.
        layout: The special tokens around the texts.
        max_length: The maximum number of tokens of a sample; None for no limit.
    """

    encoder: Any
    layout: Layout
    max_length: int | None = None

    @property
    def name(self) -> str:
        """A description of the tokenizer."""
        size = self.size
        return type(self.encoder).__name__ + (f" of {size:,} tokens" if size else "")

    @property
    def size(self) -> int | None:
        """The number of tokens."""
        if isinstance(self.encoder, WordPiece):
            return self.encoder.size
        return int(self.encoder.vocabulary_size())

    def __call__(self, first: Sequence[str], second: Sequence[str] | None = None) -> Packed:
        """Token ids of texts, or of pairs of texts, padded to the longest."""
        return pack(
            self._ids(first),
            None if second is None else self._ids(second),
            self.layout,
            self.max_length,
        )

    def _ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        if isinstance(self.encoder, WordPiece):
            return self.encoder(texts)
        # KerasHub's give lists, or a ragged tensor; neither for no texts at all.
        found = self.encoder(list(texts)) if texts else []
        rows = found.to_list() if hasattr(found, "to_list") else found
        return [np.asarray(row, "int32") for row in rows]

    def files(self) -> dict[str, bytes]:
        """The files that describe it: name -> content."""
        record: dict[str, Any] = {
            "layout": dataclasses.asdict(self.layout),
            "max_length": self.max_length,
        }
        if isinstance(self.encoder, WordPiece):
            record |= {"class": "WordPiece", "options": self.encoder.options}
            files = {_VOCABULARY: "\n".join(self.encoder.vocabulary).encode()}
        else:
            config = self.encoder.get_config()
            options = {key: config[key] for key in sorted(config) if _is_plain(config[key])}
            for held_in_files in (*HELD_IN_FILES, "config_file"):
                options.pop(held_in_files, None)
            record |= {"class": type(self.encoder).__name__, "options": options}
            with tempfile.TemporaryDirectory() as folder:
                self.encoder.save_assets(folder)
                files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        return {_CONFIG: json.dumps(record).encode(), **files}


def from_files(files: dict[str, bytes]) -> Tokenizer:
    """The tokenizer that `files` has described.

    Raises:
        ValueError: If the files are damaged.
        ImportError: If it is one of KerasHub's, and that is not installed.
    """
    try:
        record = json.loads(files[_CONFIG])
        layout = Layout(**{**record["layout"], "between": tuple(record["layout"]["between"])})
        options = dict(record["options"])
        if record["class"] == "WordPiece":
            tokens = files[_VOCABULARY].decode().split("\n")
            encoder: Any = WordPiece(tokens, **options)
        else:
            encoder = _from_kerashub(record["class"], options, files)
        return Tokenizer(encoder=encoder, layout=layout, max_length=record["max_length"])
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"the tokenizer's record is damaged: {error!r}") from error


def _from_kerashub(kind: str, options: dict[str, Any], files: dict[str, bytes]) -> Any:
    hub = kerashub()
    found = getattr(hub.models, kind, None)
    if not isinstance(found, type) or not issubclass(found, hub.models.Tokenizer):
        raise ValueError(f"the tokenizer's class is unknown: {kind!r}")
    elsewhere = [key for key in HELD_IN_FILES if isinstance(options.get(key), str)]
    if elsewhere:
        raise ValueError(f"the tokenizer's {elsewhere[0]} is in another file, which is not read")
    encoder = found(**options)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            if name != _CONFIG:
                (Path(folder) / os.path.basename(name)).write_bytes(content)
        encoder.load_assets(folder)
    return encoder


def kerashub() -> Any:
    """The package keras_hub.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            f"KerasHub is needed here and cannot be imported ({error}). Install it: {INSTALL}"
        ) from error
    return keras_hub


def tokenizer_of(encoder: Any, *, causal: bool, max_length: int | None) -> Tokenizer:
    """A WordPiece, or a tokenizer of KerasHub, with the special tokens of its kind.

    Args:
        encoder: The tokenizer.
        causal: Whether it is for a model like GPT, which reads from left to right.
        max_length: The maximum number of tokens of a sample.

    Raises:
        TypeError: If it is no tokenizer that is known.
    """
    if isinstance(encoder, WordPiece):
        ids = {token: encoder.id_of(token) for token in ("[CLS]", "[SEP]", "[PAD]")}
        layout = Layout(start=ids["[CLS]"], end=ids["[SEP]"], pad=ids["[PAD]"] or 0)
        return Tokenizer(encoder=encoder, layout=layout, max_length=max_length)
    if not callable(encoder) or not hasattr(encoder, "save_assets"):
        raise TypeError(
            "`tokenizer` must be the path of a vocab.txt, a `WordPiece`, or a tokenizer of "
            f"KerasHub. Received: tokenizer={encoder!r}"
        )
    pad = getattr(encoder, "pad_token_id", None) or 0
    start, end = (getattr(encoder, f"{which}_token_id", None) for which in ("start", "end"))
    if causal:
        begin = None if start == end else start
        layout = Layout(start=begin, pad=pad, empty=end)
    elif getattr(encoder, "cls_token_id", None) is not None:
        layout = Layout(start=encoder.cls_token_id, end=encoder.sep_token_id, pad=pad)
    else:
        roberta = type(encoder).__name__ in _ROBERTA_LIKE
        layout = Layout(
            start=start,
            end=end,
            between=(end,) if roberta and end is not None else (),
            pad=pad,
            empty=end,
        )
    return Tokenizer(encoder=encoder, layout=layout, max_length=max_length)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list))


def describe(tokenizer: Tokenizer) -> str:
    """For the input contract: what it is, and how it treats case and accents."""
    if not isinstance(tokenizer.encoder, WordPiece):
        return tokenizer.name
    options = tokenizer.encoder.options
    marks = ["lower case"] if options["lowercase"] else ["case kept"]
    accents = options["strip_accents"]
    if options["lowercase"] if accents is None else accents:
        marks.append("without accents")
    return f"{tokenizer.name}, {listed(marks)}".replace("'", "")
