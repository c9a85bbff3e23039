"""BERT's tokenizer out of the one file that newer programs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetunekit.backbones import hub_tokenizers

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "##s", "Cafe"]


def written(folder: Path, **changes: Any) -> Path:
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model["vocab"] = {token: number for number, token in reversed(list(enumerate(TOKENS)))}
    normalizer = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None}
    content = {"model": model | changes.get("model", {})}
    content["normalizer"] = normalizer | changes.get("normalizer", {})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def test_accents_go_with_the_case(tmp_path: Path) -> None:
    found = hub_tokenizers._bert_tokenizer(written(tmp_path))
    assert found is not None
    assert found.encode("Cafés x") == [5, 6, 1]
    cased = hub_tokenizers._bert_tokenizer(written(tmp_path, normalizer={"lowercase": False}))
    assert cased is not None
    assert cased.encode("Cafes café") == [7, 6, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"type": "BPE"}},
        {"model": {"unk_token": "<unk>"}},
        {"model": {"vocab": {"[UNK]": 0, "a": 2}}},
        {"model": {"vocab": {"[UNK]": 0, "a": "1.0"}}},
        {"model": {"vocab": None}},
        {"normalizer": {"type": "Lowercase"}},
    ],
)
def test_other_kinds_are_left_to_kerashub(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert hub_tokenizers._bert_tokenizer(written(tmp_path, **changes)) is None


def test_a_folder_without_any(tmp_path: Path) -> None:
    assert hub_tokenizers._bert_tokenizer(tmp_path) is None
