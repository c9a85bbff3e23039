"""WordPiece, as BERT's own tokenizer does it."""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetunekit.foundation.messages import listed
from finetunekit.text.basic import Splitter

_LARGEST_FILE = 64 * 2**20
_LONGEST_TOKEN = 1000
_WORDS_KEPT = 200_000
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPiece:
    """Texts -> token ids, with the longest pieces of each word that are in a vocabulary.

    Agrees with Hugging Face's `BertTokenizerFast`; characters that Unicode has changed since
    may be classed differently.

    Args:
        vocabulary: The tokens; the place of each is its id. Pieces inside a word begin with
            `##`.
        lowercase: Whether case is dropped.
        strip_accents: Whether accents are dropped; None means with the case.
        split_chinese: Whether each Chinese character is a word.
        special_tokens: Tokens that are not split where they occur in a text.
        longest_word: Words of more characters are unknown.

    Raises:
        ValueError: If the vocabulary has no `[UNK]`, or a token twice.

    Example:
        ```python
        import finetunekit as ftk

        tokenizer = ftk.WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fine", "##tune"])
        assert tokenizer.encode("Finetune") == [4, 5]
        ```

    Source: Wu et al., "Google's Neural Machine Translation System", 2016; Devlin et al.,
    "BERT", 2019.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        special_tokens: Sequence[str] = _SPECIAL,
        longest_word: int = 100,
    ) -> None:
        self.vocabulary = tuple(vocabulary)
        self.options = {
            "lowercase": lowercase,
            "strip_accents": strip_accents,
            "split_chinese": split_chinese,
            "special_tokens": tuple(special_tokens),
            "longest_word": longest_word,
        }
        self._ids = {token: number for number, token in enumerate(self.vocabulary)}
        if len(self._ids) != len(self.vocabulary) or "[UNK]" not in self._ids:
            what = "lacks '[UNK]'" if "[UNK]" not in self._ids else "holds a token twice"
            raise ValueError(
                f"`vocabulary` {what}. Give the lines of a BERT vocab.txt, in their order. "
                f"Received: vocabulary of {len(self.vocabulary):,} tokens"
            )
        self._unknown = self._ids["[UNK]"]
        self._longest = longest_word
        # No piece is longer than the longest token, so long words need not be tried whole.
        self._reach = max(map(len, self.vocabulary))
        self._split = Splitter(
            lowercase=lowercase, strip_accents=strip_accents, split_chinese=split_chinese
        )
        known = [token for token in special_tokens if token in self._ids]
        pattern = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
        self._specials = re.compile(f"({pattern})") if known else None
        self._words: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, name: str = "path", **options: Any
    ) -> "WordPiece":
        """Reads a `vocab.txt`: one token per line.

        Args:
            path: The file.
            name: What the caller calls it, for messages.
            **options: Those of the class.

        Raises:
            ValueError: If it is not a vocabulary.
            OSError: If it cannot be read.
        """
        with open(path, "rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise _no_vocabulary(f"is larger than {_LARGEST_FILE >> 20} MiB", path, name)
        try:
            lines = content.decode("utf-8").replace("\r\n", "\n").split("\n")
        except UnicodeDecodeError as error:
            raise _no_vocabulary("is not UTF-8 text", path, name) from error
        while lines and not lines[-1]:
            lines.pop()
        longest = max(map(len, lines), default=0)
        if not lines or longest > _LONGEST_TOKEN or "\0" in lines[0]:
            what = "is empty" if not lines else f"has a line of {longest} characters"
            raise _no_vocabulary(what, path, name)
        if "[UNK]" not in lines or len(set(lines)) != len(lines):
            what = "lacks '[UNK]'" if "[UNK]" not in lines else "holds a token twice"
            raise _no_vocabulary(what, path, name)
        return cls(lines, **options)

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.vocabulary)

    def id_of(self, token: str) -> int | None:
        """The id of a token, or None if there is no such token."""
        return self._ids.get(token)

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without tokens around it."""
        parts = [text] if self._specials is None else self._specials.split(text)
        ids: list[int] = []
        words = self._words
        for number, part in enumerate(parts):
            if number % 2:  # The matched words.
                ids.append(self._ids[part])
                continue
            for word in self._split(part):
                found = words.get(word)
                ids += self._learned(word) if found is None else found
        return ids

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text."""
        return [np.asarray(self.encode(text), "int32") for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The tokens of some ids, pieces of a word put together."""
        return " ".join(self.vocabulary[number] for number in ids).replace(" ##", "")

    def _learned(self, word: str) -> tuple[int, ...]:
        if len(self._words) >= _WORDS_KEPT:
            self._words.clear()
        found = self._words[word] = self._pieces(word)
        return found

    def _pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > self._longest:
            return (self._unknown,)
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(min(len(word), start + self._reach), start, -1):
                piece = self._ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return (self._unknown,)
            pieces.append(piece)
            start = end
        return tuple(pieces)


def _no_vocabulary(what: str, path: Any, name: str) -> ValueError:
    return ValueError(
        f"`{name}` is not a vocabulary: it {what}. Expected is BERT's vocab.txt, a token per line, "
        f"with {listed(_SPECIAL[:4])}. Received: {name}={os.fspath(path)!r}"
    )
