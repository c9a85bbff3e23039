"""Is each weight paired with that of the other model in its place, whatever layers are called?"""

from __future__ import annotations

import keras
import pytest

import finetunekit as ftk
from finetunekit.models import weight_pairs

L = keras.layers


def chain(*units: int, bias: bool = True) -> keras.Model:
    inputs = x = keras.Input((3,))
    for count in units:
        x = L.Dense(count, use_bias=bias)(x)
    return keras.Model(inputs, x)


def test_layers_are_paired_by_their_order() -> None:
    one, other = chain(4, 2), chain(4, 2)
    pairs = weight_pairs.weights(one, other, "start")
    assert [a is b for (a, _), b in zip(pairs, one.weights, strict=True)] == [True] * 4
    assert [a is b for (_, a), b in zip(pairs, other.weights, strict=True)] == [True] * 4


def test_a_model_like_the_backbone_is_paired_with_it() -> None:
    backbone, start = chain(4, 2), chain(4, 2)
    model = ftk.add_head(backbone, "binary")
    pairs = weight_pairs.weights(model, start, "start")
    assert [id(a) for a, _ in pairs] == [id(v) for v in backbone.weights]
    assert len(weight_pairs.weights(model, model, "start")) == len(model.weights)


@pytest.mark.parametrize(
    ("units", "bias", "words"),
    [
        ((4, 3), True, r"kernel of shape \(4, 2\).*in its place has kernel of shape \(4, 3\)"),
        ((4,), True, "it has 1 layer with weights instead of 2"),
        ((4, 2, 1), True, "it has 3 layers with weights instead of 2"),
        ((4, 2), False, r"bias of shape \(4,\)"),
    ],
)
def test_other_layers_are_an_error(units: tuple[int, ...], bias: bool, words: str) -> None:
    with pytest.raises(ValueError, match=rf"`start` must be a model of the same layers.*{words}"):
        weight_pairs.weights(chain(4, 2), chain(*units, bias=bias), "start")


@pytest.mark.parametrize("other", [None, "model.keras", keras.Sequential([L.Dense(2)])])
def test_what_is_not_a_built_model(other: object) -> None:
    with pytest.raises(TypeError, match="`start` must be a built Keras model"):
        weight_pairs.weights(chain(4, 2), other, "start")
