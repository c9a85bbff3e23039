"""Does each verb know which axis counts the channels, from the layers and not from the setting?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.backbones import applications
from finetunekit.data import image_files
from finetunekit.models import data_formats, image_sizes, metadata
from models import L

FIRST, LAST = "channels_first", "channels_last"


@pytest.fixture
def set_to_first() -> Iterator[None]:
    keras.config.set_image_data_format(FIRST)
    yield
    keras.config.set_image_data_format(LAST)


def net(data_format: str, size: tuple[Any, Any] = (32, 40)) -> keras.Model:
    """Equal weights in both formats."""
    keras.utils.set_random_seed(0)
    first = data_format == FIRST
    inputs = keras.Input((3, *size) if first else (*size, 3), name="image")
    x = L.Conv2D(4, 3, strides=2, data_format=data_format, name="conv")(
        L.Rescaling(1 / 255)(inputs)
    )
    x = L.BatchNormalization(1 if first else 3, name="bn")(x)
    x = L.MaxPooling2D(data_format=data_format, name="pool")(x)
    x = L.Conv2D(6, 3, data_format=data_format, name="last")(x)
    return keras.Model(inputs, x, name="net")


def images(count: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 40, 3)).astype("float32")


def turned(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def nested(model: keras.Model) -> keras.Model:
    return keras.Sequential([keras.Input(model.input_shape[1:]), L.Dropout(0.1), model])


def moved(model: keras.Model) -> keras.Model:
    """Channels first outside, channels last inside."""
    inputs = keras.Input((3, 32, 40))
    return keras.Model(inputs, model(L.Permute((2, 3, 1))(inputs)))


def moved_by_operations(model: keras.Model) -> keras.Model:
    inputs = keras.Input((3, 32, 40))
    x = model(keras.ops.transpose(inputs, (0, 2, 3, 1)))
    x = keras.ops.swapaxes(keras.ops.swapaxes(x, 1, 3), 2, -1)
    return keras.Model(inputs, keras.ops.moveaxis(keras.ops.moveaxis(x, 1, -1), -1, 1))


def of_operations() -> keras.Model:
    inputs = keras.Input((3, 32, 40))
    return keras.Model(inputs, keras.ops.max_pool(inputs, 2, data_format=FIRST))


def video() -> keras.Model:
    inputs = keras.Input((3, 5, 8, 9))
    return keras.Model(inputs, L.ConvLSTM2D(7, 3, data_format=FIRST)(inputs))


def video_by_image() -> keras.Model:
    inputs = keras.Input((3, 5, 8, 9))
    return keras.Model(inputs, L.TimeDistributed(L.Conv2D(7, 3, data_format=FIRST))(inputs))


def sequence() -> keras.Model:
    inputs = keras.Input((5, 20))
    return keras.Model(inputs, L.Conv1D(7, 3, data_format=FIRST)(inputs))


@pytest.mark.parametrize(
    ("make", "taken", "features"),
    [
        (lambda: net(LAST), LAST, 6),
        (lambda: net(FIRST), FIRST, 6),
        (lambda: nested(net(FIRST)), FIRST, 6),
        (lambda: moved(net(LAST)), FIRST, 6),
        (lambda: moved_by_operations(net(LAST)), FIRST, 6),
        (of_operations, FIRST, 3),
        (video, LAST, 7),
        (video_by_image, LAST, 7),
        (sequence, FIRST, 7),
    ],
)
def test_features_are_pooled_over_all_axes_but_the_channels(
    make: Any, taken: str, features: int
) -> None:
    backbone = make()
    model = ftk.add_head(backbone, "binary")
    assert metadata.of(model).head.input_shape == (None, features)
    assert data_formats.of_input(backbone) == taken


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten", None])
def test_both_formats_give_the_same(pooling: str | None) -> None:
    found = []
    for data_format, x in ((LAST, images()), (FIRST, turned(images()))):
        backbone = net(data_format)
        keras.utils.set_random_seed(1)
        model = ftk.add_head(backbone, "multiclass", 3, pooling=pooling)
        found.append(keras.ops.convert_to_numpy(model(x)))
    assert found[0].std() > 1e-4
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_tokens_of_a_sequence_whose_channels_come_first() -> None:
    backbone = sequence()
    x = np.random.default_rng(0).normal(size=(2, 5, 20)).astype("float32")
    whole = keras.ops.convert_to_numpy(backbone(x))
    for pooling, wanted in (("first", whole[:, :, 0]), ("last", whole[:, :, -1])):
        model = ftk.add_head(backbone, "binary", pooling=pooling)
        head = metadata.of(model).head
        np.testing.assert_allclose(model(x), head(wanted), rtol=1e-6)


def test_the_contract_has_the_sides_of_the_image() -> None:
    chain = keras.Sequential([keras.Input((3, 32, 40)), L.Conv2D(16, 3, data_format=FIRST)])
    for model in (chain, net(FIRST), moved(net(LAST))):
        contract = ftk.input_contract(model)
        assert contract is not None
        assert contract.size == (32, 40)
        assert image_sizes.channels(model) == 3


def test_scaling_by_channel_is_read_along_the_channels() -> None:
    mean, std = np.array([10.0, 20, 30]), np.array([64.0, 65, 66])
    inputs = keras.Input((3, 32, 40))
    scaled = L.Normalization(1, mean=mean, variance=std**2)(inputs[:, ::-1])
    contract = ftk.input_contract(keras.Model(inputs, L.Conv2D(2, 3, data_format=FIRST)(scaled)))
    assert contract is not None
    assert contract.value_range == (0.0, 255.0)
    assert contract.mean is not None
    np.testing.assert_allclose(contract.mean, mean[::-1])
    # Upside down is not the other order of channels.
    flipped = inputs[..., ::-1]
    contract = ftk.input_contract(keras.Model(inputs, L.Conv2D(2, 3, data_format=FIRST)(flipped)))
    assert contract is not None
    assert contract.value_range is None


def test_levels_of_features_are_found_along_the_sides() -> None:
    # With 40 channels, which fall to 2, the wrong axis would give other strides.
    inputs = keras.Input((40, None, None))
    x = L.Conv2D(2, 3, strides=2, padding="same", data_format=FIRST, name="a")(inputs)
    x = L.MaxPooling2D(data_format=FIRST, name="b")(x)
    x = L.AveragePooling2D(2, data_format=LAST, name="c")(L.Permute((2, 3, 1), name="permute")(x))
    model = ftk.backbone_features(keras.Model(inputs, x), levels=3)
    assert list(model.output) == ["a", "permute", "c"]


def test_statistics_are_compared_along_the_channels() -> None:
    """Images in the range 0 to 1, and with red and blue swapped, are found in both formats."""
    random = np.random.default_rng(0)
    colours = np.array([200.0, 120, 40]) + random.normal(0, 30, (32, 12, 10, 3))
    x = np.clip(colours, 0, 255).astype("float32")
    found = []
    for data_format, fed in ((LAST, x), (FIRST, turned(x))):
        first = data_format == FIRST
        inputs = keras.Input((3, 12, 10) if first else (12, 10, 3))
        conv = L.Conv2D(6, 1, data_format=data_format, kernel_initializer="glorot_normal")
        norm = L.BatchNormalization(1 if first else 3)
        keras.utils.set_random_seed(0)
        model = keras.Model(inputs, norm(conv(inputs)), name="net")
        kernel = keras.ops.convert_to_numpy(conv.kernel)[0, 0]
        made = x.reshape(-1, 3) @ kernel
        norm.set_weights([np.ones(6), np.zeros(6), made.mean(0), made.var(0)])
        swapped = fed[:, ::-1] if first else fed[..., ::-1]
        found.append(
            [ftk.check_batch(model, batch, verbose=0) for batch in (fed, swapped, fed / 255)]
        )
    assert [len(rows) for rows in found[0]] == [0, 1, 1]
    other = [rows[0].replace("pixels[:, ::-1]", "pixels[..., ::-1]") for rows in found[1][1:]]
    assert other == [rows[0] for rows in found[0][1:]]
    assert "pixels[:, ::-1]" in found[1][1][0]


@pytest.mark.slow
def test_fit_on_a_frozen_backbone_gives_the_same() -> None:
    losses = []
    for data_format, x in ((LAST, images(16)), (FIRST, turned(images(16)))):
        backbone = ftk.freeze_layers(net(data_format))
        keras.utils.set_random_seed(1)
        model = ftk.add_head(backbone, "binary")
        ftk.compile_for_task(model, learning_rate=1e-2)
        history = ftk.fit(model, x, np.arange(16) % 2, epochs=2, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_image_files_are_fed_as_the_model_takes_them() -> None:
    x = np.arange(2 * 4 * 5 * 3, dtype="uint8").reshape(2, 4, 5, 3)
    np.testing.assert_array_equal(image_files.as_fed(x, net(FIRST)), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(image_files.as_fed(x, net(LAST)), x)


def test_advice_names_the_right_axis() -> None:
    model = ftk.add_head(net(FIRST, (None, None)), "binary")
    with pytest.raises(ValueError, match=r"channels first: `np.moveaxis\(x, -1, 1\)`"):
        ftk.predict(model, images())
    fixed = ftk.add_head(net(FIRST), "binary")
    with pytest.raises(ValueError, match=r"Resizing\(32, 40, .*data_format='channels_first'\)"):
        ftk.predict(fixed, turned(images())[:, :, :30])
    with pytest.raises(ValueError, match="`data_format='channels_first'`"):
        ftk.add_head(net(FIRST), "binary", augmentation=L.RandomFlip())
    ftk.add_head(net(FIRST), "binary", augmentation=L.RandomFlip(data_format=FIRST))


def test_a_head_alone_is_told_the_format() -> None:
    head = ftk.build_head((8, None, None), "binary", data_format=FIRST)
    assert head.layers[0].output.shape == (None, 8)
    with pytest.raises(ValueError, match="its first entry"):
        ftk.build_head((None, 4, 8), "binary", data_format=FIRST)
    with pytest.raises(ValueError, match="`data_format` must be"):
        ftk.build_head((8,), "binary", data_format="first")


@pytest.mark.parametrize("how", ["tf", "torch", "caffe"])
def test_preprocessing_under_the_other_setting(how: str, set_to_first: None) -> None:
    found = applications.preprocess(turned(images()), how)
    keras.config.set_image_data_format(LAST)
    wanted = keras.ops.convert_to_numpy(applications.preprocess(images(), how))
    np.testing.assert_array_equal(np.moveaxis(found, 1, -1), wanted)


def test_layers_that_have_no_say_leave_it_to_the_setting(set_to_first: None) -> None:
    inputs = keras.Input((3, 32, 40))
    model = keras.Model(inputs, L.Rescaling(2.0)(inputs))
    assert data_formats.of_input(model) == FIRST
    assert data_formats.output_layouts(model).channel_axis() == 1
    # The setting is about images.
    tokens = keras.Input((7, 5))
    head = metadata.of(ftk.add_head(keras.Model(tokens, L.ReLU()(tokens)), "binary")).head
    assert head.input_shape == (None, 5)
    assert data_formats.of_input(net(LAST)) == LAST
