"""Are features those that the backbone computes itself, through any nesting, and saved as such?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones.taps import backbone_features
from finetunekit.models import graph, metadata
from models import L, Subclassed, images, small_backbone, small_sequential, values
from parameters import often


def plain(model: keras.Model, names: list[str]) -> keras.Model:
    """What plain Keras gives on a flat model."""
    return keras.Model(
        graph.input_structure(model), {name: model.get_layer(name).output for name in names}
    )


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[key], other[key]) for key in one)


def randomized(model: keras.Model) -> keras.Model:
    """With statistics and scales other than the initial ones."""
    random = np.random.default_rng(5)
    for variable in model.weights:
        variable.assign(random.uniform(0.2, 0.7, variable.shape))
    return model


def nested(depth: int = 1) -> keras.Model:
    """A backbone inside models, each of which puts a layer after it."""
    model = small_backbone("inner")
    for number in range(depth):
        inputs = keras.Input((16, 16, 3))
        x = L.Dense(4, name=f"after{number}")(model(inputs, training=False))
        model = keras.Model(inputs, x, name=f"outer{number}")
    return randomized(model)


def test_flat_features_are_those_of_plain_keras_in_the_order_given() -> None:
    model = randomized(small_backbone())
    names = ["relu2", "conv1", "features"]
    features = backbone_features(model, names)
    assert equal(
        features.predict(images(), verbose=0), plain(model, names).predict(images(), verbose=0)
    )
    assert {id(layer) for layer in features.layers if layer.weights} <= set(map(id, model.layers))


def test_a_sequential_model_has_features_too() -> None:
    model = randomized(small_sequential())
    features = backbone_features(model, ["relu1", model.get_layer("conv1")])
    expected = plain(model, ["relu1", "conv1"])
    assert equal(features.predict(images(), verbose=0), expected.predict(images(), verbose=0))


@pytest.mark.parametrize("depth", [1, 3])
def test_features_inside_of_nested_models(depth: int) -> None:
    model = nested(depth)
    inner: Any = model
    while inner.name != "inner":
        inner = next(layer for layer in inner.layers if isinstance(layer, keras.Model))
    with pytest.raises((ValueError, KeyError)):  # What the user would try first.
        keras.Model(model.inputs, inner.get_layer("relu1").output).predict(images(2), verbose=0)
    features = backbone_features(model, ["relu1", "inner/conv2", "after0"])
    expected = plain(inner, ["relu1", "conv2"])(images())
    found = features(images())
    assert np.array_equal(found["relu1"], expected["relu1"])
    assert np.array_equal(found["conv2"], expected["conv2"])
    after = next(layer for layer in _all_layers(model) if layer.name == "after0")
    assert np.array_equal(found["after0"], after(inner(images(), training=False)))


def _all_layers(model: Any) -> list[Any]:
    below = [_all_layers(layer) for layer in model.layers if isinstance(layer, keras.Model)]
    return [*model.layers, *(layer for layers in below for layer in layers)]


def test_what_no_feature_needs_is_left_out() -> None:
    features = backbone_features(nested(), ["relu1"])
    names = [layer.name for layer in _all_layers(features)]
    assert "relu1" in names
    assert not {"conv2", "features", "after0"} & set(names)


def test_a_model_of_add_head_is_tapped_by_role() -> None:
    model = ftk.add_head(randomized(small_backbone()), "binary")
    backbone = metadata.of(model).backbone
    features = backbone_features(model, ["backbone/relu1", "backbone", "head"])
    found = features.predict(images(), verbose=0)
    assert list(found) == ["relu1", "small", "head"]
    assert np.array_equal(
        found["relu1"], plain(backbone, ["relu1"]).predict(images(), verbose=0)["relu1"]
    )
    assert np.array_equal(found["small"], backbone.predict(images(), verbose=0))
    assert np.array_equal(found["head"], model.predict(images(), verbose=0))


def test_equal_names_are_told_apart_by_their_paths() -> None:
    inputs = keras.Input((16, 16, 3))
    pair = [randomized(small_backbone(name)) for name in ("left", "right")]
    model = keras.Model(inputs, L.Add()([part(inputs) for part in pair]))
    features = backbone_features(model, ["left/relu1", "right/relu1"])
    found = features(images())
    assert list(found) == ["left/relu1", "right/relu1"]
    for part in pair:
        assert np.array_equal(
            found[f"{part.name}/relu1"], plain(part, ["relu1"])(images())["relu1"]
        )


def test_each_call_of_a_nested_model_has_its_features() -> None:
    tower = randomized(small_backbone("tower"))
    one, two = keras.Input((16, 16, 3), name="one"), keras.Input((16, 16, 3), name="two")
    model = keras.Model([one, two], L.Subtract()([tower(one), tower(two)]))
    features = backbone_features(model, ["relu1", "tower"])
    x = [images(seed=1), images(seed=2)]
    found = features(x)
    assert list(found) == ["relu1:1", "relu1:2", "tower:1", "tower:2"]
    for number in (0, 1):
        expected = plain(tower, ["relu1"])(x[number])["relu1"]
        assert np.array_equal(found[f"relu1:{number + 1}"], expected)
        assert np.array_equal(found[f"tower:{number + 1}"], tower(x[number]))


def test_several_outputs_masks_and_call_arguments_come_along() -> None:
    inputs = keras.Input((5,), dtype="int32", name="tokens")
    x = L.Embedding(9, 4, mask_zero=True, name="embedding")(inputs)
    x, state = L.GRU(3, return_sequences=True, return_state=True, name="gru")(x)
    inner = keras.Model(inputs, {"sequence": x, "state": state}, name="reader")
    tokens = keras.Input((5,), dtype="int32")
    read = inner(tokens)
    out = L.MultiHeadAttention(1, 2, name="attention")(read["sequence"], value=read["sequence"])
    model = randomized(keras.Model(tokens, L.Concatenate()([L.Flatten()(out), read["state"]])))
    data = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]], "int32")
    found = backbone_features(model, ["gru", "attention"])(data)
    assert list(found) == ["gru/0", "gru/1", "attention"]
    expected = inner(data)
    assert np.array_equal(found["gru/0"], expected["sequence"])
    assert np.array_equal(found["gru/1"], expected["state"])
    manual = model.get_layer("attention")(expected["sequence"], value=expected["sequence"])
    assert np.array_equal(found["attention"], manual)


def test_inputs_are_features_too() -> None:
    found = backbone_features(nested(), ["inner/image", "relu1"])(images(2))
    assert np.array_equal(found["image"], images(2))


def test_saved_features_open_with_plain_keras(tmp_path: Path) -> None:
    features = backbone_features(nested(2), ["relu2", "after0", "relu1"])
    features.save(tmp_path / "features.keras")
    again = keras.saving.load_model(tmp_path / "features.keras")
    assert equal(features.predict(images(), verbose=0), again.predict(images(), verbose=0))


def test_flags_and_what_is_known_are_carried_and_nothing_else_changes() -> None:
    model = nested()
    inner = model.get_layer("inner")
    inner.trainable = False
    inner.get_layer("conv1").trainable = True
    contract = ftk.InputContract(value_range=(0.0, 255.0))
    metadata.remember(model, contract=contract, origin={"source": "x"})
    before, flags = values(model), [layer.trainable for layer in _all_layers(model)]
    features = backbone_features(model, ["relu2"])
    assert [layer.trainable for layer in _all_layers(model)] == flags
    assert values(model).keys() == before.keys()
    rebuilt = features.get_layer("inner")
    assert not rebuilt.trainable
    assert rebuilt.get_layer("conv1") is inner.get_layer("conv1")
    own = {id(variable) for variable in features.variables}
    train = [id(v) for v in model.trainable_variables if id(v) in own]
    assert [id(v) for v in features.trainable_variables] == train
    assert len(train) == 2
    assert metadata.of(features).contract == contract
    assert metadata.of(features).origin == {"source": "x"}


def test_features_follow_training() -> None:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, L.Dense(2)(L.Dropout(0.5, name="dropout")(inputs)))
    features = backbone_features(model, ["dropout"])
    x = np.ones((64, 8), "float32")
    assert np.array_equal(features(x)["dropout"], x)
    assert (keras.ops.convert_to_numpy(features(x, training=True)["dropout"]) == 0).any()


def test_features_train_the_backbone_itself() -> None:
    backbone = small_backbone()
    features = backbone_features(backbone, ["relu1", "relu2"])
    pooled = [L.GlobalAveragePooling2D()(x) for x in features.output.values()]
    model = keras.Model(features.input, L.Dense(1)(L.Concatenate()(pooled)))
    model.compile("sgd", "mse")
    kernel = backbone.get_layer("conv1").kernel
    before = keras.ops.convert_to_numpy(kernel).copy()
    model.fit(images(8) / 255, np.ones((8, 1)), epochs=1, verbose=0)
    assert not np.array_equal(before, keras.ops.convert_to_numpy(kernel))


def sizes(features: keras.Model) -> list[int]:
    return [tensor.shape[1] for tensor in features.output.values()]


@pytest.mark.parametrize("size", often([None, 64], (None,)))
def test_levels_are_the_last_maps_of_the_strides(size: int | None) -> None:
    model = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(size, size, 3), alpha=0.35
    )
    features = backbone_features(model, levels=4)
    names = ["block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"]
    assert list(features.output) == names
    found = features(images(2, size=64))
    assert [value.shape[1] for value in found.values()] == [16, 8, 4, 2]
    assert equal(dict(found), dict(plain(model, names)(images(2, size=64))))


def test_levels_of_the_builtin_backbone_and_of_a_model_with_a_head() -> None:
    backbone = ftk.load_backbone("builtin:mobilenet_v2", weights=None, input_shape=(64, 64, 3))
    features = backbone_features(backbone, levels=5)
    assert sizes(features) == [32, 16, 8, 4, 2]
    assert metadata.of(features).contract == metadata.of(backbone).contract
    model = ftk.add_head(backbone, "binary")
    inside = backbone_features(model, levels=5)
    assert list(inside.output) == list(features.output)
    x = images(2, size=64)
    assert equal(inside.predict(x, verbose=0), features.predict(x, verbose=0))


def test_branches_are_tapped_where_they_have_come_together() -> None:
    inputs = keras.Input((32, 32, 3))
    down = [L.Conv2D(4, 3, strides=2, padding="same", name=f"down{n}")(inputs) for n in (1, 2)]
    joined = L.Add(name="joined")(down)
    side = L.Conv2D(4, 1, name="side")(joined)
    deeper = [L.Conv2D(4, 2, strides=2, name=f"deeper{n}")(x) for n, x in enumerate((side, joined))]
    model = keras.Model(inputs, L.Add(name="end")(deeper))
    assert list(backbone_features(model, levels=2).output) == ["joined", "end"]


def test_a_shared_layer_gives_the_map_of_its_last_call() -> None:
    inputs = keras.Input((32, 32, 3))
    down, conv = L.MaxPooling2D(name="down"), L.Conv2D(3, 3, padding="same", name="conv")
    model = randomized(keras.Model(inputs, conv(down(conv(down(inputs))))))
    found = backbone_features(model, levels=2)(images(2, size=32))
    assert list(found) == ["conv:1", "conv:2"]
    first = conv(down(images(2, size=32)))
    assert np.array_equal(found["conv:1"], first)
    assert np.array_equal(found["conv:2"], conv(down(first)))


def test_shapes_that_cannot_be_followed_are_an_error_in_words() -> None:
    class Picky(keras.layers.Layer):
        def compute_output_spec(self, inputs: Any) -> Any:
            if not isinstance(inputs.shape[1], int):
                return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)
            raise RuntimeError("only any size")

        def call(self, inputs: Any) -> Any:
            return inputs

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Picky()(inputs))
    with pytest.raises(ValueError, match=r"cannot be followed \(only any size\)"):
        backbone_features(model, levels=1)


def test_squeezed_gates_are_no_levels() -> None:
    inputs = keras.Input((32, 32, 3))
    x = L.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    for keep in (True, False):
        gate = L.GlobalAveragePooling2D(keepdims=keep)(x)
        gate = gate if keep else L.Reshape((1, 1, 4))(gate)
        x = L.Multiply(name=f"scaled{keep}")([x, L.Conv2D(4, 1)(gate)])
    model = keras.Model(inputs, L.GlobalMaxPooling2D(keepdims=True)(x))
    with pytest.raises(ValueError, match=r"feature maps of 1 stride \('stride 2: scaledFalse'\)"):
        backbone_features(model, levels=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "ResNet50",
            ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
        ),
        (
            "EfficientNetB0",
            [*(f"block{n}a_expand_activation" for n in (3, 4, 6)), "top_activation"],
        ),
        (
            "ConvNeXtTiny",
            [
                *(f"convnext_tiny_downsampling_layernorm_{n}" for n in range(3)),
                "layer_normalization",
            ],
        ),
        ("InceptionV3", [None, "mixed2", "mixed7", "mixed10"]),
    ],
)
def test_levels_of_the_applications(name: str, found: list[str]) -> None:
    model = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(96, 96, 3)
    )
    features = backbone_features(model, levels=4)
    for expected, got in zip(found, features.output, strict=True):
        assert expected in (None, got)
    x = images(1, size=96)
    last = list(features.predict(x, verbose=0).values())[-1]
    assert np.array_equal(last, model.predict(x, verbose=0))


def test_errors_say_what_would_do() -> None:
    model = small_backbone()
    with pytest.raises(ValueError, match="Did you mean 'relu1'"):
        backbone_features(model, ["relu_1"])
    with pytest.raises(ValueError, match=r"matches 2: 'relu1', 'relu2'.*: layers='relu\.\*'"):
        backbone_features(model, ["conv1", "relu.*"])
    with pytest.raises(ValueError, match="has feature maps of 1 stride"):
        backbone_features(model, levels=4)
    with pytest.raises(ValueError, match="one input of images"):
        backbone_features(keras.Sequential([keras.Input((8,)), L.Dense(2)]), levels=1)
    for wrong in ({}, {"layers": ["conv1"], "levels": 2}):
        with pytest.raises(ValueError, match=r"Pass either `layers`.*or `levels`"):
            backbone_features(model, **wrong)
    with pytest.raises(ValueError, match="`levels` must be at least 1"):
        backbone_features(model, levels=0)
    for wrong_type in (True, 2.0, "4"):
        with pytest.raises(TypeError, match="`levels` must be an int"):
            backbone_features(model, levels=wrong_type)
    with pytest.raises(ValueError, match="empty list"):
        backbone_features(model, [])
    with pytest.raises(TypeError, match=r"`backbone` must be a keras\.Model"):
        backbone_features("small", ["conv1"])


def test_what_is_no_graph_is_refused_by_name() -> None:
    subclassed = Subclassed()
    subclassed(images(2))
    with pytest.raises(ValueError, match=r"not a Subclassed\. Use a Functional"):
        backbone_features(subclassed, ["conv1"])
    with pytest.raises(ValueError, match="Build it first"):
        backbone_features(keras.Sequential([L.Dense(2)]), ["dense"])
    inputs = keras.Input((16, 16, 3))
    outer = keras.Model(inputs, subclassed(inputs))
    with pytest.raises(ValueError, match=r"'subclassed/inner/conv1' is inside 'subclassed'"):
        backbone_features(outer, ["conv1"])
    assert list(backbone_features(outer, ["subclassed"]).output) == ["subclassed"]


def test_a_layer_beside_the_graph_is_refused() -> None:
    model = small_backbone()
    model.beside = L.Dense(2, name="beside")
    with pytest.raises(ValueError, match="'beside' is held by 'small', but is not called there"):
        backbone_features(model, ["beside"])
