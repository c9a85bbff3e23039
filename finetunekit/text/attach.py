"""`use_tokenizer` and `tokenize`: the tokenizer of a model, remembered and applied."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import arguments, paths
from finetunekit.foundation.messages import listed, plural, say
from finetunekit.models import metadata
from finetunekit.models.metadata import InputContract
from finetunekit.text import roles
from finetunekit.text.tokenizer import Tokenizer, describe, tokenizer_of
from finetunekit.text.wordpiece import WordPiece


def use_tokenizer(
    model: keras.Model,
    tokenizer: Any = None,
    *,
    max_length: int | None = None,
    **options: Any,
) -> keras.Model:
    """Sets the tokenizer of a model, in place, so that `fit` and the other functions take texts.

    Models that `load_backbone` gets from KerasHub or Hugging Face have one already; then only
    `max_length` is needed.

    Args:
        model: A model that takes token ids, alone or with `padding_mask` and `segment_ids` (or as
            Hugging Face or TF-Hub name them).
        tokenizer: The path of a BERT `vocab.txt`, a `WordPiece`, or a tokenizer of KerasHub; None
            to keep the current one.
        max_length: The maximum number of tokens; longer texts are cut, which is logged.
            Defaults to what the model's position embedding has room for.
        **options: For a vocab.txt, those of `WordPiece`, such as `lowercase`.

    Returns:
        The model.

    Raises:
        ValueError: If the model takes no token ids, or has fewer than the tokenizer.
        TypeError: If it is not a keras.Model, or not a tokenizer.
        OSError: If the file cannot be read.

    Example:
        ```python
        import finetunekit as ftk

        tokens = keras.Input((None,), dtype="int32", name="token_ids")
        vectors = keras.layers.Embedding(6, 8, mask_zero=True)(tokens)
        model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(vectors))
        words = ftk.WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fine", "##tune"])
        ftk.use_tokenizer(model, words)
        assert ftk.tokenize(model, ["Finetune!"]).tolist() == [[2, 4, 5, 1, 3]]
        ```
    """
    arguments.check_model(model)
    if roles.of(model) is None:
        raise ValueError(
            "`model` must take token ids, alone or with a padding mask and segments, under the "
            "names token_ids, padding_mask and segment_ids. It takes "
            f"{listed(roles.named_inputs(model)) or 'what is not known'}. Received: model={model!r}"
        )
    room = roles.longest(model)
    arguments.check_int(max_length, "max_length", 3, optional=True)
    if max_length is not None and room is not None and max_length > room:
        raise ValueError(
            f"`max_length` must be at most {room}, for which {model.name!r} has positions. "
            f"Received: max_length={max_length}"
        )
    found = _tokenizer(model, tokenizer, options)
    found = dataclasses.replace(found, max_length=max_length or found.max_length or room)
    remember(model, found)
    return model


def _tokenizer(model: keras.Model, tokenizer: Any, options: dict[str, Any]) -> Tokenizer:
    known = metadata.of(model).tokenizer
    if tokenizer is None:
        if known is None:
            raise ValueError(
                f"`tokenizer` must be given, since none is known for {model.name!r}: the path of a "
                "vocab.txt, a `WordPiece`, or a tokenizer of KerasHub. Received: tokenizer=None"
            )
        return known
    if isinstance(tokenizer, (str, os.PathLike)):
        path = paths.check_source(tokenizer, "tokenizer")
        tokenizer = WordPiece.from_file(path, name="tokenizer", **options)
    elif options:
        raise TypeError(
            f"{listed(options)} are for the path of a vocab.txt; give them to the tokenizer. "
            f"Received: tokenizer={type(tokenizer).__name__}"
        )
    return tokenizer_of(tokenizer, causal=roles.is_causal(model), max_length=None)


def remember(model: keras.Model, tokenizer: Tokenizer) -> None:
    """Records the tokenizer of a model, and in its contract the inputs that it expects."""
    known = metadata.of(model).contract or InputContract()
    size = known.vocabulary_size
    if size is not None and tokenizer.size is not None and tokenizer.size > size:
        raise ValueError(
            f"`tokenizer` has {tokenizer.size:,} tokens, {model.name!r} has {size:,}: it belongs "
            "to another model. Give the one that was trained with these weights. "
            f"Received: tokenizer={tokenizer.name!r}"
        )
    contract = dataclasses.replace(
        known,
        tokenizer=describe(tokenizer),
        note=f"texts, or pairs of texts ({describe(tokenizer)})",
    )
    metadata.remember(model, tokenizer=tokenizer, contract=contract)


def tokenize(
    model: keras.Model,
    texts: Any,
    pairs: Sequence[str] | None = None,
) -> Any:
    """Texts as the token ids that the model takes; changes nothing.

    `fit`, `predict`, `check_batch`, `explain` and `cache_features` do it themselves; this
    is for `model.predict` and `model.evaluate`.

    Args:
        model: A model with a tokenizer.
        texts: Texts, as a list or array of str.
        pairs: For pairs of texts, the second ones.

    Returns:
        Arrays `(texts, tokens)`, int32, padded to the longest: one, or a dict if the model takes
        several inputs.

    Raises:
        ValueError: If no tokenizer is known for the model.
        TypeError: If these are not texts.

    Example:
        ```python
        import finetunekit as ftk

        tokens = keras.Input((None,), dtype="int32", name="token_ids")
        model = keras.Model(tokens, keras.layers.Embedding(5, 8)(tokens))
        words = ftk.WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good"])
        ftk.use_tokenizer(model, words)
        assert ftk.tokenize(model, ["Good", "bad"]).tolist() == [[2, 4, 3], [2, 1, 3]]
        ```
    """
    arguments.check_model(model)
    given = texts if pairs is None else (texts, pairs)
    found = as_texts(given)
    if found is None:
        raise TypeError(
            "`texts` must be a list or array of str, as many as `pairs` if these are given. "
            f"Received: texts of type {type(texts).__name__}"
        )
    return to_arrays(model, found, "texts")


Texts = tuple[list[str], list[str] | None]


def as_texts(x: Any) -> Texts | None:
    """Texts, or pairs of texts, as lists; None if these are anything else."""
    one = _strings(x)
    if one is not None:
        return one, None
    if isinstance(x, (list, tuple)) and len(x) == 2:
        first, second = map(_strings, x)
        if first is not None and second is not None and len(first) == len(second):
            # Two pairs of two texts each could be read both ways: a list of tuples is rows.
            if not (isinstance(x, list) and all(isinstance(part, tuple) for part in x)):
                return first, second
    if isinstance(x, list) and x and all(_is_pair(row) for row in x):
        return [row[0] for row in x], [row[1] for row in x]
    return None


def _is_pair(row: Any) -> bool:
    return isinstance(row, tuple) and len(row) == 2 and all(isinstance(text, str) for text in row)


def _strings(x: Any) -> list[str] | None:
    if isinstance(x, (str, bytes, dict)) or not hasattr(x, "__len__") or len(x) == 0:
        return None
    if isinstance(x, (list, tuple)):
        return list(x) if all(isinstance(text, str) for text in x) else None
    if getattr(x, "ndim", None) != 1 or not hasattr(x, "__array__"):
        return None
    array = np.asarray(x)
    if array.dtype.kind not in "OU":
        return None
    texts = array.tolist()
    return texts if all(isinstance(text, str) for text in texts) else None


def takes_texts(model: keras.Model) -> bool:
    """Whether it takes token ids, so that texts must be tokenized for it."""
    return metadata.of(model).tokenizer is not None or (
        roles.of(model) is not None
        and not any(str(t.dtype) == "string" for t in roles.named_inputs(model).values())
    )


def to_arrays(model: keras.Model, texts: Texts, name: str) -> Any:
    """Texts as arrays in the structure that the model takes.

    Raises:
        ValueError: If no tokenizer is known.
    """
    tokenizer = metadata.of(model).tokenizer
    places = roles.of(model)
    if tokenizer is None or places is None:
        raise ValueError(
            f"`{name}` holds texts, and there is no tokenizer for {model.name!r}, which takes "
            "token ids. Say which: `ftk.use_tokenizer(model, 'vocab.txt')`. "
            f"Received: {name} with {len(texts[0]):,} texts"
        )
    packed = tokenizer(*texts)
    if packed.cut:
        say(
            f"{plural(packed.cut, 'text')} of {len(texts[0]):,} cut at {tokenizer.max_length} "
            "tokens: `ftk.use_tokenizer(model, max_length=...)` sets the end"
        )
    rows = {"ids": packed.ids, "mask": packed.mask, "segments": packed.segments}
    arrays = {key: rows[role] for key, role in places.items()}
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays
