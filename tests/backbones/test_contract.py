"""Is a batch that does not fit its model found, and healthy data of many kinds left alone?"""

from __future__ import annotations

import io
import logging
import random
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import contract, statistics
from finetunekit.data.batch_checks import check_batch
from finetunekit.models import metadata, metadata_record
from models import L, images, labels, same, small_backbone, values
from parameters import often

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def crops(names: str, count: int = 16, size: int = 96) -> np.ndarray:
    """Crops of scikit-image's images, uint8 RGB."""
    import skimage.data

    generator, found = np.random.default_rng(0), []
    for name in names.split():
        image = np.asarray(getattr(skimage.data, name)())
        image = image.astype("uint8") * (255 if image.dtype == bool else 1)
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=-1)
        for _ in range(count // len(names.split())):
            top, left = (generator.integers(0, side - size + 1) for side in image.shape[:2])
            found.append(image[top : top + size, left : left + size, :3])
    return np.stack(found)


PHOTOS = "astronaut coffee chelsea rocket"


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    return ftk.load_backbone("builtin:mobilenet_v2")


@pytest.fixture(scope="module")
def model(backbone: keras.Model) -> keras.Model:
    made = ftk.add_head(backbone, "binary")
    ftk.compile_for_task(made)
    return made


@pytest.fixture(scope="module")
def outside() -> keras.Model:
    return ftk.add_head(
        ftk.load_backbone("builtin:mobilenet_v2", preprocessing="outside"), "binary"
    )


def token_model(task: str = "binary") -> keras.Model:
    ids = keras.Input((12,), dtype="int32", name="ids")
    x = L.GlobalAveragePooling1D()(L.Embedding(500, 4, name="words")(ids))
    made = ftk.add_head(keras.Model(ids, x), task)
    ftk.compile_for_task(made)
    return made


def table_model() -> keras.Model:
    return keras.Sequential([keras.Input((7,)), L.BatchNormalization(), L.Dense(1)])


# --- Faults ----------------------------------------------------------------------------------

PIXEL_FAULTS: list[tuple[str, Callable[[np.ndarray], np.ndarray], str]] = [
    ("0 to 1", lambda x: x / 255, "takes raw pixels of 0 to 255.*Feed the pixels as they are"),
    ("-1 to 1", lambda x: x / 127.5 - 1, "takes raw pixels of 0 to 255"),
    ("normalised", lambda x: (x / 255 - MEAN) / STD, "takes raw pixels of 0 to 255"),
    ("caffe", lambda x: x[..., ::-1] - [103.9, 116.8, 123.7], "takes raw pixels of 0 to 255"),
    ("rescaled twice", lambda x: x / 255 / 255, "takes raw pixels of 0 to 255"),
    ("16 bit", lambda x: x * 257, r"look like 16-bit images.*`x = x \* \(255 / 65535\)`"),
    ("12 bit", lambda x: x * 16, r"12-bit images, whose white is 4,095: `x = x \* \(255 / 4095\)`"),
    ("10 bit", lambda x: x * 4, r"look like 10-bit images.*`x = x \* \(255 / 1023\)`"),
    ("beyond", lambda x: x * 1e4, r"Scale them: `x = 255 \* \(x / x\.max\(\)\)`"),
    ("bgr", lambda x: x[..., ::-1], r"wrong order.*`pixels\[..., ::-1\]`"),
]


@pytest.mark.parametrize(("make", "fix"), [row[1:] for row in PIXEL_FAULTS])
def test_wrong_pixels_are_found(
    model: keras.Model, make: Any, fix: str, caplog: pytest.LogCaptureFixture
) -> None:
    x = make(crops(PHOTOS).astype("float32"))
    found = check_batch(model, x, labels(len(x)))
    assert len(found) == 1
    assert re.search(fix, found[0])
    assert [row.message for row in caplog.records if row.levelno == logging.WARNING] == [*found]


@pytest.mark.parametrize(
    ("make", "fix"),
    [
        (lambda x: x, r"These look raw\. Scale RGB pixels of 0 to 255, `\(x - \[123\.675"),
        (lambda x: x.astype("uint8"), "These look raw"),
        (lambda x: x / 255, r"look scaled to 0 to 1\. .*`\(\(255 \* x\) - \["),
        (lambda x: (x[..., ::-1] / 255 - MEAN) / STD, "wrong order"),
    ],
)
def test_wrong_pixels_for_a_model_that_leaves_scaling_to_the_user(
    outside: keras.Model, make: Any, fix: str
) -> None:
    x = crops("astronaut coffee").astype("float32")
    assert check_batch(outside, (x / 255 - MEAN) / STD) == ()
    (found,) = check_batch(outside, make(x))
    assert re.search(fix, found)


@pytest.mark.parametrize("scaling", [L.Rescaling, L.Normalization])
def test_scaling_twice_inside_the_model_is_found(scaling: Any) -> None:
    inner_image = keras.Input((16, 16, 3))
    scale = L.Rescaling(1 / 127.5, -1, name="inner")
    if scaling is L.Normalization:
        scale = L.Normalization(mean=[124.0, 116, 104], variance=[58.0**2] * 3, name="inner")
    inner = keras.Model(inner_image, L.Conv2D(2, 3)(scale(inner_image)))
    once = keras.Sequential([keras.Input((16, 16, 3)), L.RandomFlip(), inner, L.Flatten()])
    assert check_batch(once, images(4)) == ()
    twice = keras.Sequential([keras.Input((16, 16, 3)), L.Rescaling(1 / 255), inner, L.Flatten()])
    (found,) = check_batch(twice, images(4))
    assert "scales its input twice" in found
    assert "'inner'" in found
    assert "Take the first scaling out" in found


def test_scaling_in_front_of_a_known_backbone_is_found(backbone: keras.Model) -> None:
    image = keras.Input((96, 96, 3))
    twice = keras.Model(image, L.Flatten()(backbone(L.Rescaling(1 / 255)(image))))
    (found,) = check_batch(twice, crops(PHOTOS))
    assert "scales its input twice" in found
    assert "'mobilenet_v2'" in found


def test_a_scale_is_told_from_batch_normalization_alone(outside: keras.Model) -> None:
    backbone = keras.models.clone_model(metadata.of(outside).backbone)
    backbone.set_weights(metadata.of(outside).backbone.get_weights())
    assert ftk.add_head(backbone, "binary")
    assert metadata.of(backbone).contract is None
    (found,) = check_batch(backbone, crops("astronaut coffee"))
    assert "`(x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]` would fit" in found


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.full((3, 12), 500), r"`x` must hold token ids of 0 to 499.*sample 0.*from 500 to 500"),
        (np.full((3, 12), -1), "padding is a token id too"),
    ],
)
def test_token_ids_beyond_the_vocabulary_are_an_error(ids: np.ndarray, message: str) -> None:
    made = token_model()
    with pytest.raises(ValueError, match=message):
        check_batch(made, ids)
    before = values(made)
    with pytest.raises(ValueError, match=message):
        ftk.fit(made, ids, labels(3), verbose=0)
    assert same(before, values(made))


