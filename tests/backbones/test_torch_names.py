"""What do names of layers and modules say against a pairing?"""

from __future__ import annotations

import pytest

from finetunekit.backbones import torch_names


@pytest.mark.parametrize(
    ("a", "b", "shortest", "wanted"),
    [
        ("enc_fc1", "encoder.fc", 2, 2),
        ("key", "k_proj", 1, 1),
        ("key", "k_proj", 2, 0),
        ("left_2", "right.2", 1, 0),
    ],
)
def test_words_are_shared_or_short_for_one_another(
    a: str, b: str, shortest: int, wanted: int
) -> None:
    assert torch_names.shared(torch_names.words(a), torch_names.words(b), shortest) == wanted


def test_a_skeleton_has_no_numbers() -> None:
    assert torch_names.skeleton("blocks.10.q_2") == "blocks_#_q_#"


@pytest.mark.parametrize(
    ("rows", "known", "wanted"),
    [
        ([("left", "right.0"), ("right", "left.0")], (), 0),
        ([("left", "left.0"), ("right", "right.0")], (), None),
        ([("b2", "blk1"), ("b1", "blk2")], (), 0),
        ([("top", "x"), ("layer_3", "layer_0")], ("layer_#",), 1),
        ([("top", "x"), ("layer_3", "layer_0")], (), None),
    ],
)
def test_the_first_contradiction(
    rows: list[tuple[str, str]], known: tuple[str, ...], wanted: int | None
) -> None:
    pairs = [torch_names.Pair((a,), (b,), a, "kind", sure=True) for a, b in rows]
    assert torch_names.first_contradiction(pairs, set(known)) == wanted
