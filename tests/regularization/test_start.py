"""Is L2-SP the formula, for the pretrained layers alone, gone from files and there again after?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import L, images, labels, small_backbone, tiny_backbone, values


def tuned_model(backbone: Callable[[], keras.Model] = tiny_backbone) -> keras.Model:
    model = ftk.add_head(backbone(), "binary", hidden_units=[4])
    ftk.compile_for_task(model, learning_rate=1e-2)
    return model


def moved(model: keras.Model, start: keras.Model) -> float:
    """The sum of squared differences of the backbone's kernels, by hand."""
    pairs = zip(model.get_layer(start.name).weights, start.weights, strict=True)
    return sum(
        float(np.sum((a.numpy() - b.numpy()) ** 2)) for a, b in pairs if a.path.endswith("kernel")
    )


def test_the_formula_on_a_trained_model() -> None:
    keras.utils.set_random_seed(0)
    model = tuned_model()
    start = tiny_backbone()
    start.set_weights(model.get_layer("tiny").get_weights())
    ftk.inject_regularizer(model, l2_sp=0.5)
    assert len(model.losses) == 2
    assert float(sum(model.losses)) == 0.0
    ftk.fit(model, images(), labels(), epochs=3, verbose=0, seed=0)
    assert moved(model, start) > 1e-3
    assert float(sum(model.losses)) == pytest.approx(0.5 * moved(model, start), rel=1e-5)


@pytest.mark.slow
def test_a_strong_pull_keeps_the_backbone_where_it_was() -> None:
    distances = []
    for strength in (None, 10.0):
        keras.utils.set_random_seed(0)
        model = tuned_model(small_backbone)
        start = small_backbone()
        start.set_weights(model.get_layer("small").get_weights())
        if strength:
            ftk.inject_regularizer(model, l2_sp=strength)
        ftk.fit(model, images(), labels(), epochs=5, verbose=0, seed=0)
        distances.append(moved(model, start))
    assert distances[1] < distances[0] / 10


def test_in_a_cached_fit_it_counts_too() -> None:
    """The tail that trains on features has the penalty in its loss."""
    histories = []
    for cache in (True, False):
        keras.utils.set_random_seed(0)
        model = tuned_model()
        ftk.freeze_layers(model, "tiny/conv1")
        ftk.inject_regularizer(model, l2_sp=1.0)
        found = ftk.fit(
            model, images(), labels(), epochs=3, verbose=0, seed=0, cache=cache, engine="keras"
        )
        histories.append(found.history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-5)


def test_the_head_gets_the_plain_penalty() -> None:
    model = tuned_model()
    ftk.inject_regularizer(model, l2_sp=1.0, l2=0.1)
    head = [v for v in model.get_layer("head").weights if v.name == "kernel"]
    expected = 0.1 * sum(float(keras.ops.sum(v**2)) for v in head)
    assert len(head) == 2
    assert len(model.losses) == 4
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_no_file_holds_it_and_it_is_put_back_on_the_loaded_model(tmp_path: Path) -> None:
    model = tuned_model()
    start = tiny_backbone("other_name")
    start.set_weights(model.get_layer("tiny").get_weights())
    ftk.inject_regularizer(model, l2_sp=1.0)
    ftk.fit(model, images(), labels(), verbose=0, seed=0)
    penalty = float(sum(model.losses))
    loaded = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    assert loaded.losses == []
    ftk.inject_regularizer(loaded, l2_sp=1.0, start=start)
    assert float(sum(loaded.losses)) == pytest.approx(penalty, rel=1e-5)


def test_attention_layers_are_pulled_and_nothing_stays_in_their_config() -> None:
    x = keras.Input((4, 6))
    model = keras.Model(x, L.Dense(1, name="out")(L.MultiHeadAttention(2, 3, name="a")(x, x)))
    config = model.get_config()
    ftk.inject_regularizer(model, l2_sp=1.0, l2=0.1)
    assert len(model.losses) == 5
    assert float(sum(model.losses)) == 0.0
    assert model.get_config() == config


def test_takes_the_place_of_l2_and_is_taken_out() -> None:
    model = tuned_model()
    before = values(model)
    config = model.get_config()
    ftk.inject_regularizer(model, l2=0.1)
    ftk.inject_regularizer(model, l2_sp=1.0, layers="backbone")
    assert float(sum(model.losses[:2])) == 0.0
    assert model.get_layer("tiny").get_layer("conv1").kernel_regularizer is None
    ftk.remove_regularizer(model)
    assert model.losses == []
    assert model.get_config() == config
    assert before.keys() == values(model).keys()


def test_a_start_of_other_layers_is_told_by_what_differs() -> None:
    model = tuned_model()
    x = keras.Input((16, 16, 3))
    other = keras.Model(x, L.Conv2D(5, 3, name="wider")(x))
    with pytest.raises(ValueError, match=r"`start` must be a model of the same layers.*wider"):
        ftk.inject_regularizer(model, l2_sp=1.0, start=other)
    with pytest.raises(TypeError, match="`start` must be a built Keras model"):
        ftk.inject_regularizer(model, l2_sp=1.0, start="pretrained")
    with pytest.raises(ValueError, match="give its strength"):
        ftk.inject_regularizer(model, l2=1.0, start=model)
    with pytest.raises(ValueError, match="use `l2` for it"):
        ftk.inject_regularizer(model, l2_sp=1.0, layers="head")
    assert model.losses == []
