"""Are the layers of any model found in order, each once, with a path of its own?"""

from __future__ import annotations

import keras
import numpy as np

from finetunekit.models import graph
from models import L, Subclassed, images, small_backbone, small_sequential


def test_parents_come_before_children_in_keras_order() -> None:
    model = Subclassed()
    model(images(2))
    paths = [place.path for place in graph.walk(model)]
    assert paths[0] == "inner"
    assert paths[1:4] == ["inner/image", "inner/conv1", "inner/bn1"]
    assert paths[-3:] == ["block0", "block1", "last"]


def test_ancestors_lead_from_the_model_to_the_layer() -> None:
    outer = keras.Sequential([keras.Input((16, 16, 3)), small_backbone()], name="outer")
    place = next(p for p in graph.walk(outer) if p.path == "small/conv1")
    assert [layer.name for layer in place.ancestors] == ["outer", "small"]
    assert place.names == ["small", "conv1"]


def test_leaves_own_weights_and_count_them() -> None:
    model = small_backbone()
    leaves = graph.leaves(model)
    assert [place.path for place in leaves] == ["conv1", "bn1", "conv2", "bn2", "features"]
    assert sum(graph.parameter_count(place.layer) for place in leaves) == model.count_params()


def test_which_models_are_graphs() -> None:
    assert graph.is_graph(small_backbone())
    assert graph.is_graph(small_sequential())
    assert not graph.is_graph(Subclassed())
    assert not graph.is_graph(keras.Sequential([L.Dense(2)]))


def test_layers_that_no_output_is_made_of() -> None:
    inputs = keras.Input((4,))
    x = L.Dense(3, name="low")(inputs)
    outputs = {"used": L.Dense(3, name="high")(x), "other": L.Dense(2, name="side")(x)}
    inner = keras.Model(inputs, outputs, name="inner")
    again, last = keras.Input((4,)), keras.Input((4,))
    found = inner(again)
    middle = keras.Model(again, [found["other"], found["used"]], name="middle")
    outer = keras.Model(last, L.Dense(1, name="head")(middle(last)[1]))
    assert [layer.name for layer in graph.idle_layers(outer)] == ["side"]
    assert graph.idle_layers(inner) == []
    assert [x.name for x in graph.idle_layers(inner, [inner.output["other"]])] == ["high"]
    assert graph.idle_layers(Subclassed()) == []
    assert graph.idle_layers(small_sequential()) == []


def test_insertion_keeps_call_arguments_and_several_calls() -> None:
    query, key = keras.Input((4, 8)), keras.Input((5, 8))
    attention = L.MultiHeadAttention(2, 4, name="attention")
    first = attention(query, key, use_causal_mask=False)
    model = keras.Model([query, key], attention(first, value=key))
    same = graph.insert_after(model, {id(attention): L.Identity()})
    x = [np.random.default_rng(0).normal(size=(2, n, 8)).astype("float32") for n in (4, 5)]
    assert np.array_equal(model.predict(x, verbose=0), same.predict(x, verbose=0))
    assert sum(isinstance(layer, L.Identity) for layer in same.layers) == 1
