"""Is the classifier that a model ends in found, wherever it stands, and taken off exactly?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import classifier, metadata
from models import L, images, labels, small_backbone
from parameters import often


def convolutional() -> keras.Model:
    inputs = x = keras.Input((16, 16, 3))
    for filters in (4, 5):
        x = L.Conv2D(filters, 3, strides=2, activation="relu", name=f"conv{filters}")(x)
    return keras.Model(inputs, x, name="convs")


def on_top(base: Any, *layers: Any) -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    x = base(inputs)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="net")


def teachable_machine(base: keras.Model) -> keras.Model:
    """As its exports are: both parts are Sequential, the last one without biases."""
    features = keras.Sequential([keras.Input((16, 16, 3)), base, L.GlobalAveragePooling2D()])
    top = keras.Sequential(
        [
            keras.Input((5,)),
            L.Dense(6, "relu", name="hidden"),
            L.Dense(7, "softmax", use_bias=False, name="classes"),
        ],
        name="top",
    )
    return keras.Sequential([keras.Input((16, 16, 3)), features, top], name="net")


def nested_classifier_alone(base: keras.Model) -> keras.Model:
    top = keras.Sequential([keras.Input((5,)), L.Dense(7, name="classes"), L.Softmax()])
    return on_top(base, L.GlobalAveragePooling2D(), top)


def nested_softmax(base: keras.Model) -> keras.Model:
    end = keras.Sequential([keras.Input((7,)), L.Dropout(0.1), L.Softmax()])
    return on_top(base, L.GlobalAveragePooling2D(), L.Dense(7, name="classes"), end)


def dense(base: keras.Model) -> keras.Model:
    return on_top(base, L.Flatten(), L.Dense(7, "softmax", name="classes"))


def squeezenet(base: keras.Model) -> keras.Model:
    conv = L.Conv2D(7, 1, activation="relu", name="classes")
    return on_top(base, L.Dropout(0.1), conv, L.GlobalAveragePooling2D(), L.Softmax())


def mobilenet(base: keras.Model) -> keras.Model:
    """As keras.applications.MobileNet ends."""
    pooling, conv = L.GlobalAveragePooling2D(keepdims=True), L.Conv2D(7, 1, name="classes")
    return on_top(base, pooling, L.Dropout(0.1), conv, L.Reshape((7,)), L.Activation("softmax"))


def wide_convolution(base: keras.Model) -> keras.Model:
    return on_top(base, L.Conv2D(7, 3, name="classes"), L.GlobalMaxPooling2D(), L.Softmax())


def logits(base: keras.Model) -> keras.Model:
    return on_top(base, L.Conv2D(7, 1, name="classes"), L.GlobalAveragePooling2D())


NETS = (
    *(teachable_machine, nested_classifier_alone, nested_softmax, dense),
    *(squeezenet, mobilenet, wide_convolution, logits),
)


def features_of(name: str, base: keras.Model, model: keras.Model, x: np.ndarray) -> Any:
    """What enters the classifier, by layers called one after the other."""
    maps = keras.ops.convert_to_numpy(base(x))
    if name == "teachable_machine":
        return model.get_layer("top").get_layer("hidden")(maps.mean((1, 2)))
    if name in ("nested_classifier_alone", "nested_softmax"):
        return maps.mean((1, 2))
    if name == "mobilenet":
        return maps.mean((1, 2), keepdims=True)
    return maps.reshape(len(x), -1) if name == "dense" else maps


@pytest.mark.parametrize("make", NETS)
def test_what_enters_the_classifier_is_left(make: Any) -> None:
    base, x = convolutional(), images(2)
    model = make(base)
    before = keras.ops.convert_to_numpy(model(x))
    found = classifier.find(model)
    assert found is not None
    assert found.layer.name == "classes"
    backbone = classifier.take_off(model, found)
    wanted = features_of(make.__name__, base, model, x)
    np.testing.assert_allclose(backbone(x), wanted, rtol=1e-6)
    assert any(v is base.weights[0] for v in backbone.weights)
    np.testing.assert_array_equal(model(x), before)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_model_that_labels_pixels_gets_a_head_that_does(data_format: str) -> None:
    first = data_format == "channels_first"
    inputs = keras.Input((3, 8, 9) if first else (8, 9, 3))
    x = L.Conv2D(4, 3, data_format=data_format)(inputs)
    x = L.Softmax(1 if first else -1)(L.Conv2D(7, 1, data_format=data_format)(x))
    model = keras.Model(inputs, x)
    assert ftk.replace_head(model, "multiclass", 5).output_shape == (None, 6, 7, 5)
    assert ftk.replace_head(model, "multiclass", 5, pooling="avg").output_shape == (None, 5)


@pytest.mark.parametrize("make", often(NETS, NETS[:1]))
def test_replace_head_and_the_file(make: Any, tmp_path: Path) -> None:
    new = ftk.replace_head(make(convolutional()), "multiclass", 3)
    x = images(2)
    assert new.output_shape == (None, 3)
    path = ftk.save(new, tmp_path / "new.keras", verbose=0)
    np.testing.assert_array_equal(keras.saving.load_model(path)(x), new(x))


def test_nested_models_keep_their_names_and_what_is_frozen() -> None:
    model = teachable_machine(convolutional())
    ftk.freeze_layers(model, "top/hidden")
    found = classifier.find(model)
    assert found is not None
    assert found.path == "top/classes"
    backbone = classifier.take_off(model, found)
    assert backbone.layers[-1].name == "top"
    assert len(model.trainable_weights) == 5
    assert [v.path for v in backbone.trainable_weights] == [
        v.path for v in model.trainable_weights[:-1]
    ]


def test_a_nested_model_of_several_inputs() -> None:
    parts = [keras.Input((3,), name="b"), keras.Input((3,), name="a")]
    x = L.Concatenate()([parts[0], L.Rescaling(2.0)(parts[1])])
    inner = keras.Model(dict(zip("ba", parts, strict=True)), L.Dense(2)(x))
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.Softmax()(inner({"b": inputs[:, :3], "a": inputs[:, 3:]})))
    found = classifier.find(model)
    assert found is not None
    given = np.arange(6, dtype="float32")[None]
    np.testing.assert_array_equal(
        classifier.take_off(model, found)(given), given * [1, 1, 1, 2, 2, 2]
    )


@pytest.mark.parametrize(
    "make",
    [
        convolutional,
        lambda: on_top(convolutional(), L.GlobalAveragePooling2D()),
        lambda: on_top(convolutional(), L.BatchNormalization()),
        lambda: on_top(convolutional(), L.Conv2D(7, 3), L.GlobalAveragePooling2D()),
    ],
)
def test_features_are_no_classifier(make: Any) -> None:
    assert classifier.find(make()) is None
    with pytest.raises(ValueError, match="cannot be told from the rest"):
        ftk.replace_head(make(), "binary")


def test_a_branch_after_the_classifier_is_no_classifier() -> None:
    inputs = keras.Input((4,))
    x = L.Dense(3)(inputs)
    assert classifier.find(keras.Model(inputs, L.Multiply()([x, L.Softmax()(x)]))) is None


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.WARNING, "finetunekit")

    def take() -> list[str]:
        found = [record.message for record in caplog.records]
        caplog.clear()
        return found

    return take


@pytest.mark.parametrize("make", [NETS[0], NETS[2], NETS[3], NETS[4], NETS[5]])
def test_a_head_on_probabilities_is_warned_of(make: Any, warnings: Any) -> None:
    model = make(convolutional())
    ftk.add_head(model, "binary")
    (found,) = warnings()
    assert "'net' ends in the softmax of a classifier" in found
    assert "its 7 probabilities" in found
    assert "include_top=False" in found
    assert "replace_head(backbone, task)" in found
    ftk.replace_head(model, "binary")
    assert not warnings()


def test_the_output_that_is_picked_counts(warnings: Any) -> None:
    inputs = keras.Input((4,))
    features = L.Dense(3, name="features")(inputs)
    model = keras.Model(inputs, [features, L.Softmax(name="classes")(L.Dense(5)(features))])
    ftk.add_head(model, "binary", output=0)
    assert not warnings()
    ftk.add_head(model, "binary", output="classes")
    (found,) = warnings()
    assert "its 5 probabilities" in found
    assert "get_layer(NAME)" in found


@pytest.mark.parametrize("make", [small_backbone, convolutional])
def test_features_are_not_warned_of(make: Any, warnings: Any) -> None:
    ftk.add_head(make(), "binary")
    assert not warnings()


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_files_without_their_classifier(ending: str, tmp_path: Path, warnings: Any) -> None:
    model, x = dense(convolutional()), images(2)
    model.save(tmp_path / f"net{ending}")
    assert ftk.load_backbone(tmp_path / f"net{ending}").output_shape == (None, 7)
    warnings()
    backbone = ftk.load_backbone(tmp_path / f"net{ending}", include_top=False)
    wanted = keras.ops.convert_to_numpy(model.get_layer("convs")(x)).reshape(2, -1)
    np.testing.assert_allclose(backbone(x), wanted, rtol=1e-6)
    assert ftk.load_report(backbone).source == f"net{ending}"
    ftk.add_head(backbone, "binary")
    assert not warnings()


def test_models_without_their_classifier() -> None:
    model = dense(convolutional())
    assert ftk.load_backbone(model) is model
    assert ftk.load_backbone(model, include_top=False).output_shape == (None, 45)
    features = small_backbone()
    assert ftk.load_backbone(features, include_top=False) is features


@pytest.mark.slow
def test_fine_tune_learns_from_the_features(tmp_path: Path) -> None:
    model = dense(convolutional())
    model.save(tmp_path / "net.keras")
    options: dict[str, Any] = {"probe_epochs": 1, "epochs": 0, "verbose": 0}
    tuned, _ = ftk.fine_tune(tmp_path / "net.keras", (images(8), labels(8)), **options)
    assert metadata.of(tuned).head.input_shape == (None, 45)


def test_two_copies_of_one_backbone_in_one_model(tmp_path: Path) -> None:
    small_backbone().save(tmp_path / "net.keras")
    left, right = (ftk.load_backbone(tmp_path / "net.keras", name=n) for n in ("left", "right"))
    inputs = [keras.Input((16, 16, 3), name=n) for n in ("a", "b")]
    both = keras.Model(inputs, L.Concatenate()([left(inputs[0]), right(inputs[1])]))
    model = ftk.add_head(both, "binary")
    ftk.freeze_layers(model, "left")
    assert {v.path for v in left.trainable_weights} == set()
    assert len(right.trainable_weights) > 0
    path = ftk.save(model, tmp_path / "both.keras", verbose=0)
    x = [images(2), images(2, seed=1)]
    np.testing.assert_array_equal(keras.saving.load_model(path)(x), model(x))
    for name in ("", "a/b", 3):
        with pytest.raises(ValueError, match="`name` must be"):
            ftk.load_backbone(tmp_path / "net.keras", name=name)
    with pytest.raises(ValueError, match="never renamed"):
        ftk.load_backbone(left, name="other")
