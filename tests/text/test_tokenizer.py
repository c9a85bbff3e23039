"""A tokenizer has the special tokens of its kind, and comes back from its files as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from finetunekit.text import tokenizer as tokenizers
from finetunekit.text.packing import Layout
from finetunekit.text.tokenizer import Tokenizer, describe, from_files, tokenizer_of
from finetunekit.text.wordpiece import WordPiece

TOKENS = ["[UNK]", "[PAD]", "[SEP]", "a", "[CLS]", "b"]
LAYOUT = Layout(start=4, end=2, between=(2, 3), pad=1, empty=5)


class HubTokenizer:
    """What KerasHub's tokenizers have: a config, assets, ids of special tokens."""

    def __init__(self, **config: Any) -> None:
        self.config = config
        self.loaded: dict[str, bytes] = {}

    def vocabulary_size(self) -> np.int64:
        return np.int64(1234)

    def __call__(self, texts: list[str]) -> Any:
        assert type(texts) is list
        return [[len(word) for word in text.split()] for text in texts]

    def get_config(self) -> dict[str, Any]:
        return self.config

    def save_assets(self, folder: str) -> None:
        Path(folder, "vocabulary.txt").write_bytes(b"a\r\nb")
        Path(folder, "merges.txt").write_bytes(b"a b\n")

    def load_assets(self, folder: str) -> None:
        self.loaded = {name: Path(folder, name).read_bytes() for name in os.listdir(folder)}


class RaggedTokenizer(HubTokenizer):
    """One that answers with a ragged tensor."""

    def __call__(self, texts: list[str]) -> Any:
        return SimpleNamespace(to_list=lambda: [[ord(sign) for sign in text] for text in texts])


def special(kind: str = "AnyTokenizer", **ids: int | None) -> Any:
    """A tokenizer of KerasHub with these special tokens."""
    made = type(kind, (HubTokenizer,), {})()
    for name, number in ids.items():
        setattr(made, f"{name}_token_id", number)
    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """KerasHub, with two tokenizers."""
    package = ModuleType("keras_hub")
    package.models = SimpleNamespace(  # type: ignore[attr-defined]
        Tokenizer=HubTokenizer, RaggedTokenizer=RaggedTokenizer, Backbone=dict, make=lambda: None
    )
    monkeypatch.setitem(sys.modules, "keras_hub", package)
    return package.models  # type: ignore[no-any-return]


# What a tokenizer says of itself.


def test_name_and_size() -> None:
    made = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT)
    assert (made.name, made.size, made.max_length) == ("WordPiece of 6 tokens", 6, None)
    of_hub = Tokenizer(encoder=HubTokenizer(), layout=LAYOUT)
    assert (of_hub.name, of_hub.size) == ("HubTokenizer of 1,234 tokens", 1234)
    assert type(of_hub.size) is int
    empty = special()
    empty.vocabulary_size = lambda: 0
    assert Tokenizer(encoder=empty, layout=LAYOUT).name == "AnyTokenizer"


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "words"),
    [
        (True, None, "lower case, without accents"),
        (True, True, "lower case, without accents"),
        (True, False, "lower case"),
        (False, None, "case kept"),
        (False, False, "case kept"),
        (False, True, "case kept, without accents"),
    ],
)
def test_case_and_accents_in_words(lowercase: bool, strip_accents: bool | None, words: str) -> None:
    encoder = WordPiece(TOKENS, lowercase=lowercase, strip_accents=strip_accents)
    made = Tokenizer(encoder=encoder, layout=LAYOUT)
    assert describe(made) == f"WordPiece of 6 tokens, {words}"


def test_of_kerashubs_only_the_name_is_told() -> None:
    assert describe(Tokenizer(encoder=HubTokenizer(), layout=LAYOUT)) == (
        "HubTokenizer of 1,234 tokens"
    )


def test_a_tokenizer_does_not_change() -> None:
    made = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.max_length = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        Tokenizer(made.encoder, LAYOUT)  # type: ignore[misc]


# Texts to ids.


def test_texts_and_pairs_stand_between_their_special_tokens() -> None:
    made = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT)
    packed = made(["a b", "?"])
    assert packed.ids.tolist() == [[4, 3, 5, 2], [4, 0, 2, 1]]
    assert packed.mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    packed = made(["a", "b"], ["b b", "a"])
    assert packed.ids.tolist() == [[4, 3, 2, 2, 3, 5, 5, 2], [4, 5, 2, 2, 3, 3, 2, 1]]
    assert packed.segments.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 0]]
    assert packed.cut == 0


def test_texts_beyond_the_maximum_are_cut() -> None:
    made = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT, max_length=4)
    packed = made(["a b a", "a b"])
    assert packed.ids.tolist() == [[4, 3, 5, 2], [4, 3, 5, 2]]
    assert packed.cut == 1


@pytest.mark.parametrize(
    ("encoder", "wanted"),
    [
        (HubTokenizer(), [[9, 1, 2], [9, 3, 0]]),
        (RaggedTokenizer(), [[9, 97, 32, 98, 98], [9, 97, 97, 97, 0]]),
    ],
)
def test_kerashubs_give_lists_or_ragged_tensors(encoder: Any, wanted: list[list[int]]) -> None:
    made = Tokenizer(encoder=encoder, layout=Layout(start=9))
    packed = made(("a bb", "aaa"))
    assert packed.ids.tolist() == wanted
    assert packed.ids.dtype == "int32"
    assert made([]).ids.shape == (0, 0)
    (row,) = made._ids(["aaa"])
    assert row.dtype == "int32"


def test_kerashubs_are_not_asked_for_no_texts() -> None:
    def refuses(texts: list[str]) -> Any:
        raise AssertionError("no texts")

    made = Tokenizer(encoder=refuses, layout=Layout())
    assert made([], []).ids.shape == (0, 0)


# Which special tokens.


def test_a_wordpiece_has_the_tokens_of_bert() -> None:
    encoder = WordPiece(TOKENS)
    made = tokenizer_of(encoder, causal=False, max_length=7)
    assert made == Tokenizer(encoder=encoder, layout=Layout(start=4, end=2, pad=1), max_length=7)
    assert tokenizer_of(encoder, causal=True, max_length=None).layout == made.layout
    bare = tokenizer_of(WordPiece(["a", "[UNK]"]), causal=False, max_length=None)
    assert bare.layout == Layout(start=None, end=None, pad=0)
    assert bare.max_length is None


@pytest.mark.parametrize(
    ("encoder", "causal", "layout"),
    [
        (special(start=5, end=6, pad=7), True, Layout(start=5, pad=7, empty=6)),
        (special(start=6, end=6, pad=7), True, Layout(start=None, pad=7, empty=6)),
        (special(), True, Layout()),
        (special(start=5, end=6, pad=None), True, Layout(start=5, pad=0, empty=6)),
        (special(start=5, end=6, pad=7, cls=8, sep=9), True, Layout(start=5, pad=7, empty=6)),
        (special(cls=8, sep=9, pad=7), False, Layout(start=8, end=9, pad=7)),
        (special(cls=0, sep=9, start=5, end=6), False, Layout(start=0, end=9, pad=0)),
        (special(cls=None, start=5, end=6), False, Layout(start=5, end=6, empty=6)),
        (special(start=5, end=6, pad=7), False, Layout(start=5, end=6, pad=7, empty=6)),
        (special(end=6), False, Layout(end=6, empty=6)),
        (special(), False, Layout()),
        *(
            (
                special(kind, start=0, end=2, pad=1),
                False,
                Layout(start=0, end=2, between=(2,), pad=1, empty=2),
            )
            for kind in ("RobertaTokenizer", "XLMRobertaTokenizer", "BartTokenizer")
        ),
        (special("RobertaTokenizer", start=0, pad=1), False, Layout(start=0, pad=1)),
        (special("RobertaTokenizer", end=0), False, Layout(end=0, between=(0,), empty=0)),
    ],
)
def test_kerashubs_have_the_special_tokens_of_their_kind(
    encoder: Any, causal: bool, layout: Layout
) -> None:
    made = tokenizer_of(encoder, causal=causal, max_length=12)
    assert made.encoder is encoder
    assert made.layout == layout
    assert made.max_length == 12


@pytest.mark.parametrize("encoder", [17, len, SimpleNamespace(save_assets=None), TOKENS, None])
def test_what_is_no_tokenizer(encoder: Any) -> None:
    with pytest.raises(TypeError, match="`tokenizer` must be the path of a vocab") as caught:
        tokenizer_of(encoder, causal=False, max_length=None)
    assert str(caught.value).endswith(f"Received: tokenizer={encoder!r}")


# Files.


def test_the_files_of_a_wordpiece() -> None:
    encoder = WordPiece(["[UNK]", "ä", "b"], lowercase=False, longest_word=9)
    files = Tokenizer(encoder=encoder, layout=LAYOUT, max_length=7).files()
    assert sorted(files) == ["tokenizer.json", "vocab.txt"]
    assert files["vocab.txt"] == b"[UNK]\n\xc3\xa4\nb"
    assert json.loads(files["tokenizer.json"]) == {
        "class": "WordPiece",
        "options": {
            "lowercase": False,
            "strip_accents": None,
            "split_chinese": True,
            "special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            "longest_word": 9,
        },
        "layout": {"start": 4, "end": 2, "between": [2, 3], "pad": 1, "empty": 5},
        "max_length": 7,
    }


def test_a_wordpiece_comes_back_from_its_files() -> None:
    # A sign at a line's end, which reading lines of text would take for one.
    encoder = WordPiece(["[UNK]", "\u2028", "b\r", "é", ""], lowercase=False, longest_word=2)
    made = Tokenizer(encoder=encoder, layout=LAYOUT, max_length=None)
    again = from_files(made.files())
    assert again.layout == LAYOUT
    assert again.max_length is None
    assert again.encoder.vocabulary == encoder.vocabulary
    assert again.encoder.options == encoder.options
    assert again.encoder.encode("é ééé É") == [3, 0, 0]
    assert again.files() == made.files()


