"""Texts become the words of BERT's basic tokenizer: cleaned, without case and accents, split."""

from __future__ import annotations

import string

import pytest

from finetunekit.text.basic import Splitter, is_punctuation


def words(
    text: str,
    *,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    split_chinese: bool = True,
) -> list[str]:
    split = Splitter(lowercase=lowercase, strip_accents=strip_accents, split_chinese=split_chinese)
    found = split(text)
    assert split(text) == found  # What is remembered of signs gives the same again.
    return found


# Printable ASCII is split by a pattern of its own; one other letter turns it off.
@pytest.mark.parametrize("beside", ["", "ø"])
def test_each_sign_of_ascii_is_a_word_of_its_own(beside: str) -> None:
    for sign in map(chr, range(32, 127)):
        found = words(f"a{sign}b{beside}")
        if sign in string.ascii_letters + string.digits:
            assert found == [f"a{sign}b{beside}"], sign
        elif sign == " ":
            assert found == ["a", f"b{beside}"]
        else:
            assert sign in string.punctuation
            assert found == ["a", sign, f"b{beside}"], sign


def test_runs_of_signs_and_spaces() -> None:
    assert words("  don't...  (1,000)\u00a0ø!?") == [
        "don", "'", "t", ".", ".", ".", "(", "1", ",", "000", ")", "ø", "!", "?"
    ]  # fmt: skip
    assert words("don't...   (1,000)") == [
        "don",
        "'",
        "t",
        ".",
        ".",
        ".",
        "(",
        "1",
        ",",
        "000",
        ")",
    ]
    assert words("") == []
    assert words(" \t\n") == []


@pytest.mark.parametrize(
    ("sign", "becomes"),
    [
        ("\t", " "),
        ("\n", " "),
        ("\r", " "),
        ("\u00a0", " "),
        ("\u3000", " "),
        ("\u2028", " "),  # Neither Zs nor a control sign.
        ("\0", ""),
        ("\x0b", ""),  # A control sign, though Python counts it as a space.
        ("\x1f", ""),
        ("\x7f", ""),
        ("\x85", ""),
        ("\u00ad", ""),
        ("\u200b", ""),
        ("\ue000", ""),
        ("\ufffd", ""),
        ("\ufffc", "\ufffc"),
        ("\u0378", "\u0378"),  # Not assigned.
        ("€", "€"),
    ],
)
def test_controls_vanish_and_spaces_split(sign: str, becomes: str) -> None:
    assert words(f"a{sign}b") == f"a{becomes}b".split()
    assert words(f"ø{sign}b") == f"ø{becomes}b".split()


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0xF900, 0xFAFF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B920, 0x2CEAF),
        (0x2F800, 0x2FA1F),
    ],
)
def test_each_chinese_character_is_a_word(first: int, last: int) -> None:
    for code in (first, (first + last) // 2, last):
        assert words(f"a{chr(code)}b") == ["a", chr(code), "b"]
        assert words(f"a{chr(code)}b", split_chinese=False) == [f"a{chr(code)}b"]
    assert words(f"{chr(first)}{chr(last)}") == [chr(first), chr(last)]


@pytest.mark.parametrize(
    "code",
    [0x33FF, 0x4DC0, 0x4DFF, 0xA000, 0xFB00, 0x1FFFD, 0x2A6E0, 0x2A6FF, 0x2B820, 0x2B91F, 0x2CEB0,
     0x2F7FF, 0x2FA20, ord("あ"), ord("한")],
)  # fmt: skip
def test_what_lies_beside_the_chinese_ranges_stays_in_its_word(code: int) -> None:
    assert words(f"a{chr(code)}b") == [f"a{chr(code)}b"]


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "wanted"),
    [
        (False, None, "ÉCOLE"),
        (False, False, "ÉCOLE"),
        (False, True, "ECOLE"),
        (True, None, "ecole"),
        (True, False, "école"),
        (True, True, "ecole"),
    ],
)
def test_accents_go_with_the_case_unless_it_is_said(
    lowercase: bool, strip_accents: bool | None, wanted: str
) -> None:
    assert words("ÉCOLE", lowercase=lowercase, strip_accents=strip_accents) == [wanted]
    plain = "ecole" if lowercase else "ECOLE"
    assert words("ECOLE", lowercase=lowercase, strip_accents=strip_accents) == [plain]


def test_only_marks_without_a_width_are_accents() -> None:
    assert words("e\u0301\u0308a\u0903", strip_accents=True) == ["ea\u0903"]
    assert words("한", strip_accents=True) == ["\u1112\u1161\u11ab"]
    # Chinese characters that stand for others are found before they become these.
    assert words("a\uf900b", strip_accents=True) == ["a", "\u8c48", "b"]


def test_small_letters() -> None:
    # Python alone would end it in the other small sigma.
    assert words("ΟΔΟΣ ΔΟΣ", lowercase=True) == ["οδοσ", "δοσ"]
    assert words("İø", lowercase=True, strip_accents=False) == ["i\u0307ø"]
    assert words("İø", lowercase=True) == ["iø"]
    assert words("STRAßE", lowercase=True) == ["straße"]


@pytest.mark.parametrize("sign", ["!", "$", "+", "<", "^", "`", "|", "~", "¿", "—", "。", "«", "_"])
def test_punctuation(sign: str) -> None:
    assert is_punctuation(sign)
    assert words(f"ø{sign}a") == ["ø", sign, "a"]


@pytest.mark.parametrize("sign", [" ", "a", "0", "\t", "\x7f", "é", "€", "±", "²", "\u00a0", "你"])
def test_no_punctuation(sign: str) -> None:
    assert not is_punctuation(sign)
