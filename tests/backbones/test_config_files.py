"""Do a config in JSON and a file of weights make the model that was saved so?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
from keras2_models import make, outputs_of, quiet
from models import images, small_backbone
from parameters import often


def test_keras_3(tmp_path: Path) -> None:
    model = small_backbone()
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "w.weights.h5")
    loaded = ftk.load_backbone(tmp_path / "model.json", weights=tmp_path / "w.weights.h5")
    assert np.array_equal(loaded(images(2)), model(images(2)))
    report = ftk.load_report(loaded)
    assert (report.source, report.format) == ("model.json", "JSON and weights of Keras")


def test_functions_and_classes_are_given_by_name(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Own(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + 1.0

    x = inputs = keras.Input((3,))
    for layer in (keras.layers.Lambda(lambda x: x * 3.0, name="gate"), Own(name="own")):
        x = layer(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    (tmp_path / "model.json").write_text(model.to_json())
    weights = str(tmp_path / "w.weights.h5")
    model.save_weights(weights)
    keras.saving.get_custom_objects().pop("mine>Own")

    def load(**objects: Any) -> keras.Model:
        return ftk.load_backbone(tmp_path / "model.json", weights=weights, custom_objects=objects)

    batch = np.ones((2, 3), "float32")
    loaded = load(gate=lambda x: x * 3.0, Own=Own)
    assert np.array_equal(loaded(batch), model(batch))
    other = load(gate=lambda x: x * 0.0, Own=Own)
    assert not np.array_equal(other(batch), model(batch))
    with pytest.raises(ValueError, match=r"as the config of a model\. Give the class.*'Own': Own"):
        load(gate=lambda x: x * 3.0)


NAMES = ("chain", "cnn", "nested_partly_frozen", "shared")


@pytest.mark.parametrize(
    ("name", "ending"),
    often(
        [(name, ending) for name in NAMES for ending in ("w.h5", "whole.h5", "w.weights.h5")],
        (("nested_partly_frozen", "w.h5"),),
    ),
)
def test_keras_2(name: str, ending: str, tmp_path: Path) -> None:
    made, inputs, wanted = make(name)
    with quiet():
        (tmp_path / "model.json").write_text(made.to_json())
        path = str(tmp_path / ending)
        made.save(path) if ending == "whole.h5" else made.save_weights(path)
    loaded = ftk.load_backbone(tmp_path / "model.json", weights=path)
    for found, known in zip(outputs_of(loaded, inputs), wanted, strict=True):
        assert np.abs(found - known).max() <= 1e-6


def test_keras_1_on_theano(tmp_path: Path) -> None:
    config = {
        "class_name": "Sequential",
        "keras_version": "1.2.2",
        "config": [
            {
                "class_name": "Dense",
                "config": {
                    "name": "dense_1",
                    "batch_input_shape": [None, 3],
                    "output_dim": 2,
                    "activation": "relu",
                    "bias": True,
                },
            }
        ],
    }
    (tmp_path / "model.json").write_text(json.dumps(json.dumps(config)))
    kernel, bias = np.arange(6.0).reshape(3, 2), np.array([-4.0, 1.0])
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense_1"]
        group = file.create_group("dense_1")
        group.attrs["weight_names"] = [b"dense_1_W", b"dense_1_b"]
        group["dense_1_W"], group["dense_1_b"] = kernel, bias
    loaded = ftk.load_backbone(tmp_path / "model.json", weights=tmp_path / "w.h5")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    assert np.allclose(loaded(x), np.maximum(x @ kernel + bias, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "weights", "words"),
    [
        ("m.json", "{", "w.h5", "is not JSON"),
        ("m.json", '{"model_type": "bert"}', "w.h5", "holds 'model_type'.*give its folder"),
        ("m.json", "[]", "w.h5", "holds list"),
        ("m.yaml", "a: 1", "w.h5", "is YAML"),
        ("m.json", '{"class_name": "Sequential", "config": []}', None, "there are 'w.h5'"),
        (
            "m.json",
            '{"class_name": "Dense", "config": {}}',
            "w.h5",
            "`source` is a Keras 2 file.*not a Functional or Seq",
        ),
        ("m.json", '{"module": "keras", "class_name": "A", "config": {}}', "w.h5", "`source`"),
    ],
)
def test_faults_are_told(
    name: str, content: str, weights: str | None, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense_1"]
    options: dict[str, Any] = {} if weights is None else {"weights": tmp_path / weights}
    with pytest.raises(ValueError, match=words):
        ftk.load_backbone(tmp_path / name, **options)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    model = small_backbone()
    (tmp_path / "model.json").write_text(model.to_json())
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="other")])
    other.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match=r"`weights` holds no weights that fit.*weights="):
        ftk.load_backbone(tmp_path / "model.json", weights=tmp_path / "w.weights.h5")
