"""Special tokens, pairs of texts, truncation and padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The special tokens of a model.

    Args:
        start: Id of the token before the first text, or None.
        end: Id of the token behind each text, or None.
        between: Ids between the texts of a pair, behind the first one's end.
        pad: Id of what fills up shorter texts.
        empty: Id of the token for an empty text, if special tokens do not represent it.
    """

    start: int | None = None
    end: int | None = None
    between: tuple[int, ...] = ()
    pad: int = 0
    empty: int | None = None


@dataclass(frozen=True)
class Packed:
    """Token ids of samples, padded to the longest, with the padding mask."""

    ids: np.ndarray
    mask: np.ndarray
    segments: np.ndarray
    cut: int
    """The number of samples that were cut."""


def pack(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray] | None,
    layout: Layout,
    longest: int | None,
) -> Packed:
    """Puts special tokens around the ids of texts, cuts and pads.

    Args:
        first: The ids of each text.
        second: Those of the second text of each pair, or None.
        layout: The special tokens.
        longest: The maximum number of tokens of a sample; of a pair the longer text is cut first.
    """
    rows, cut = [], 0
    extra = _around(layout, second is not None)
    for number, one in enumerate(first):
        other = second[number] if second is not None else None
        size = len(one) + (len(other) if other is not None else 0) + extra
        if longest is not None and size > longest:
            cut += 1
            one, other = _shortened(one, other, longest - extra)
        rows.append(_row(one, other, layout))
    width = max((len(ids) for ids, _ in rows), default=0)
    ids = np.full((len(rows), width), layout.pad, "int32")
    mask = np.zeros((len(rows), width), "int32")
    segments = np.zeros((len(rows), width), "int32")
    for number, (row, boundary) in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
        segments[number, boundary : len(row)] = 1
    return Packed(ids, mask, segments, cut)


def _around(layout: Layout, paired: bool) -> int:
    ends = (layout.end is not None) * (2 if paired else 1)
    return (layout.start is not None) + ends + (len(layout.between) if paired else 0)


def _shortened(
    one: np.ndarray, other: np.ndarray | None, room: int
) -> tuple[np.ndarray, np.ndarray | None]:
    if other is None:
        return one[: max(0, room)], None
    half = room // 2
    keep_other = min(len(other), max(half, room - len(one)))
    return one[: max(0, room - keep_other)], other[: max(0, keep_other)]


def _row(one: np.ndarray, other: np.ndarray | None, layout: Layout) -> tuple[np.ndarray, int]:
    """The ids of a sample, and where its second text begins."""
    start: tuple[int, ...] = () if layout.start is None else (layout.start,)
    end: tuple[int, ...] = () if layout.end is None else (layout.end,)
    parts: list[Sequence[int] | np.ndarray] = [start, one, end]
    boundary = len(start) + len(one) + len(end)
    if other is not None:
        parts += [layout.between, other, end]
        boundary += len(layout.between)
    row = np.concatenate([np.asarray(part, "int32") for part in parts])
    if not len(row) and layout.empty is not None:
        row = np.asarray([layout.empty], "int32")
        boundary = 1
    return row, boundary
