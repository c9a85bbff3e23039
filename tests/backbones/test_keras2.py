"""Do whole models of Keras 2 come back as Keras 3 models that predict the same?"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

import finetunekit as ftk
import keras2_models
from keras2_models import MODELS, make, model, numbers, outputs_of, rewrite, save, without_modules
from models import values
from parameters import often

LARGE = ("mobilenet", "mobilenet_v2", "mobilenet_v3", "resnet50", "efficientnet")
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in MODELS]
OURS = ("recurrent_states", "recurrent_convolution", "activations")  # They have hard_sigmoid.


def difference(found: Any, inputs: Any, wanted: list[np.ndarray]) -> float:
    pairs = zip(outputs_of(found, inputs), wanted, strict=True)
    return max(float(np.abs(a.astype("float64") - b.astype("float64")).max()) for a, b in pairs)


@pytest.mark.parametrize("ending", often([".h5", ".keras"], (".keras",)))
@pytest.mark.parametrize("name", NAMES)
def test_predicts_as_tf_keras_does(name: str, ending: str, tmp_path: Path) -> None:
    made, inputs, wanted = make(name)
    loaded = ftk.load_backbone(save(made, tmp_path / f"model{ending}"))
    assert difference(loaded, inputs, wanted) <= 1e-6
    assert not loaded.compiled
    assert loaded.name == made.name
    report = ftk.load_report(loaded)
    assert report.format == ("Keras 2 HDF5" if ending == ".h5" else "Keras 2 archive")
    assert report.written_by.startswith("Keras 2.")
    sizes = [sum(int(np.prod(w.shape)) for w in m.trainable_weights) for m in (loaded, made)]
    assert sizes[0] == sizes[1]
    if ending == ".h5":
        check_stock(loaded, name, inputs, wanted, tmp_path)


def check_stock(
    loaded: keras.Model, name: str, inputs: Any, wanted: list[np.ndarray], folder: Path
) -> None:
    """Plain Keras saves and loads what was rebuilt."""
    loaded.save(folder / "stock.keras")
    if name not in OURS:
        with zipfile.ZipFile(folder / "stock.keras") as archive:
            assert b"finetunekit" not in archive.read("config.json")
    again = keras.saving.load_model(folder / "stock.keras")
    assert difference(again, inputs, wanted) <= 1e-6


def test_trains_with_the_flags_of_the_file(tmp_path: Path) -> None:
    made, inputs, _ = make("nested_partly_frozen")
    loaded = ftk.load_backbone(save(made, tmp_path / "model.h5"))
    frozen = [layer.name for layer in made.layers[1].layers if not layer.trainable]
    assert [la.name for la in loaded.layers[1].layers if not la.trainable] == frozen
    assert len(loaded.trainable_weights) == len(made.trainable_weights)
    before = values(loaded)
    loaded.compile(keras.optimizers.Adam(1e-2), "mse")
    loaded.fit(inputs, np.ones((2, 2)), verbose=0)
    moved = {key for key, value in values(loaded).items() if not np.array_equal(value, before[key])}
    names = [key for key in before if "batch_normalization" in key]
    assert moved == set(before) - set(names)


def test_has_the_flags_of_a_frozen_model(tmp_path: Path) -> None:
    made, _, _ = make("nested_frozen")
    loaded = ftk.load_backbone(save(made, tmp_path / "model.h5"))
    assert not loaded.layers[1].trainable
    assert len(loaded.trainable_weights) == 2


def test_random_layers_work_and_regularizers_are_there(tmp_path: Path) -> None:
    made, inputs, _ = make("chain")
    loaded = ftk.load_backbone(save(made, tmp_path / "model.h5"))
    outputs = {float(keras.ops.sum(loaded(inputs, training=True))) for _ in range(5)}
    assert len(outputs) > 1
    made, _, _ = make("cnn")
    loaded = ftk.load_backbone(save(made, tmp_path / "cnn.h5"))
    assert np.isclose(float(loaded.losses[0]), float(made.losses[0]))


def test_two_models_of_one_file_are_independent(tmp_path: Path) -> None:
    made, inputs, wanted = make("chain")
    path = save(made, tmp_path / "model.h5")
    first, second = ftk.load_backbone(path), ftk.load_backbone(path)
    first.layers[-1].kernel.assign(first.layers[-1].kernel * 0)
    assert difference(second, inputs, wanted) <= 1e-6
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])  # Nothing is left waiting.


# Files as older versions wrote them.


@pytest.mark.parametrize(
    "name",
    often(
        ["cnn", "chain", "recurrent", "nested_and_shared", "dictionaries"],
        ("recurrent", "nested_and_shared"),
    ),
)
def test_without_module_keys(name: str, tmp_path: Path) -> None:
    made, inputs, wanted = make(name)
    path = save(made, tmp_path / "model.h5")
    rewrite(path, without_modules)
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_chain_whose_config_is_a_list(tmp_path: Path) -> None:
    """As before Keras 2.2.3."""
    made, inputs, wanted = make("chain_without_input")
    path = save(made, tmp_path / "model.h5")

    def old(config: Any) -> Any:
        layers = config["config"]["layers"][1:]
        layers[0]["config"]["batch_input_shape"] = [None, 8]
        return without_modules({"class_name": "Sequential", "config": layers})

    rewrite(path, old)
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_chains_in_a_chain_are_named_by_their_weights_only(tmp_path: Path) -> None:
    """As before Keras 2.2.3."""
    made, inputs, wanted = make("nested_chain")
    path = save(made, tmp_path / "model.h5")

    def old(config: Any) -> Any:
        outer = without_modules(config)["config"]["layers"][1:]
        inner = outer[0]["config"]["layers"][1:]
        inner[0]["config"]["batch_input_shape"] = [None, 8]
        outer[0] = {"class_name": "Sequential", "config": inner}
        return {"class_name": "Sequential", "config": outer}

    rewrite(path, old)
    loaded = ftk.load_backbone(path)
    assert difference(loaded, inputs, wanted) <= 1e-6
    assert loaded.layers[0].name == made.layers[0].name


def test_graph_whose_class_is_model(tmp_path: Path) -> None:
    """As before TensorFlow 2.4."""
    made, inputs, wanted = make("nested_frozen")
    path = save(made, tmp_path / "model.h5")

    def old(config: Any) -> Any:
        if isinstance(config, dict):
            return {k: "Model" if v == "Functional" else old(v) for k, v in config.items()}
        return [old(part) for part in config] if isinstance(config, list) else config

    rewrite(path, lambda config: old(without_modules(config)))
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_graph_of_a_class_of_the_makers_own(tmp_path: Path) -> None:
    made, inputs, wanted = make("cnn")
    path = save(made, tmp_path / "model.h5")
    rewrite(path, lambda config: {**config, "class_name": "MyNet"})
    loaded = ftk.load_backbone(path)
    assert difference(loaded, inputs, wanted) <= 1e-6
    assert any("MyNet" in line for line in ftk.load_report(loaded).converted)


def test_gru_without_reset_after(tmp_path: Path) -> None:
    """Before Keras 2.2 the argument was not there, and meant what is now False."""
    made, inputs, wanted = make("recurrent_without_reset_after")
    path = save(made, tmp_path / "model.h5")

    def old(config: Any) -> Any:
        for layer in config["config"]["layers"]:
            layer["config"].pop("reset_after", None)
        return config

    rewrite(path, old)
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_recurrent_weights_without_a_cell_in_their_names(tmp_path: Path) -> None:
    made, inputs, wanted = make("recurrent_without_reset_after")
    path = save(made, tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        for group in file["model_weights"].values():
            names = list(group.attrs.get("weight_names", []))
            for name in names:
                if "gru_cell" in name:
                    group.move(name, name.replace("/gru_cell", ""))
            if names:
                group.attrs["weight_names"] = [n.replace("/gru_cell", "") for n in names]
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_equal_shapes_are_told_apart_by_names(tmp_path: Path) -> None:
    """The groups of the file in another order must not matter."""
    made, inputs, wanted = make("reused_names")
    path = save(made, tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        group.attrs["layer_names"] = list(group.attrs["layer_names"])[::-1]
    assert difference(ftk.load_backbone(path), inputs, wanted) <= 1e-6


def test_weights_under_a_wrong_name_are_refused(tmp_path: Path) -> None:
    made, _, _ = make("chain")
    path = save(made, tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        group = next(g for g in file["model_weights"].values() if len(g.attrs["weight_names"]))
        names = list(group.attrs["weight_names"])
        group.attrs["weight_names"] = [n.replace("kernel", "gamma") for n in names]
        group.move(names[0], names[0].replace("kernel", "gamma"))
    with pytest.raises(ValueError, match=r"takes the weights kernel .* holds gamma"):
        ftk.load_backbone(path)


# What needs the user's help.


@model
def _own_layer(k: Any, L: Any) -> Any:
    class Scaled(L.Layer):
        def __init__(self, factor: float, **options: Any) -> None:
            super().__init__(**options)
            self.factor = factor

        def build(self, shape: Any) -> None:
            self.offset = self.add_weight("offset", (shape[-1],))

        def call(self, x: Any) -> Any:
            return x * self.factor + self.offset

        def get_config(self) -> Any:
            return {**super().get_config(), "factor": self.factor}

    i = k.Input((8,))
    return k.Model(i, L.Dense(2)(Scaled(3.0, name="scaled")(i))), numbers(2, 8)


class Scaled(keras.layers.Layer):
    """The Keras 3 class of the layer above."""

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def build(self, shape: Any) -> None:
        self.offset = self.add_weight(name="offset", shape=(shape[-1],))

    def call(self, x: Any) -> Any:
        return x * self.factor + self.offset

    def get_config(self) -> Any:
        return {**super().get_config(), "factor": self.factor}


@model
def _own_code(k: Any, L: Any) -> Any:
    i = k.Input((8,))
    return k.Model(i, L.Lambda(lambda x: x * 2.0 + 1.0, name="twice")(i)), numbers(2, 8)


@model
def _unknown_function(k: Any, L: Any) -> Any:
    import tensorflow as tf

    i = k.Input((8,))
    return k.Model(i, tf.math.lgamma(i + 1.0)), numbers(2, 8)


del keras2_models.MODELS["_own_layer"], keras2_models.MODELS["_own_code"]
del keras2_models.MODELS["_unknown_function"]
NEEDY = {f.__name__: f for f in (_own_layer, _own_code, _unknown_function)}


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, function in NEEDY.items():
        monkeypatch.setitem(keras2_models.MODELS, name, function)


@pytest.mark.usefixtures("needy")
@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize(
    ("name", "help", "named"),
    [
        ("_own_layer", {"Scaled": Scaled}, r"'scaled' is of the class 'Scaled'"),
        ("_own_code", {"twice": lambda x: x * 2.0 + 1.0}, "'twice' is Python bytecode"),
        (
            "_unknown_function",
            {"tf.math.lgamma": lambda x: keras.ops.log(x + 0.5)},
            "tf.math.lgamma",
        ),
    ],
)
def test_what_is_missing_is_named_and_taken(
    name: str, help: dict, named: str, ending: str, tmp_path: Path
) -> None:
    made, inputs, wanted = make(name)
    path = save(made, tmp_path / f"model{ending}")
    with pytest.raises(ValueError, match=named) as caught:
        ftk.load_backbone(path)
    assert f"custom_objects={{{next(iter(help))!r}" in str(caught.value)
    loaded = ftk.load_backbone(path, custom_objects=help)
    if name != "_unknown_function":
        assert difference(loaded, inputs, wanted) <= 1e-6


@pytest.mark.usefixtures("needy")
def test_bytecode_runs_only_if_trusted(tmp_path: Path) -> None:
    made, inputs, wanted = make("_own_code")
    path = save(made, tmp_path / "model.h5")
    assert difference(ftk.load_backbone(path, safe_mode=False), inputs, wanted) <= 1e-6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"class_name": "TensorFlowOpLayer"}, "TensorFlowOpLayer.*SavedModel"),
        ({"class_name": "LocallyConnected1D"}, "LocallyConnected1D.*custom_objects"),
    ],
)
def test_what_has_no_counterpart_is_named(change: dict, named: str, tmp_path: Path) -> None:
    made, _, _ = make("cnn")
    path = save(made, tmp_path / "model.h5")

    def replaced(config: Any) -> Any:
        config["config"]["layers"][3] |= change
        return config

    rewrite(path, replaced)
    with pytest.raises(ValueError, match=rf"'re_lu'.*{named}"):
        ftk.load_backbone(path)


@pytest.mark.parametrize(
    ("layer", "argument", "value"),
    [
        (1, "groups_of", 2),
        (2, "virtual_batch_size", 2),
        (4, "time_major", True),
        (4, "unheard_of", 1),
    ],
)
def test_an_argument_that_matters_is_not_dropped(
    layer: int, argument: str, value: Any, tmp_path: Path
) -> None:
    made, _, _ = make("cnn")
    path = save(made, tmp_path / "model.h5")

    def added(config: Any) -> Any:
        config["config"]["layers"][layer]["config"][argument] = value
        return config

    rewrite(path, added)
    with pytest.raises(ValueError, match=f"{argument}={value!r}"):
        ftk.load_backbone(path)


def test_the_report_lists_what_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made, _, _ = make("activations")
    report = ftk.load_report(ftk.load_backbone(save(made, tmp_path / "model.h5")))
    text = str(report)
    assert "ThresholdedReLU became ReLU" in text
    assert "hard_sigmoid" in text
    assert "converted" in caplog.text
    made, _, _ = make("recurrent")
    report = ftk.load_report(ftk.load_backbone(save(made, tmp_path / "recurrent.h5")))
    assert any("time_major=False" in what for what in report.dropped)


def test_a_reference_is_checked(tmp_path: Path) -> None:
    made, inputs, wanted = make("cnn")
    path = save(made, tmp_path / "model.h5")
    loaded = ftk.load_backbone(path, reference=(inputs, wanted[0]))
    assert ftk.load_report(loaded).parity <= 1e-6
    with pytest.raises(ValueError, match="`reference` differs"):
        ftk.load_backbone(path, reference=(inputs, wanted[0] + 0.1))
    with pytest.raises(ValueError, match="pair"):
        ftk.load_backbone(path, reference=inputs)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_of_2017(data_folder: Path) -> None:
    """Written by Keras 2.0.5."""
    with keras2_models.quiet():
        import tf_keras

        path = data_folder / "models" / "fer2013_mini_XCEPTION.102-0.66.hdf5"
        wanted = tf_keras.models.load_model(path, compile=False)
    loaded = ftk.load_backbone(path)
    assert ftk.load_report(loaded).written_by == "Keras 2.0.5"
    faces = numbers(8, 64, 64, 1) * 2 - 1
    assert difference(loaded, faces, outputs_of(wanted, faces)) <= 1e-6
