"""What stands around and between texts?"""

from __future__ import annotations

import numpy as np
import pytest

from finetunekit.text.packing import Layout, pack

BERT = Layout(start=101, end=102)


def rows(*texts: list[int]) -> list[np.ndarray]:
    return [np.asarray(text, "int32") for text in texts]


def test_single_texts() -> None:
    packed = pack(rows([5, 6, 7], [8], []), None, BERT, None)
    assert packed.ids.tolist() == [[101, 5, 6, 7, 102], [101, 8, 102, 0, 0], [101, 102, 0, 0, 0]]
    assert packed.mask.tolist() == [[1] * 5, [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert not packed.segments.any()
    assert packed.cut == 0


def test_pairs() -> None:
    packed = pack(rows([5]), rows([6, 7]), BERT, None)
    assert packed.ids.tolist() == [[101, 5, 102, 6, 7, 102]]
    assert packed.segments.tolist() == [[0, 0, 0, 1, 1, 1]]
    roberta = Layout(start=0, end=2, between=(2,), pad=1)
    packed = pack(rows([5], [5]), rows([6, 7], []), roberta, None)
    assert packed.ids.tolist() == [[0, 5, 2, 2, 6, 7, 2], [0, 5, 2, 2, 2, 1, 1]]


@pytest.mark.parametrize(
    ("first", "second", "longest", "expected"),
    [
        ([1, 2, 3, 4], None, 4, [101, 1, 2, 102]),
        ([1, 2, 3, 4], [5, 6], 7, [101, 1, 2, 102, 5, 6, 102]),
        ([1], [5, 6, 7, 8], 6, [101, 1, 102, 5, 6, 102]),
        ([1, 2, 3], [5, 6, 7], 8, [101, 1, 2, 3, 102, 5, 6, 102]),
    ],
)
def test_cutting(first: list[int], second: list[int], longest: int, expected: list[int]) -> None:
    packed = pack(rows(first), None if second is None else rows(second), BERT, longest)
    assert packed.ids.shape[1] == longest
    assert packed.cut == 1
    if len(first) == len(second or ()):  # Which of equals is cut does not matter.
        assert sorted(packed.ids[0].tolist())[:2] == [1, 2]
    else:
        assert packed.ids.tolist() == [expected]


def test_an_empty_text_of_a_model_without_special_tokens() -> None:
    packed = pack(rows([], [4, 5]), None, Layout(empty=99), None)
    assert packed.ids.tolist() == [[99, 0], [4, 5]]
    assert packed.mask.tolist() == [[1, 0], [1, 1]]
