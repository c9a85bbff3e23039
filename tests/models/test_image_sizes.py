"""Does a model know the size of the images that it was tuned on, and say when it gets another?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models import image_sizes, metadata

L = keras.layers
TUNED = ftk.InputContract(value_range=(0.0, 255.0), tuned_size=(12, 10))
RANDOM = np.random.default_rng(0)


def images(height: int, width: int, count: int = 8) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, height, width, 3)).astype("uint8")


def model_of(*shape: int | None, spatial: bool = False) -> keras.Model:
    inputs = keras.Input(shape)
    x = L.Conv2D(2, 3, padding="same")(L.Rescaling(1 / 255)(inputs))
    x = L.Conv2D(1, 1)(x) if spatial else L.Dense(1, "sigmoid")(L.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x, name="net")


def tuned(**options: Any) -> keras.Model:
    model = model_of(None, None, 3, **options)
    metadata.remember(model, contract=TUNED)
    ftk.compile_for_task(model, "binary", learning_rate=1e-3)
    return model


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "finetunekit")
    return caplog


def warned(log: pytest.LogCaptureFixture) -> list[str]:
    found = [record.message for record in log.records if "pixels" in record.message]
    log.clear()
    return found


def with_contract(model: keras.Model, **known: Any) -> keras.Model:
    metadata.remember(model, contract=ftk.InputContract(**known))
    return model


def around(model: keras.Model) -> keras.Model:
    """A model that somebody built around one of ours."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, L.Dense(1)(model(inputs)))


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: model_of(8, 6, 3), (8, 6)),
        (lambda: with_contract(model_of(8, 6, 3), size=(9, 9), tuned_size=(7, 7)), (8, 6)),
        (lambda: with_contract(model_of(None, None, 3), size=(9, 7)), (9, 7)),
        (lambda: with_contract(model_of(None, 6, 3), size=(9, 7)), (9, 7)),
        (lambda: with_contract(model_of(None, None, 3), size=(9, 7), tuned_size=(5, 4)), (5, 4)),
        (lambda: with_contract(model_of(None, None, 3)), (224, 224)),
        (lambda: model_of(None, None, 3), (224, 224)),
        (lambda: keras.Sequential([L.Flatten()]), (224, 224)),
        (lambda: around(with_contract(model_of(None, None, 3), tuned_size=(5, 4))), (5, 4)),
    ],
)
def test_the_size_that_a_model_expects(make: Any, wanted: tuple[int, int]) -> None:
    assert image_sizes.expected(make()) == wanted


def test_a_model_of_no_images_has_no_size() -> None:
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match=r"does not take one input of images.*\[\(None, 4\)\]"):
        image_sizes.expected(keras.Model(inputs, L.Dense(1)(inputs)))


def test_fit_remembers_the_size_and_the_file_does(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """From `fit` to the file, and a warning in each verb that gets another size."""
    model = model_of(None, None, 3)
    ftk.compile_for_task(model, "binary", learning_rate=1e-3)
    y = np.arange(8) % 2
    ftk.fit(model, images(12, 10), y, epochs=1, verbose=0)
    assert not warned(log)
    opened = ftk.load(ftk.save(model, tmp_path / "tuned.keras", verbose=0))
    for one in (model, opened):
        contract = ftk.input_contract(one)
        assert contract is not None
        assert contract.tuned_size == (12, 10)
        # What is known of the pixels is not lost beside it.
        assert contract.value_range == (0.0, 255.0)
        assert image_sizes.expected(one) == (12, 10)
        assert ftk.check_batch(one, images(12, 10), y, verbose=0) == ()
        (finding,) = ftk.check_batch(one, images(9, 10), y, verbose=0)
        assert finding.startswith("`x` holds images of 9x10 pixels, but 'net' was tuned on 12x10")
        assert "Resizing(12, 10, crop_to_aspect_ratio=True, antialias=True)(x)" in finding
        ftk.predict(one, images(12, 10))
        assert not warned(log)
        ftk.predict(one, images(9, 10))
        assert warned(log) == [finding]


def test_fit_on_another_size_says_so_and_goes_on(log: pytest.LogCaptureFixture) -> None:
    model, y = tuned(), np.arange(8) % 2
    ftk.fit(model, images(16, 16), y, epochs=1, verbose=0, validation_split=0.25)
    (found,) = warned(log)
    assert "16x16 pixels, but 'net' was tuned on 12x10" in found
    ftk.fit(model, images(16, 16), y, epochs=1, verbose=0)
    assert not warned(log)


class Batches(keras.utils.PyDataset):
    """Two batches."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return images(16, 16, 4), np.arange(4) % 2


def dataset(height: int, width: int) -> Any:
    data = tf.data.Dataset.from_tensor_slices((images(height, width), np.arange(8) % 2))
    return data.batch(4)


@pytest.mark.parametrize("make", [lambda: dataset(16, 16), Batches])
def test_pipelines_are_compared_too(make: Any, log: pytest.LogCaptureFixture) -> None:
    model = tuned()
    ftk.fit(model, make(), epochs=1, verbose=0)
    (found,) = warned(log)
    assert "16x16 pixels, but 'net' was tuned on 12x10" in found
    assert image_sizes.expected(model) == (16, 16)
    assert ftk.check_batch(model, make(), verbose=0) == ()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "validation", [lambda: (images(9, 9), np.arange(8) % 2), lambda: dataset(9, 9)]
)
def test_validation_on_another_size_is_said(
    validation: Any, known: bool, log: pytest.LogCaptureFixture
) -> None:
    model = tuned() if known else model_of(None, None, 3)
    ftk.compile_for_task(model, "binary", learning_rate=1e-3)
    data = (images(12, 10), np.arange(8) % 2)
    ftk.plan_fit(model, *data, validation_data=validation(), verbose=0)
    (found,) = warned(log)
    assert "`validation_data` holds images of 9x9 pixels, and 'net' trains on 12x10" in found
    ftk.plan_fit(model, *data, validation_data=data, verbose=0)
    assert not warned(log)


def test_planning_remembers_nothing() -> None:
    model = tuned()
    ftk.plan_fit(model, images(16, 16), np.arange(8) % 2, verbose=0)
    assert image_sizes.expected(model) == (12, 10)


def test_sizes_that_may_differ_are_not_warned_of() -> None:
    """A model that labels pixels, one of a fixed size, one that resizes, and spectrograms."""
    assert image_sizes.doubt(tuned(spatial=True), (1, 9, 9, 3)) is None
    fixed = with_contract(model_of(9, 9, 3), tuned_size=(12, 10))
    assert image_sizes.doubt(fixed, (1, 9, 9, 3)) is None
    spectrograms = with_contract(model_of(None, None, 1), tuned_size=(12, 10))
    assert image_sizes.doubt(spectrograms, (1, 9, 9, 1)) is None
    assert image_sizes.to_remember(model_of(None, None, 3), (4, 9, 8, 3)) == (9, 8)
    assert image_sizes.to_remember(model_of(None, None, 3), (4, None, None, 3)) is None
    resizes = keras.Sequential([keras.Input((None, None, 3)), L.Resizing(4, 4), L.Flatten()])
    assert image_sizes.to_remember(resizes, (4, 9, 8, 3)) is None


def test_a_head_on_a_tuned_model_keeps_the_size() -> None:
    model = ftk.add_head(with_contract(model_of(None, None, 3), tuned_size=(12, 10)), "binary")
    assert image_sizes.expected(model) == (12, 10)
    assert image_sizes.doubt(model, (1, 12, 10, 3)) is None
    assert image_sizes.doubt(model, (1, 10, 12, 3)) is not None