def test_token_ids_are_checked_input_by_input() -> None:
    tokens = keras.Input((4,), dtype="int32", name="token_ids")
    segments = keras.Input((4,), dtype="int32", name="segment_ids")
    both = L.Add()([L.Embedding(50, 3)(tokens), L.Embedding(2, 3)(segments)])
    made = keras.Model({"token_ids": tokens, "segment_ids": segments}, L.Flatten()(both))
    x = {"token_ids": np.full((2, 4), 49), "segment_ids": np.ones((2, 4), "int32")}
    assert check_batch(made, x) == ()
    with pytest.raises(ValueError, match=r"`x\['segment_ids'\]` must hold token ids of 0 to 1"):
        check_batch(made, x | {"segment_ids": x["token_ids"]})


# --- Healthy data ----------------------------------------------------------------------------


def spectrograms() -> np.ndarray:
    """Decibels of chirps as images of 0 to 255, as people feed them to image models."""
    moments = np.linspace(0, 1, 96 * 64)
    rows = []
    for speed in range(8):
        wave = np.sin(2 * np.pi * (200 + 300 * speed * moments) * moments).reshape(96, 64)
        power = np.log(np.abs(np.fft.rfft(wave * np.hanning(64), axis=1)) + 1e-3)
        rows.append(255 * (power - power.min()) / (power.max() - power.min()))
    return np.repeat(np.stack(rows)[..., None], 3, axis=-1).astype("float32")


