"""Are whole branches dropped, sample by sample, at rising rates, and nothing in prediction?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import graph
from models import L, labels, small_backbone


def residual(blocks: int = 3, project: bool = False) -> keras.Model:
    inputs = x = keras.Input((8, 8, 4), name="image")
    for number in range(blocks):
        y = L.Conv2D(4, 3, padding="same", activation="relu", name=f"a{number}")(x)
        y = L.Conv2D(4, 3, padding="same", name=f"b{number}")(y)
        shortcut = L.Conv2D(4, 1, name=f"s{number}")(x) if project else x
        x = L.Add(name=f"add{number}")([y, shortcut] if number % 2 else [shortcut, y])
    return keras.Model(inputs, L.GlobalAveragePooling2D()(x), name="residual")


def images(count: int = 400) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 8, 8, 4)).astype("float32")


def dropouts(model: keras.Model) -> list[keras.layers.Dropout]:
    found = [p.layer for p in graph.walk(model) if isinstance(p.layer, L.Dropout)]
    return [layer for layer in found if layer.noise_shape is not None]


@pytest.mark.parametrize("project", [False, True], ids=["identity", "projection"])
def test_the_last_block_is_skipped_by_its_share_of_the_samples(project: bool) -> None:
    """Reference: by hand, a sample's output is one of two, with the branch scaled up or absent."""
    model = residual(1, project)
    new = ftk.inject_stochastic_depth(model, 0.3, seed=1)
    x = images()
    np.testing.assert_array_equal(new.predict(x, verbose=0), model.predict(x, verbose=0))
    inner = {name: model.get_layer(name) for name in ("a0", "b0")}
    branch = inner["b0"](inner["a0"](x))
    shortcut = model.get_layer("s0")(x) if project else x
    mean = keras.ops.mean
    skipped = np.array(mean(keras.ops.convert_to_tensor(shortcut), axis=(1, 2)))
    whole = np.array(mean(shortcut + branch / 0.7, axis=(1, 2)))
    found = np.array(new(x, training=True))
    is_skipped = np.isclose(found, skipped, atol=1e-4).all(axis=1)
    is_whole = np.isclose(found, whole, atol=1e-4).all(axis=1)
    assert (is_skipped ^ is_whole).all()
    assert 0.2 < is_skipped.mean() < 0.4


def test_rates_rise_linearly_and_the_branch_is_found_on_either_side() -> None:
    new = ftk.inject_stochastic_depth(residual(3), 0.3)
    found = {layer.name: layer.rate for layer in dropouts(new)}
    assert found == pytest.approx({"b0_depth": 0.1, "b1_depth": 0.2, "b2_depth": 0.3})


@pytest.mark.slow
def test_through_a_head_and_training_and_a_file(tmp_path) -> None:
    model = ftk.compile_for_task(ftk.add_head(residual(), "binary"))
    new = ftk.inject_stochastic_depth(model, 0.5)
    assert len(dropouts(new)) == 3
    x = images(32)
    ftk.fit(new, x, labels(), verbose=0)
    np.testing.assert_array_equal(new.predict(x, verbose=0), model.predict(x, verbose=0))
    loaded = keras.saving.load_model(ftk.save(new, tmp_path / "model.keras"))
    np.testing.assert_allclose(loaded.predict(x, verbose=0), new.predict(x, verbose=0), rtol=1e-6)


def test_real_architectures_have_their_blocks_found() -> None:
    mobile = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35)
    assert len(dropouts(ftk.inject_stochastic_depth(mobile, 0.1))) == 10
    resnet = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
    names = [layer.name for layer in dropouts(ftk.inject_stochastic_depth(resnet, 0.1))]
    assert len(names) == 16
    assert all(name.endswith("_3_bn_depth") for name in names)


def test_what_has_none_is_told() -> None:
    with pytest.raises(ValueError, match="no `Add` layer that adds a shortcut"):
        ftk.inject_stochastic_depth(small_backbone(), 0.1)
    with pytest.raises(ValueError, match="Their additions are: 'add0'"):
        ftk.inject_stochastic_depth(residual(1), 0.1, layers="a0")
    with pytest.raises(ValueError, match="left out at random already: 'add0'"):
        ftk.inject_stochastic_depth(ftk.inject_stochastic_depth(residual(1), 0.1), 0.1)
    with pytest.raises(ValueError, match="`rate` must be a number in"):
        ftk.inject_stochastic_depth(residual(1), 1.0)
