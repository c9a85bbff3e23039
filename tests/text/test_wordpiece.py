"""Which token ids are in a text? As BERT's tokenizer has them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from finetunekit.text.wordpiece import WordPiece

TOKENS = "[PAD] [UNK] [CLS] [SEP] [MASK] cafe Café un ##aff ##able , ' t 你 ss ß i don".split()


def ids(*tokens: str) -> list[int]:
    return [TOKENS.index(token) for token in tokens]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("Café, CAFÉ", ["cafe", ",", "cafe"]),
        ("Cafe\u0301", ["cafe"]),
        ("don't", ["don", "'", "t"]),
        ("你你", ["你", "你"]),
        ("unknown", ["[UNK]"]),
        ("un\u00adaff\u200bable", ["un", "##aff", "##able"]),
        ("un\x0baffable", ["un", "##aff", "##able"]),
        ("don\tt\u00a0i", ["don", "t", "i"]),
        ("don[MASK]don", ["don", "[MASK]", "don"]),
        ("[mask]", ["[UNK]", "[UNK]", "[UNK]"]),
        ("ß", ["ß"]),
        ("", []),
        (" \n", []),
        ("un" * 51, ["[UNK]"]),
    ],
)
def test_ids(text: str, tokens: list[str]) -> None:
    assert WordPiece(TOKENS).encode(text) == ids(*tokens)


def test_case_and_accents_are_kept_if_asked() -> None:
    kept = WordPiece(TOKENS, lowercase=False)
    assert kept.encode("Café cafe") == ids("Café", "cafe")
    assert kept.encode("cafe\u0301") == ids("[UNK]")
    assert WordPiece(TOKENS, lowercase=False, strip_accents=True).encode("café") == ids("cafe")
    assert WordPiece(TOKENS, strip_accents=False).encode("café") == ids("[UNK]")


def test_hostile_texts_take_linear_time() -> None:
    words = WordPiece(TOKENS)
    start = time.perf_counter()
    assert words.encode("a" * 2_000_000) == ids("[UNK]")
    assert words.encode("e" + "\u0301" * 500_000) == ids("[UNK]")
    assert time.perf_counter() - start < 5


def test_words_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetunekit.text.wordpiece._WORDS_KEPT", 10)
    words = WordPiece(TOKENS)
    words([f"word{number}" for number in range(100)])
    assert len(words._words) <= 10
    assert words.encode("unaffable") == ids("un", "##aff", "##able")


def test_decode() -> None:
    assert WordPiece(TOKENS).decode(ids("un", "##aff", "##able", ",")) == "unaffable ,"


def test_a_file_is_read_with_any_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(TOKENS).encode() + b"\r\n")
    assert WordPiece.from_file(path).vocabulary == tuple(TOKENS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a\nb\n", "lacks"),
        (b"[UNK]\na\na\n", "twice"),
        (b"[UNK]\n" + b"x" * 5000, "5000 characters"),
    ],
)
def test_no_vocabulary(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=what):
        WordPiece.from_file(path)


def test_an_absurdly_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetunekit.text.wordpiece._LARGEST_FILE", 100)
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[UNK]\n" * 100)
    with pytest.raises(ValueError, match="larger"):
        WordPiece.from_file(path)
