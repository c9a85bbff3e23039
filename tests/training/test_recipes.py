"""Known recipes give exactly the stages that their papers and docstrings say."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import keras
import pytest

import finetunekit as ftk

L = keras.layers
Stage = ftk.Stage
BLOCKS = [["stem"], ["block_1_a", "block_1_b"], ["block_2_a"], ["block_3_a"], ["block_4_a"]]


@functools.cache
def chain(count: int) -> keras.Model:
    """A model whose layers are one block each."""
    inputs = x = keras.Input((2,))
    for number in range(count):
        x = L.Dense(2, name=f"dense{number}")(x)
    return keras.Model(inputs, x)


@functools.cache
def with_blocks() -> keras.Model:
    """Five blocks, one of them of two layers, and a head."""
    inputs = x = keras.Input((2,))
    for name in (name for block in BLOCKS for name in block):
        x = L.Dense(2, name=name)(x)
    return ftk.add_head(keras.Model(inputs, x, name="body"), "binary")


def layers(stage: Stage) -> list[str]:
    return [layer.name for layer in stage.trainable]


def names_from(block: int) -> list[str]:
    """The layers of the blocks from this one on, the head behind them."""
    return [*(name for names in BLOCKS[block:] for name in names), "dense"]


def test_probe_then_finetune_as_it_is_by_default() -> None:
    model = chain(3)
    assert ftk.probe_then_finetune(model) == [
        Stage(trainable=[model.layers[-1]], epochs=5, learning_rate="auto", name="probe"),
        Stage(trainable=".*", epochs=5, learning_rate="auto", schedule="cosine", name="fine-tune"),
    ]


def test_probe_then_finetune_as_it_is_asked_for() -> None:
    model = with_blocks()
    found = ftk.probe_then_finetune(
        model, probe_epochs=2, epochs=3, probe_rate=0.1, learning_rate=0.01, layer_decay=0.5
    )
    assert layers(found[0]) == ["dense"]
    assert found == [
        Stage(trainable=found[0].trainable, epochs=2, learning_rate=0.1, name="probe"),
        Stage(
            trainable=".*",
            epochs=3,
            learning_rate=0.01,
            schedule="cosine",
            layer_decay=0.5,
            name="fine-tune",
        ),
    ]


def test_gradual_unfreezing_takes_a_block_more_from_the_output_on() -> None:
    found = ftk.gradual_unfreezing(with_blocks())
    assert [layers(stage) for stage in found] == [
        ["dense"],
        *(names_from(block) for block in (4, 3, 2, 1, 0)),
    ]
    assert [stage.name for stage in found] == [
        "last 1", "last 2", "last 3", "last 4", "last 5", "all",
    ]  # fmt: skip
    assert [stage.epochs for stage in found] == [1, 1, 1, 1, 1, 3]
    for stage in found:
        plain = Stage(
            trainable=stage.trainable,
            epochs=stage.epochs,
            schedule="slanted_triangular",
            layer_decay=1 / 2.6,
            name=stage.name,
        )
        assert stage == plain


def test_gradual_unfreezing_as_it_is_asked_for() -> None:
    model = chain(2)
    first, last = model.layers[1:]
    found = ftk.gradual_unfreezing(model, epochs=4, last_epochs=2, layer_decay=None)
    assert found == [
        Stage(trainable=[last], epochs=4, schedule="slanted_triangular", name="last 1"),
        Stage(trainable=[first, last], epochs=2, schedule="slanted_triangular", name="all"),
    ]


@pytest.mark.parametrize(
    ("blocks", "most", "counts"),
    [
        (6, 4, [1, 3, 4, 6]),
        (6, 3, [1, 3, 6]),  # 2.5 blocks more are two.
        (4, 3, [1, 3, 4]),  # 1.5 are two.
        (6, 2, [1, 6]),
        (3, 3, [1, 2, 3]),
        (3, 9, [1, 2, 3]),
        (2, None, [1, 2]),
    ],
)
def test_the_most_stages_share_the_blocks(blocks: int, most: int | None, counts: list[int]) -> None:
    model = chain(blocks)
    found = ftk.gradual_unfreezing(model, most=most)
    assert [stage.trainable for stage in found] == [model.layers[-count:] for count in counts]
    assert [stage.name for stage in found] == [*(f"last {n}" for n in counts[:-1]), "all"]


@pytest.mark.parametrize("most", [1, 0, -3, True])
def test_fewer_than_two_stages_are_refused(most: Any) -> None:
    words = (
        "`most` must be at least 2, and the model must have two blocks to unfreeze in turn. "
        f"Received: most={most!r}, 3 blocks"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        ftk.gradual_unfreezing(chain(3), most=most)


@pytest.mark.parametrize("most", [None, 2])
def test_one_block_cannot_be_unfrozen_in_turn(most: int | None) -> None:
    with pytest.raises(ValueError, match=f"Received: most={most}, 1 blocks$"):
        ftk.gradual_unfreezing(chain(1), most=most)


def test_head_then_top_then_all_as_it_is_by_default() -> None:
    found = ftk.head_then_top_then_all(with_blocks())
    assert layers(found[0]) == ["dense"]
    assert layers(found[1]) == names_from(3)  # 0.3 of five blocks, 1.5, are two.
    assert found == [
        Stage(trainable=found[0].trainable, epochs=5, name="head"),
        Stage(trainable=found[1].trainable, epochs=3, name="top"),
        Stage(trainable=".*", epochs=2, name="all"),
    ]


def test_head_then_top_then_all_as_it_is_asked_for() -> None:
    model = chain(3)
    found = ftk.head_then_top_then_all(model, head_epochs=1, top_epochs=4, epochs=6, top=0.5)
    assert found == [
        Stage(trainable=model.layers[-1:], epochs=1, name="head"),
        Stage(trainable=model.layers[-2:], epochs=4, name="top"),
        Stage(trainable=".*", epochs=6, name="all"),
    ]


def test_the_top_is_a_share_of_the_backbone() -> None:
    model = chain(11)
    rows = [(0.01, 1), (0.05, 1), (0.2, 2), (0.34, 3), (0.36, 4), (0.99, 10)]
    found = [ftk.head_then_top_then_all(model, top=top)[1].trainable for top, _ in rows]
    assert found == [model.layers[-count - 1 :] for _, count in rows]
    small = chain(2)
    assert ftk.head_then_top_then_all(small, top=0.9)[1].trainable == small.layers[-2:]


@pytest.mark.parametrize(
    ("top", "error"), [(0, ValueError), (1.0, ValueError), (-0.3, ValueError), ("0.3", TypeError)]
)
def test_the_top_is_no_share(top: Any, error: type[Exception]) -> None:
    words = (
        rf"^`top` must be a number in \(0, 1\), the share of the backbone's blocks. "
        rf"Received: top={top!r}$"
    )
    with pytest.raises(error, match=words):
        ftk.head_then_top_then_all(chain(3), top=top)


RECIPES = [ftk.probe_then_finetune, ftk.gradual_unfreezing, ftk.head_then_top_then_all]


@pytest.mark.parametrize("recipe", RECIPES)
def test_something_else_than_a_model_is_refused(recipe: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        recipe("model")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_changes_nothing(recipe: Callable[[Any], Any]) -> None:
    model = keras.models.clone_model(chain(3))
    model.layers[1].trainable = False
    recipe(model)
    assert [layer.trainable for layer in model.layers[1:]] == [False, True, True]