HEALTHY: dict[str, Callable[[], np.ndarray]] = {
    "photos": lambda: crops(PHOTOS),
    "photos as floats": lambda: crops(PHOTOS).astype("float32"),
    "blue photos": lambda: crops("rocket"),
    "textures": lambda: crops("brick grass gravel"),
    "grey": lambda: crops("camera coins"),
    "microscopy": lambda: crops("immunohistochemistry"),
    "documents": lambda: crops("page text"),
    "medical": lambda: crops("retina"),
    "sky at night": lambda: crops("hubble_deep_field moon"),
    "drawings": lambda: crops("logo horse"),
    "tiny": lambda: crops(PHOTOS, size=32),
    "large": lambda: crops(PHOTOS, 8, size=224),
    "spectrograms": spectrograms,
    "masks as bytes": lambda: crops("horse") // 255,
    "nearly black bytes": lambda: crops(PHOTOS) // 100,
    "resized beyond 255": lambda: crops(PHOTOS).astype("float32") * 1.1 - 5,
    "one image": lambda: crops("rocket", 1),
    "zeros": lambda: np.zeros((4, 96, 96, 3), "float32"),
    "noise": lambda: images(8, size=96),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_pictures_are_left_alone(model: keras.Model, kind: str) -> None:
    x = HEALTHY[kind]()
    assert check_batch(model, x, labels(len(x))) == ()


@pytest.mark.parametrize("form", often(["raw", "unit", "centred"], ("unit",)))
def test_healthy_pictures_of_a_model_trained_from_nothing_are_left_alone(form: str) -> None:
    pixels = crops(PHOTOS, 64, 32)[:, ::2, ::2].astype("float32")
    x = {"raw": pixels, "unit": pixels / 255, "centred": pixels / 127.5 - 1}[form]
    made = keras.Sequential([small_backbone(), L.Dense(1)])
    made.compile("adam", "mse")
    for _ in range(3):
        assert check_batch(made, x) == ()
        made.fit(x, labels(64), batch_size=8, verbose=0)


def test_healthy_data_of_other_kinds_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 500, (8, 12))
    assert check_batch(token_model(), ids, labels(8)) == ()
    known = token_model()
    metadata.remember(known, contract=contract.infer(known))
    assert check_batch(known, ids % 3) == ()
    assert len(ftk.predict(known, ids % 3)) == 8
    assert check_batch(token_model("regression"), ids, generator.normal(size=8)) == ()
    table = table_model()
    table.compile("adam", "mse")
    rows = generator.normal(0, 1000, (8, 7))
    table.fit(rows, rows[:, 0], verbose=0)
    assert check_batch(table, rows / 1000, rows[:, 0] / 1000) == ()
    series = keras.Sequential([keras.Input((None, 2)), L.GRU(3), L.Dense(2, "softmax")])
    assert check_batch(series, generator.normal(size=(8, 5, 2))) == ()
    grey = keras.Sequential([keras.Input((28, 28, 1)), L.Rescaling(1 / 255), L.Flatten()])
    assert check_batch(grey, generator.integers(0, 256, (8, 28, 28))) == ()
    assert not [row for row in caplog.records if row.levelno >= logging.WARNING]


# --- How it is done --------------------------------------------------------------------------


