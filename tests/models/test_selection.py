"""Does each kind of selector mean the layers that it should, through nested models?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import graph
from models import L, Subclassed, images, small_backbone, small_sequential

CONVS = ["conv1", "conv2"]
ALL = ["image", "conv1", "bn1", "relu1", "conv2", "bn2", "relu2", "pool", "features"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param(1, ["image"], id="int counts the InputLayer, as Keras lists it"),
        pytest.param(3, ["image", "conv1", "bn1"], id="int"),
        pytest.param(np.int64(2), ["image", "conv1"], id="numpy int"),
        pytest.param(-2, ["pool", "features"], id="negative int"),
        pytest.param(99, ALL, id="more than there are means all"),
        pytest.param(0.4, ["conv1", "bn1"], id="fraction of the layers with weights"),
        pytest.param(1.0, ["conv1", "bn1", "conv2", "bn2", "features"], id="all with weights"),
        pytest.param(-0.2, ["features"], id="negative fraction"),
        pytest.param("conv1", ["conv1"], id="name"),
        pytest.param("conv[12]", CONVS, id="regex on a part"),
        pytest.param("(conv|bn)1", ["conv1", "bn1"], id="regex alternatives"),
        pytest.param(".*", ALL, id="everything"),
        pytest.param(keras.layers.Conv2D, CONVS, id="type"),
        pytest.param(lambda path, layer: path.endswith("2"), ["conv2", "bn2", "relu2"], id="call"),
        pytest.param(["conv1", "features"], ["conv1", "features"], id="list"),
        pytest.param(("bn1", ["bn2"]), ["bn1", "bn2"], id="nested tuple"),
    ],
)
def test_selects_on_a_flat_model(selector: object, expected: list[str]) -> None:
    assert list(ftk.find_layers(small_backbone(), selector)) == expected


def test_a_name_matches_whole_parts_only() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), L.Dense(2, name="conv1"), L.Dense(2, name="conv10")]
    )
    assert list(ftk.find_layers(model, "conv1")) == ["conv1"]
    assert list(ftk.find_layers(model, "conv1.*")) == ["conv1", "conv10"]


def test_a_layer_selects_itself() -> None:
    model = small_backbone()
    layer = model.get_layer("bn2")
    assert ftk.find_layers(model, layer) == {"bn2": layer}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        # conv1 112, bn1 16, conv2 296, bn2 32, features 72: together 528.
        pytest.param(0.25, ["conv1", "bn1"], id="as many as fit"),
        pytest.param(112 / 528, ["conv1"], id="exactly one"),
        pytest.param(1.0, ["conv1", "bn1", "conv2", "bn2", "features"], id="all"),
        pytest.param(-0.2, ["bn2", "features"], id="from the output"),
    ],
)
def test_selects_a_fraction_of_the_parameters(params: float, expected: list[str]) -> None:
    assert list(ftk.find_layers(small_backbone(), params=params)) == expected


def test_walks_through_nested_and_subclassed_models() -> None:
    model = Subclassed()
    model(images(2))
    found = ftk.find_layers(model, keras.layers.Dense)
    assert list(found) == ["inner/features", "block0", "block1", "last"]
    outer = keras.Sequential([keras.Input((16, 16, 3)), small_sequential(), L.Dense(1, name="top")])
    assert list(ftk.find_layers(outer, "chain/conv1")) == ["chain/conv1"]
    assert list(ftk.find_layers(outer, "chain/.*1")) == ["chain/conv1", "chain/bn1", "chain/relu1"]


def test_walks_into_composite_layers() -> None:
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, L.MultiHeadAttention(2, 4, name="attention")(inputs, inputs))
    assert {"attention/query", "attention/key"} <= set(ftk.find_layers(model, L.EinsumDense))


def test_roles_are_selectors() -> None:
    model = ftk.add_head(small_backbone(), "binary", hidden_units=[4])
    assert next(iter(ftk.find_layers(model, "head"))) == "head"
    assert set(ftk.find_layers(model, "backbone/conv1")) == {"small/conv1"}
    assert len(ftk.find_layers(model, "backbone")) == 1 + len(ALL)


def test_numbers_count_on_the_backbone_of_a_model_with_a_head() -> None:
    model = ftk.add_head(small_backbone(), "binary")
    assert list(ftk.find_layers(model, 2)) == ["small/image", "small/conv1"]
    assert list(ftk.find_layers(model, -1)) == ["small/features"]
    assert "head/dense" not in ftk.find_layers(model, 1.0)


def test_numbers_do_not_count_preprocessing_that_was_put_in_front() -> None:
    backbone = ftk.load_backbone("builtin:mobilenet_v2", weights=None, input_shape=(32, 32, 3))
    assert "preprocessing" in [layer.name for layer in backbone.layers]
    assert list(ftk.find_layers(backbone, 3)) == ["image", "Conv1_pad", "Conv1"]


def test_a_shared_layer_is_found_once() -> None:
    shared = L.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert [place.path for place in graph.walk(model)].count("shared") == 1


def test_layers_of_equal_path_are_told_apart() -> None:
    class Twice(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one = L.Dense(2, name="dense")
            self.two = L.Dense(2, name="dense")

        def call(self, x: object) -> object:
            return self.two(self.one(x))

    model = Twice()
    model(np.ones((1, 2)))
    assert list(ftk.find_layers(model, "dense")) == ["dense", "dense#2"]
    assert list(ftk.find_layers(model, "dense#2")) == ["dense#2"]
    ftk.freeze_layers(model, "dense")
    assert model.trainable_variables == []


def test_too_large_a_number_on_a_nested_model_is_an_error() -> None:
    model = keras.Sequential([keras.Input((16, 16, 3)), small_backbone(), L.Dense(1)])
    with pytest.raises(ValueError, match="Count inside the nested model"):
        ftk.find_layers(model, 10)


def test_the_error_knows_a_prefix() -> None:
    with pytest.raises(ValueError, match=r"begin so are matched by 'conv\.\*'"):
        ftk.find_layers(small_backbone(), "conv")


def test_the_error_lists_what_would_have_matched() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'conv[12]'"):
        ftk.find_layers(small_backbone(), "conv3")
