"""Are averaged weights the formula, chosen by the validation data, with statistics that fit?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from models import images, labels, same, small_backbone, small_sequential, values


def tuned_model(
    seed: int = 0,
    *,
    epochs: int = 2,
    batch_norm: bool = False,
    backbone: Callable[[], keras.Model] = small_sequential,
) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(backbone(), "binary")
    if not batch_norm:
        ftk.freeze_layers(model, "bn.*")
    ftk.compile_for_task(model, learning_rate=3e-3)
    if epochs:
        ftk.fit(model, images(), labels(), epochs=epochs, verbose=0, seed=seed, batch_size=8)
    return model


def held_out() -> tuple[np.ndarray, np.ndarray]:
    return images(16, seed=7), labels(16)


@pytest.mark.parametrize(
    "alpha", [0.3, *(pytest.param(a, marks=pytest.mark.slow) for a in (0.0, 1.0))]
)
def test_a_number_is_the_formula_and_changes_neither_model(alpha: float) -> None:
    start, tuned = tuned_model(epochs=0), tuned_model()
    before = values(start), values(tuned)
    model, report = ftk.interpolate(start, tuned, alpha)
    for a, b, found in zip(start.weights, tuned.weights, model.weights, strict=True):
        expected = (1 - alpha) * np.float64(a) + alpha * np.float64(b)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert same(before[0], values(start))
    assert same(before[1], values(tuned))
    assert report.rows == ()
    assert model.compiled
    assert ftk.predict(model, images(2))[0].label in (0, 1, "0", "1")


def test_a_start_of_a_backbone_leaves_the_head_as_it_was_tuned() -> None:
    tuned = tuned_model()
    backbone = small_sequential()
    model, _ = ftk.interpolate(backbone, tuned, 0.0)
    head, own = model.get_layer("head"), tuned.get_layer("head")
    for one, other in zip(head.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    inner = model.get_layer("chain").get_weights()
    for one, other in zip(inner, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_best_on_the_validation_data_is_taken() -> None:
    """Reference: each of the eleven, evaluated by hand."""
    start, tuned = tuned_model(epochs=0), tuned_model(epochs=4)
    model, report = ftk.interpolate(start, tuned, validation_data=held_out())
    worth = []
    for number in range(11):
        one, _ = ftk.interpolate(start, tuned, number / 10)
        logs = one.evaluate(*held_out(), verbose=0, return_dict=True)
        worth.append((logs["auc"], -logs["loss"]))
    np.testing.assert_allclose([r.score for r in report.rows], [w[0] for w in worth], rtol=1e-5)
    best = max(range(11), key=lambda i: worth[i])
    assert report.rows[best].kept
    logs = model.evaluate(*held_out(), verbose=0, return_dict=True)
    assert (logs["auc"], -logs["loss"]) == pytest.approx(worth[best], rel=1e-5)
    assert report.metric == "auc"
    assert f"* alpha {best / 10:g}" in str(report)


def test_statistics_are_estimated_anew_where_they_have_trained() -> None:
    """Reference: the mean over batches of what each layer gets, by hand for the first."""
    start = tuned_model(epochs=0, backbone=small_backbone)
    tuned = tuned_model(batch_norm=True, backbone=small_backbone)
    with pytest.raises(ValueError, match=r"2 BatchNormalization layers have trained.*x=x_train"):
        ftk.interpolate(start, tuned, 0.5)
    x = images(24, seed=3)
    before = values(tuned)
    model, report = ftk.interpolate(start, tuned, 0.5, x=x, batch_size=8)
    assert report.estimated == 2
    conv, norm = (model.get_layer("small").get_layer(name) for name in ("conv1", "bn1"))
    seen = [np.array(conv(x[i : i + 8])) for i in (0, 8, 16)]
    mean = np.mean([part.mean(axis=(0, 1, 2)) for part in seen], axis=0)
    variance = np.mean([part.var(axis=(0, 1, 2)) for part in seen], axis=0)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)
    assert norm.momentum == 0.99
    assert "call" not in vars(norm)
    assert same(before, values(tuned))


class TestSoup:
    @pytest.mark.slow
    def test_the_mean_of_those_that_help(self) -> None:
        """Reference: the greedy rule by hand."""
        models = [tuned_model(seed, epochs=3) for seed in range(3)]
        soup, report = ftk.greedy_soup(models, validation_data=held_out())

        def worth(weights: list[np.ndarray]) -> tuple[float, float]:
            judge = tuned_model(epochs=0)
            judge.set_weights(weights)
            logs = judge.evaluate(*held_out(), verbose=0, return_dict=True)
            return logs["auc"], -logs["loss"]

        def mean(chosen: list[int]) -> list[np.ndarray]:
            parts = zip(*(models[i].get_weights() for i in chosen), strict=True)
            return [np.mean(np.float64(part), axis=0).astype("float32") for part in parts]

        alone = [worth(mean([i])) for i in range(3)]
        order = sorted(range(3), key=lambda i: alone[i], reverse=True)
        kept, best = order[:1], alone[order[0]]
        for number in order[1:]:
            found = worth(mean([*kept, number]))
            if found[0] >= best[0]:
                kept, best = [*kept, number], found
        assert [row.kept for row in report.rows[:-1]] == [i in kept for i in range(3)]
        for one, other in zip(soup.get_weights(), mean(kept), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
        assert report.rows[-1].score == pytest.approx(best[0], rel=1e-5)
        assert report.rows[-1].score >= max(a[0] for a in alone) - 1e-6

    def test_a_model_that_would_spoil_it_is_left_out(self) -> None:
        good, bad = tuned_model(epochs=0), tuned_model(epochs=0)
        y = labels(32)
        x = images(32) * np.where(y, 1.0, 0.2)[:, None, None, None]
        ftk.fit(good, x, y, epochs=20, verbose=0, seed=0, batch_size=8)
        head = bad.get_layer("head")
        trained = good.get_layer("head").get_weights()
        head.set_weights([-50 * w for w in trained])
        soup, report = ftk.greedy_soup([bad, good], validation_data=(x, y))
        assert report.rows[0].score < report.rows[1].score
        assert [row.kept for row in report.rows[:-1]] == [False, True]
        for one, other in zip(soup.get_weights(), good.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_what_makes_no_soup_is_told(self) -> None:
        model = tuned_model(epochs=0)
        with pytest.raises(TypeError, match="at least two"):
            ftk.greedy_soup([model], validation_data=held_out())
        other = ftk.add_head(small_sequential(), "multiclass", 3)
        with pytest.raises(ValueError, match="`models` must be a model of the same layers"):
            ftk.greedy_soup([model, other], validation_data=held_out())
        with pytest.raises(ValueError, match="`validation_data` is missing"):
            ftk.greedy_soup([model, model], validation_data=None)
        with pytest.raises(ValueError, match="`alpha` must be"):
            ftk.interpolate(model, model, 1.5)
        with pytest.raises(ValueError, match="`validation_data` is missing"):
            ftk.interpolate(model, model)


class Doubling(keras.layers.Layer):
    """A layer that no registry knows."""

    def call(self, inputs: object) -> object:
        return inputs * 2


def test_layers_of_ones_own_are_copied(tmp_path: Path) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1)(Doubling()(x)))
    copy, _ = ftk.interpolate(model, model, 0.5)
    data = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(copy.predict(data, verbose=0), model.predict(data, verbose=0))