CONFIG = {
    "name": "words",
    "lowercase": True,
    "length": 5,
    "rate": 0.5,
    "nothing": None,
    "signs": ["a", "b"],
    "dtype": {"class_name": "DTypePolicy"},
    "shape": (1, 2),
    "vocabulary": ["a"],
    "merges": ["a b"],
    "proto": "bytes",
    "config_file": "file.json",
}
PLAIN = {name: CONFIG[name] for name in ("length", "lowercase", "name", "nothing", "rate", "signs")}


def test_the_files_of_kerashubs() -> None:
    files = Tokenizer(encoder=HubTokenizer(**CONFIG), layout=Layout(end=3)).files()
    assert files["vocabulary.txt"] == b"a\r\nb"
    assert files["merges.txt"] == b"a b\n"
    assert len(files) == 3
    assert json.loads(files["tokenizer.json"]) == {
        "class": "HubTokenizer",
        "options": PLAIN,
        "layout": {"start": None, "end": 3, "between": [], "pad": 0, "empty": None},
        "max_length": None,
    }
    assert list(json.loads(files["tokenizer.json"])["options"]) == sorted(PLAIN)


def test_kerashubs_come_back_from_their_files(hub: SimpleNamespace) -> None:
    made = Tokenizer(encoder=RaggedTokenizer(**CONFIG), layout=LAYOUT, max_length=9)
    again = from_files(made.files())
    assert type(again.encoder) is RaggedTokenizer
    assert again.encoder.config == PLAIN
    assert again.encoder.loaded == {"vocabulary.txt": b"a\r\nb", "merges.txt": b"a b\n"}
    assert (again.layout, again.max_length) == (LAYOUT, 9)


def test_assets_are_written_into_their_folder_only(
    hub: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizers.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    files = Tokenizer(encoder=RaggedTokenizer(), layout=LAYOUT).files()
    outside = str(tmp_path / "outside.txt")
    again = from_files({**files, "../../up.txt": b"1", outside: b"2"})
    assert again.encoder.loaded == {
        "vocabulary.txt": b"a\r\nb", "merges.txt": b"a b\n", "up.txt": b"1", "outside.txt": b"2"
    }  # fmt: skip
    assert os.listdir(tmp_path) == ["temporary"]
    assert os.listdir(tmp_path / "temporary") == []


@pytest.mark.parametrize("kind", ["Backbone", "make", "NoSuchTokenizer", "__class__"])
def test_only_tokenizers_of_kerashub_are_made(kind: str, hub: SimpleNamespace) -> None:
    record = {"class": kind, "options": {}, "layout": {"between": []}, "max_length": None}
    with pytest.raises(ValueError, match=f"the tokenizer's class is unknown: '{kind}'"):
        from_files({"tokenizer.json": json.dumps(record).encode()})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda files, record: files.pop("tokenizer.json"), "KeyError"),
        (lambda files, record: files.pop("vocab.txt"), "KeyError"),
        (lambda files, record: record.pop("class"), "KeyError"),
        (lambda files, record: record.pop("max_length"), "KeyError"),
        (lambda files, record: record["layout"].pop("between"), "KeyError"),
        (lambda files, record: record["layout"].update(middle=1), "TypeError"),
        (lambda files, record: record.update(layout=3), "TypeError"),
        (lambda files, record: record.update(options=3), "TypeError"),
        (lambda files, record: record["options"].update(speed=1), "TypeError"),
        (lambda files, record: files.update({"vocab.txt": "[UNK]"}), "AttributeError"),
        (lambda files, record: files.update({"vocab.txt": b"[UNK]\n\xff"}), "UnicodeDecodeError"),
    ],
)
def test_damaged_files(change: Any, error: str) -> None:
    files: dict[str, Any] = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT).files()
    record = json.loads(files["tokenizer.json"])
    change(files, record)
    if "tokenizer.json" in files:
        files["tokenizer.json"] = json.dumps(record).encode()
    with pytest.raises(ValueError, match=f"the tokenizer's record is damaged: {error}"):
        from_files(files)


def test_damaged_vocabularies_say_what_they_lack() -> None:
    files = Tokenizer(encoder=WordPiece(TOKENS), layout=LAYOUT).files()
    with pytest.raises(ValueError, match="lacks '\\[UNK\\]'"):
        from_files({**files, "vocab.txt": b"a\nb"})
    with pytest.raises(ValueError, match="Expecting value"):
        from_files({**files, "tokenizer.json": b"no record"})


def test_kerashub_is_asked_for_with_the_way_to_get_it(
    hub: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokenizers.kerashub().models is hub
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    files = Tokenizer(encoder=RaggedTokenizer(), layout=LAYOUT).files()
    with pytest.raises(ImportError, match="KerasHub is needed here") as caught:
        from_files(files)
    assert str(caught.value).endswith("Install it: `pip install 'finetunekit[hub]'`")
