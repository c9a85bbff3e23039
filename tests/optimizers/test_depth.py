"""Are layers grouped by the blocks that their names tell, from the input to the output?"""

from __future__ import annotations

import keras
import pytest

import finetunekit as ftk
from finetunekit.optimizers import depth

L = keras.layers


def chain(*names: str) -> keras.Model:
    inputs = x = keras.Input((2,))
    for name in names:
        x = L.Dense(2, name=name)(x)
    return keras.Model(inputs, x)


def grouped(model: keras.Model) -> list[list[str]]:
    return [[layer.name for layer in layers] for _, layers in depth.groups(model)]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (
            ("stem_conv", "conv2_block1_1_conv", "conv2_block1_2_conv", "conv2_block2_1_conv"),
            [
                ["stem_conv"],
                ["conv2_block1_1_conv", "conv2_block1_2_conv"],
                ["conv2_block2_1_conv"],
            ],
        ),
        (
            ("block1a_a", "block1a_b", "block1b_a", "top_conv"),
            [["block1a_a", "block1a_b"], ["block1b_a"], ["top_conv"]],
        ),
        (("layer1_0_conv", "layer1_1_conv"), [["layer1_0_conv"], ["layer1_1_conv"]]),
        (
            ("stage_0_block_1_a", "stage_0_block_1_b", "stage_0_block_2_a"),
            [["stage_0_block_1_a", "stage_0_block_1_b"], ["stage_0_block_2_a"]],
        ),
        (
            ("features_1_a", "between", "features_2_a"),
            [["features_1_a", "between"], ["features_2_a"]],
        ),
        (("one", "two", "three"), [["one"], ["two"], ["three"]]),
    ],
)
def test_blocks_by_their_names(names: tuple[str, ...], wanted: list[list[str]]) -> None:
    assert grouped(chain(*names)) == wanted


def test_layers_without_a_kernel_go_with_the_one_before() -> None:
    inputs = keras.Input((2,))
    x = L.BatchNormalization(name="first")(inputs)
    x = L.BatchNormalization(name="second")(L.Dense(2, name="dense")(x))
    model = keras.Model(inputs, L.Dense(1, name="last")(L.ReLU()(x)))
    assert grouped(model) == [["first"], ["dense", "second"], ["last"]]


def test_the_head_is_the_last_group() -> None:
    model = ftk.add_head(chain("block_1_a", "block_2_a"), "binary", hidden_units=[3])
    groups = depth.groups(model)
    assert [label for label, _ in groups][-1] == "head"
    assert len(groups) == 3
    assert len(groups[-1][1]) == 2
    ftk.freeze_layers(model, "backbone")
    assert len(depth.groups(model)) == 3, "frozen layers lie as deep as before"


@pytest.mark.parametrize("count", [24, 25, 50])
def test_many_are_merged_evenly(count: int) -> None:
    names = [f"block_{number}_a" for number in range(count)]
    groups = depth.groups(chain(*names))
    sizes = [len(layers) for _, layers in groups]
    assert len(groups) == 24
    assert [layer.name for _, layers in groups for layer in layers] == names
    assert max(sizes) - min(sizes) <= 1
