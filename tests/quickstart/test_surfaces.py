"""Are the crops the ones that the quickstart speaks of, and do the two parts stay apart?"""

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage

from finetunekit.quickstart import surfaces
from finetunekit.quickstart.surfaces import SURFACES, crop, load_surfaces, read_grey

INSTALL = r'pip install "finetunekit\[quickstart\]"'


def test_shapes_and_balanced_labels() -> None:
    examples = load_surfaces(train=3, test=5)
    assert (examples.x_train.shape, examples.x_train.dtype) == ((30, 96, 96, 3), "uint8")
    assert (examples.x_test.shape, examples.x_test.dtype) == ((50, 96, 96, 3), "uint8")
    assert np.bincount(examples.y_train).tolist() == [3] * 10
    assert np.bincount(examples.y_test).tolist() == [5] * 10
    assert examples.class_names == SURFACES


def test_the_crops_are_grey() -> None:
    x = load_surfaces(train=1, test=1).x_train
    assert (x == x[..., :1]).all()


def test_the_seed_decides() -> None:
    first, again, other = (load_surfaces(train=1, test=1, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.x_train, again.x_train)
    assert np.array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_train, other.x_train)


@pytest.mark.parametrize("width", [256, 301], ids=["even", "odd"])
def test_each_part_sees_its_own_half_alone(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.random.default_rng(0).integers(0, 256, (80, width // 2)).astype("float32")
    flat = np.full((80, width - width // 2), 100, "float32")
    for noisy_left in (True, False):
        photo = np.hstack([half, flat] if noisy_left else [np.full_like(half, 100), flat + 0])
        if not noisy_left:
            photo[:, width // 2 :] = np.random.default_rng(1).integers(0, 256, flat.shape)
        monkeypatch.setattr(surfaces, "read_grey", lambda name, photo=photo: photo)
        examples = load_surfaces(train=20, test=20)
        noisy, plain = examples.x_train, examples.x_test
        if not noisy_left:
            noisy, plain = plain, noisy
        assert (noisy.std(axis=(1, 2, 3)) > 10).all()
        assert not plain.std(axis=(1, 2, 3)).any()


def test_brightness_and_contrast_stay_in_their_ranges() -> None:
    random = np.random.default_rng(0)
    flat = np.full((70, 70), 128, "float32")
    means = [crop(flat, random).mean() for _ in range(200)]
    assert 98 <= min(means) < 103
    assert 153 < max(means) <= 158
    stripes = 128 + np.repeat(np.tile([-20, 20], (64, 2)), 16, axis=1).astype("float32")
    ranges = [int(np.ptp(crop(stripes, random))) for _ in range(200)]
    assert 0.6 * 40 - 1 <= min(ranges) < 27
    assert 53 < max(ranges) <= 1.4 * 40 + 1


def test_crops_are_turned_in_all_four_directions() -> None:
    edge = np.zeros((64, 64), "float32")
    edge[:32] = 200
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        x = crop(edge, random).astype(int)
        middle = len(x) // 2
        seen.add((np.sign(x[0, middle] - x[-1, middle]), np.sign(x[middle, 0] - x[middle, -1])))
    assert seen == {(1, 0), (-1, 0), (0, 1), (0, -1)}


@pytest.mark.parametrize("name", SURFACES)
def test_every_photograph_is_in_the_wheel(name: str) -> None:
    photo = read_grey(name)
    assert photo.dtype == "float32"
    assert 0 <= photo.min() < photo.max() <= 255.5
    assert photo.shape[0] >= surfaces.CROP
    assert photo.shape[1] // 2 >= surfaces.CROP


def test_a_photograph_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(FileNotFoundError, match=r"no photograph 'moon'.*pip install"):
        read_grey("moon")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ImportError, match=INSTALL):
        load_surfaces()


@pytest.mark.parametrize("name", ["train", "test"])
def test_no_crops_are_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1. Received: {name}=0"):
        load_surfaces(**{name: 0})