def test_a_check_changes_nothing(model: keras.Model) -> None:
    dropping = ftk.inject_dropout(model, 0.5, after="block_1_expand_relu")
    before, generators = values(dropping), (random.getstate(), np.random.get_state()[2])
    x = crops(PHOTOS).astype("float32")
    copy = x.copy()
    name = L.Flatten().name
    check_batch(dropping, x[..., ::-1], labels(len(x)))
    number = int(name.rpartition("_")[2]) if "_" in name else 0
    assert L.Flatten().name == f"flatten_{number + 1}"
    assert same(before, values(dropping))
    assert np.array_equal(x, copy)
    assert (random.getstate(), np.random.get_state()[2]) == generators


def test_batches_of_pipelines(model: keras.Model) -> None:
    import tensorflow as tf

    class Pictures(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return crops(PHOTOS) / 255.0, labels(16)

    (found,) = check_batch(model, Pictures())
    data = tf.data.Dataset.from_tensor_slices(Pictures()[0]).batch(8)
    assert "takes raw pixels" in found
    assert "takes raw pixels" in check_batch(model, data)[0]
    assert check_batch(model, data.map(lambda x, y: (x * 255, y))) == ()
    with pytest.raises(ValueError, match="leave `y` out"):
        check_batch(model, data, labels(8))
    with pytest.raises(ValueError, match="gives no batches"):
        check_batch(model, data.take(0))


def test_a_check_costs_little(model: keras.Model) -> None:
    x = np.random.default_rng(0).uniform(0, 255, (64, 96, 96, 3)).astype("float32")
    check_batch(model, x, verbose=0)
    start = time.perf_counter()
    model.predict(x, verbose=0)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    list(statistics.doubts(model, x, "x"))
    assert time.perf_counter() - start < whole


# --- Contracts -------------------------------------------------------------------------------


def test_contracts_of_named_models(backbone: keras.Model, outside: keras.Model) -> None:
    inside = contract.input_contract(backbone)
    assert inside is not None
    assert (inside.value_range, inside.size) == ((0.0, 255.0), (224, 224))
    assert inside.mean == pytest.approx(255 * MEAN)
    assert inside.std == pytest.approx(255 * STD)
    caffe = ftk.load_backbone("vgg16", weights=None, preprocessing="outside")
    found = contract.input_contract(caffe)
    assert found is not None
    assert found.channel_order == "bgr"
    assert found.mean == pytest.approx((103.939, 116.779, 123.68))
    assert contract.input_contract(outside).value_range == (-2.2, 2.7)  # type: ignore[union-attr]
    small = ftk.load_backbone("mobilenetv3small", weights=None, preprocessing="outside")
    assert contract.input_contract(small).value_range == (-1.0, 1.0)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2", "mobilenetv3small"])
def test_what_is_read_off_a_model_is_what_was_put_in(name: str) -> None:
    built = ftk.load_backbone(name, weights=None, input_shape=(64, 64, 3))
    kept, read = metadata.of(built).contract, contract.infer(built)
    assert kept is not None
    assert read is not None
    assert read.size == (64, 64)
    assert (read.value_range, read.channel_order) == (kept.value_range, "rgb")
    if kept.mean is not None:
        assert np.broadcast_to(read.mean, 3) == pytest.approx(kept.mean, rel=1e-5)
        assert np.broadcast_to(read.std, 3) == pytest.approx(kept.std, rel=1e-5)


def test_arithmetic_is_read_like_layers() -> None:
    image = keras.Input((8, 8, 3))
    for scaled in (image / 127.5 - 1.0, (image - 127.5) * (1 / 127.5), L.Rescaling(1 / 255)(image)):
        read = contract.infer(keras.Model(image, L.Conv2D(1, 1)(scaled)))
        assert read is not None
        assert read.value_range == (0.0, 255.0)
    by_place = L.Rescaling(np.full((8, 8, 3), 1 / 255))(L.Rescaling([1.0, 2.0, 3.0])(image))
    odd = contract.infer(keras.Model(image, L.Conv2D(1, 1)(by_place)))
    assert odd is not None
    assert odd.value_range is None
    bare = contract.infer(keras.Model(image, L.Conv2D(1, 1)(image)))
    assert bare is not None
    assert (bare.value_range, bare.size) == (None, (8, 8))


def test_contracts_of_tokens_and_of_the_rest() -> None:
    read = contract.infer(token_model())
    assert read is not None
    assert (read.vocabulary_size, read.length) == (500, 12)
    assert read.dtype == "int32"
    assert contract.infer(table_model()) is None
    with pytest.raises(TypeError, match="`model` must be a"):
        contract.input_contract("model")  # type: ignore[arg-type]


def test_a_contract_comes_back_from_a_file(tmp_path: Path, outside: keras.Model) -> None:
    ftk.save(outside, tmp_path / "model.keras")
    loaded = ftk.load(tmp_path / "model.keras")
    assert metadata.of(loaded).contract == metadata.of(outside).contract


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    made = ftk.add_head(small_backbone(), "binary")
    old = {
        "value_range": [0.0, 255.0],
        "size": None,
        "channel_order": "rgb",
        "preprocessing": "inside",
        "note": "",
    }
    metadata_record.from_record(made, metadata_record.to_record(made) | {"contract": old})
    assert metadata.of(made).contract == ftk.InputContract(value_range=(0.0, 255.0))


# --- Real data -------------------------------------------------------------------------------


def zipped(path: Path, count: int, size: int = 96) -> np.ndarray:
    """Every n-th image of a zip file, resized."""
    from PIL import Image

    with zipfile.ZipFile(path) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg") and "label" not in n)
        found = [
            Image.open(io.BytesIO(file.read(name))).convert("RGB").resize((size, size))
            for name in names[:: max(1, len(names) // count)][:count]
        ]
    return np.stack([np.asarray(image) for image in found])


@pytest.mark.real
@pytest.mark.parametrize("name", ["grocery10", "bccd", "camvid11"])
def test_real_pictures(model: keras.Model, data_folder: Path, name: str) -> None:
    x = zipped(data_folder / "data" / name / f"{name}.zip", 96)
    for start in range(0, 96, 16):
        batch = x[start : start + 16].astype("float32")
        assert check_batch(model, batch) == ()
        (found,) = check_batch(model, batch / 255)
        assert "takes raw pixels" in found
        # Streets and blood cells have too little colour for the order to be told.
        swapped = check_batch(model, batch[..., ::-1])
        assert bool(swapped) == (name == "grocery10")


@pytest.mark.real
def test_a_model_of_2017_tells_how_its_faces_were_scaled(data_folder: Path) -> None:
    import skimage.data

    path = data_folder / "models" / "fer2013_mini_XCEPTION.102-0.66.hdf5"
    faces = skimage.data.lfw_subset()[:32].repeat(3, axis=1).repeat(3, axis=2)[:, :64, :64, None]
    old = keras.models.load_model(path, compile=False)
    assert check_batch(old, faces * 2 - 1) == ()
    (found,) = check_batch(old, faces * 255)
    assert "`x / 255 * 2 - 1` would fit" in found


@pytest.mark.real
def test_real_sentences(data_folder: Path) -> None:
    rows = (data_folder / "data/sst2/train.tsv").read_text("utf-8").splitlines()[1:65]
    words = {word: n + 1 for n, word in enumerate(sorted({w for row in rows for w in row.split()}))}
    ids = np.zeros((len(rows), 12), "int32")
    for number, row in enumerate(rows):
        found = [words[word] % 500 for word in row.split()[:12]]
        ids[number, : len(found)] = found
    assert check_batch(token_model(), ids, labels(len(ids))) == ()
    with pytest.raises(ValueError, match="token ids of 0 to 499"):
        check_batch(token_model(), ids + 30_000)
