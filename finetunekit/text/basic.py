"""BERT's basic tokenizer: cleans a text and splits it into words."""

import re
import unicodedata

# Printable ASCII as it is split: runs of letters and digits, and single signs.
_ASCII = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
_CHINESE = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_KEPT = "\t\n\r"


class Splitter:
    """Texts -> words.

    Args:
        lowercase: Whether case is dropped.
        strip_accents: Whether accents are dropped; None if they are with the case.
        split_chinese: Whether each Chinese character is a word.
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool | None, split_chinese: bool) -> None:
        self.lowercase = lowercase
        self.strip_accents = lowercase if strip_accents is None else strip_accents
        self.split_chinese = split_chinese
        self._signs: dict[str, str] = {}

    def __call__(self, text: str) -> list[str]:
        """The words and signs of a text, in order."""
        if text.isascii() and text.isprintable():
            return _ASCII.findall(text.lower() if self.lowercase else text)
        text = "".join(map(self._sign, text))
        if self.split_chinese:
            text = _CHINESE.sub(lambda found: f" {found[0]} ", text)
        if self.strip_accents:
            kept = (
                c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn"
            )
            text = "".join(kept)
        if self.lowercase:
            # Letter by letter: a capital sigma has one small form here, at a word's end too.
            text = "".join(map(str.lower, text)) if "Σ" in text else text.lower()
        return "".join(map(self._spaced, text)).split()

    def _sign(self, sign: str) -> str:
        """A character after cleaning: itself, a space, or nothing."""
        known = self._signs.get(sign)
        if known is None:
            category = unicodedata.category(sign)
            if sign in _KEPT:
                known = " "
            elif sign in "\0\ufffd" or category in ("Cc", "Cf", "Co"):
                known = ""
            elif category == "Zs" or sign.isspace():
                known = " "
            else:
                known = sign
            self._signs[sign] = known
        return known

    @staticmethod
    def _spaced(sign: str) -> str:
        return f" {sign} " if is_punctuation(sign) else sign


def is_punctuation(sign: str) -> bool:
    """Whether a character stands for itself: punctuation, and all signs of ASCII."""
    return (sign.isascii() and sign.isprintable() and not sign.isalnum() and sign != " ") or (
        unicodedata.category(sign)[0] == "P"
    )
