"""Hints for names of a hub."""

from __future__ import annotations

import pytest

import finetunekit as ftk


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bert-base-uncased", "'hf:google-bert/bert-base-uncased'"),
        ("roberta-base", "'hf:FacebookAI/roberta-base'"),
        ("all-MiniLM-L6-v2", "'hf:ORGANISATION/all-MiniLM-L6-v2'"),
        ("google/vit-base-patch16-224", "'hf:google/vit-base-patch16-224'"),
        ("bert_tiny_en_uncased", "'kerashub:bert_tiny_en_uncased'"),
        ("resnet5", "Did you mean"),
    ],
)
def test_names_of_a_hub_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        ftk.load_backbone(name)
