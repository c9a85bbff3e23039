"""Does a head go onto any backbone, sharing its weights and changing nothing of it?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import (
    L,
    images,
    labels,
    same,
    small_backbone,
    small_sequential,
    tiny_backbone,
    values,
)


@pytest.mark.parametrize("make", [small_backbone, small_sequential])
def test_the_backbone_is_used_as_it_is(make: object) -> None:
    backbone = make()
    name, before = backbone.name, values(backbone)
    model = ftk.add_head(backbone, "multiclass", 3)
    assert model.get_layer(name) is backbone
    assert backbone.name == name
    assert same(before, values(backbone))
    assert type(model) is type(keras.Model(model.inputs, model.outputs))
    x = images(4)
    features = keras.ops.convert_to_numpy(backbone(x))
    expected = keras.ops.convert_to_numpy(model.get_layer("head")(features))
    assert np.array_equal(model.predict(x, verbose=0), expected)


def test_average_pooling_leaves_masked_tokens_out() -> None:
    inputs = keras.Input((5,), dtype="int32")
    embedded = L.Embedding(10, 3, mask_zero=True, name="embedding")(inputs)
    backbone = keras.Model(inputs, embedded, name="tokens")
    model = ftk.add_head(backbone, "regression")
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    table = backbone.get_layer("embedding").get_weights()[0]
    kernel, bias = model.get_layer("head").get_weights()
    means = np.stack([table[[1, 2]].mean(0), table[[3, 4, 5, 6, 7]].mean(0)])
    assert np.allclose(model.predict(x, verbose=0), means @ kernel + bias, atol=1e-6)


def two_outputs(kind: str) -> keras.Model:
    inputs = keras.Input((4,), name="x")
    a, b = L.Dense(3, name="a")(inputs), L.Dense(5, name="b")(inputs)
    outputs = {"first": a, "second": b} if kind == "dict" else [a, b]
    return keras.Model(inputs, outputs, name="two")


@pytest.mark.parametrize(
    ("kind", "output", "width"),
    [("dict", "second", 5), ("list", "a", 3), ("list", 1, 5), ("list", -2, 3)],
)
def test_an_output_is_picked(kind: str, output: object, width: int) -> None:
    model = ftk.add_head(two_outputs(kind), "binary", output=output)
    assert model.get_layer("head").input_shape == (None, width)


def test_inputs_keep_their_structure_and_names() -> None:
    inputs = {"ids": keras.Input((4,), name="ids"), "mask": keras.Input((4,), name="mask")}
    backbone = keras.Model(inputs, L.Add()([inputs["ids"], inputs["mask"]]))
    model = ftk.add_head(backbone, "binary")
    x = {"ids": np.ones((2, 4)), "mask": np.zeros((2, 4))}
    assert model.predict(x, verbose=0).shape == (2, 1)
    assert set(model.input) == {"ids", "mask"}


def test_augmentation_acts_in_training_only() -> None:
    x = images(8)
    backbone = small_backbone()
    plain = ftk.add_head(backbone, "binary")
    model = ftk.add_head(backbone, "binary", augmentation=[L.RandomFlip(), L.RandomContrast(0.9)])
    model.get_layer("head").set_weights(plain.get_layer("head").get_weights())
    assert np.array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))
    assert not np.allclose(model(x, training=True), plain(x, training=True), atol=1e-4)
    assert list(ftk.find_layers(model, 2)) == ["small/image", "small/conv1"]


def test_a_backbone_called_head_is_no_problem() -> None:
    model = ftk.add_head(small_backbone("head"), "binary")
    assert set(ftk.find_layers(model, "backbone/conv1")) == {"head/conv1"}


class TestReplaceHead:
    def test_shares_the_backbone_and_leaves_the_old_model(self) -> None:
        old = ftk.add_head(small_backbone(), "binary")
        new = ftk.replace_head(old, "multiclass", 4, hidden_units=[5])
        assert new.get_layer("small") is old.get_layer("small")
        assert new.output_shape == (None, 4)
        assert old.output_shape == (None, 1)
        assert not new.compiled

    def test_same_task_keeps_compilation_and_the_backbones_moments(self) -> None:
        old = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
        old.fit(images(), labels(), verbose=0)
        new = ftk.replace_head(old, "binary", hidden_units=[6])
        assert type(new.loss) is type(old.loss)
        state = {v.path: v for v in new.optimizer.variables}
        for variable in old.optimizer.variables:
            if "conv" in variable.path:
                assert np.array_equal(variable.numpy(), state[variable.path].numpy())
        new.fit(images(), labels(), verbose=0)
        old.fit(images(), labels(), verbose=0)

    def test_another_output_needs_another_loss(self) -> None:
        old = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary"))
        assert not ftk.replace_head(old, "binary", activation=None).compiled

    def test_after_one_hot_training_class_numbers_are_understood(self) -> None:
        old = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "multiclass", 3))
        y = labels(classes=3)
        ftk.fit(old, images(), np.eye(3)[y], verbose=0)
        new = ftk.replace_head(old, "multiclass", 3)
        assert ftk.fit(new, images(), y, verbose=0).history["accuracy"]

    def test_the_augmentation_stays(self) -> None:
        old = ftk.add_head(small_backbone(), "binary", augmentation=L.RandomFlip(name="flip"))
        new = ftk.replace_head(old, "regression")
        assert "flip" in [layer.name for layer in new.layers]
        without = ftk.replace_head(old, "regression", augmentation=None)
        assert "flip" not in [layer.name for layer in without.layers]

    @pytest.mark.parametrize("kind", ["functional", "sequential"])
    def test_a_model_made_elsewhere_loses_its_last_dense_layer(self, kind: str) -> None:
        backbone = small_backbone()
        if kind == "functional":
            top = L.Activation("softmax")(L.Dense(7, name="top")(backbone.outputs[0]))
            model = keras.Model(backbone.input, top)
        else:
            chain = [L.Flatten(), L.Dense(5, name="features"), L.Dense(7, activation="softmax")]
            model = keras.Sequential([keras.Input((16, 16, 3)), *chain])
        new = ftk.replace_head(model, "multiclass", 3)
        x = images(2)
        inner = keras.Model(model.inputs[0], model.get_layer("features").output)
        features = keras.ops.convert_to_numpy(inner(x))
        expected = new.get_layer("head").predict(features, verbose=0)
        assert np.allclose(new.predict(x, verbose=0), expected, atol=1e-6)
