"""Does the range test put everything back, and is its suggestion of use?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models import rate_multipliers
from finetunekit.training import range_test
from models import images, labels, tiny_backbone

L = keras.layers
# The others take half a minute.
BY_DEFAULT = {("cached", True)}


def built(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone()
    if kind == "cached":
        ftk.freeze_layers(backbone)
    model = ftk.add_head(backbone, "binary", hidden_units=[8], dropout=0.3)
    optimizer: Any = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
    if kind == "layerwise":
        ftk.layerwise_optimizer(model, optimizer, layer_decay=0.5)
    if kind == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0)
    return ftk.compile_for_task(model, optimizer=optimizer)


def state(model: keras.Model) -> list[np.ndarray]:
    held = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(v)) for v in held]


@pytest.mark.parametrize(
    ("kind", "trained"),
    [
        pytest.param(
            kind,
            trained,
            id=f"{kind}-{'trained' if trained else 'new'}",
            marks=[] if (kind, trained) in BY_DEFAULT else pytest.mark.slow,
        )
        for kind in ("plain", "cached", "layerwise", "scaled")
        for trained in (False, True)
    ],
)
def test_everything_is_as_it_was(kind: str, trained: bool) -> None:
    """The run that follows is that of a model that never saw a range test, bit for bit."""
    finished = []
    for tested in (True, False):
        model = built(kind)
        if trained:
            ftk.fit(model, images(16), labels(16), batch_size=4, seed=1, verbose=0)
        random.seed(5)
        np.random.seed(5)
        before, optimizer = state(model), model.optimizer
        if tested:
            ftk.find_learning_rate(model, images(16), labels(16), steps=20, batch_size=4)
        assert model.optimizer is optimizer
        assert (
            rate_multipliers.of(optimizer) is None
            or rate_multipliers.of(optimizer).schedule is None
        )
        after = state(model)
        assert len(before) == len(after)
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        history = ftk.fit(model, images(16), labels(16), batch_size=4, epochs=2, verbose=0)
        finished.append((state(model), history.history, random.random(), np.random.random()))
    for one, other in zip(finished[0][0], finished[1][0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert finished[0][1:] == finished[1][1:]


class Shuffling(keras.utils.PyDataset):
    """Shuffles itself at the end of each epoch, as Keras' documentation shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.order = np.arange(16)
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[4 * index : 4 * index + 4]
        return images(16)[rows], labels(16)[rows]

    def on_epoch_end(self) -> None:
        self.random.shuffle(self.order)


def test_a_dataset_that_shuffles_itself_keeps_its_order() -> None:
    data, model = Shuffling(), built("plain")
    found = ftk.find_learning_rate(model, data, steps=20)
    assert len(found.rates) > 4
    np.testing.assert_array_equal(data.order, np.arange(16))


def test_pipelines_and_few_batches() -> None:
    data = tf.data.Dataset.from_tensor_slices((images(16), labels(16))).batch(4)
    found = ftk.find_learning_rate(built("cached"), data, steps=30, verbose=0)
    assert np.isfinite(found.losses).all()


def test_an_error_puts_everything_back_too() -> None:
    model = built("plain")
    before = state(model)

    class Breaks(Shuffling):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise RuntimeError("unreadable")
            return super().__getitem__(index)

    with pytest.raises(Exception, match="unreadable"):
        ftk.find_learning_rate(model, Breaks(), steps=20)
    for one, other in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_loss_is_that_of_its_batch_at_its_rate() -> None:
    """Against a loop by hand: plain SGD on one weight."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    y = x @ np.array([[1.0], [-2.0]], "float32")
    kernel = model.get_weights()[0].astype("float64")
    found = ftk.find_learning_rate(model, x, y, low=1e-3, high=1e-1, steps=20, batch_size=8, seed=0)
    for rate, loss in zip(np.geomspace(1e-3, 1e-1, 20), found.losses, strict=True):
        error = x @ kernel - y
        assert loss == pytest.approx(float((error**2).mean()), rel=1e-4)
        kernel -= rate * 2 * x.T @ error / 8


def test_the_suggestion_follows_the_rule_and_can_be_plotted(tmp_path: Path) -> None:
    found = ftk.find_learning_rate(built("plain"), images(16), labels(16), steps=40, batch_size=16)
    start, least = np.median(found.losses[: len(found.losses) // 10]), found.smoothed.argmin()
    after = found.rates[: least + 1][
        found.smoothed[: least + 1] <= (start + found.smoothed[least]) / 2
    ]
    assert found.suggestion == after[0]
    assert found.rates[0] < found.suggestion <= found.rates[least]
    figure = found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    assert figure.axes[0].get_xscale() == "log"
    assert f"learning rate {found.suggestion:.2g}" in str(found)


def test_wrong_uses_are_named() -> None:
    model = built("plain")
    before = state(model)
    for options, words in (
        ({"low": 1.0, "high": 0.1}, "`low` must be above 0 and below `high`"),
        ({"low": "1"}, "`low` must be a rate"),
        ({"steps": 5}, "`steps` must be an int of at least 20"),
        ({"epochs": 3}, "`epochs` means nothing in a range test"),
        ({"validation_split": 0.2}, "`validation_split` means nothing"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            ftk.find_learning_rate(model, images(8), labels(8), **options)
    with pytest.raises(ValueError, match="not compiled"):
        ftk.find_learning_rate(tiny_backbone(), images(8), labels(8))
    broken = images(8) * np.inf
    with pytest.raises(ValueError, match="`x`"):
        ftk.find_learning_rate(model, broken, labels(8))
    for one, other in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(one, other)


def curve_of(losses: np.ndarray) -> range_test.RateCurve:
    return range_test._curve(np.geomspace(1e-6, 1.0, len(losses)), losses)


@pytest.mark.parametrize("steps", [40, 100])
def test_noise_suggests_no_rate(steps: int) -> None:
    random = np.random.default_rng(0)
    noises = [
        *(random.normal(0.7, 0.1, steps) for _ in range(100)),
        *(random.lognormal(0.0, 0.5, steps) for _ in range(100)),
        *(np.tile(random.normal(0.7, 0.1, 4), steps // 4) for _ in range(100)),
    ]
    assert sum(curve_of(noise).half_way is not None for noise in noises) <= 6
    rising = np.linspace(0.7, 3.0, steps)
    for losses in (np.full(steps, 0.7), rising, np.r_[noises[0][:5], np.nan]):
        assert curve_of(losses).half_way is None


@pytest.mark.parametrize("steps", [20, 40, 100])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1])
def test_a_real_fall_is_found_where_it_is(steps: int, noise: float) -> None:
    """Down by 0.6 around 1e-3, up again beyond 1e-1; 1e-3 is half-way but for the smoothing."""
    random = np.random.default_rng(1)
    exponents = np.linspace(-6, 0, steps)
    for _ in range(50):
        losses = 0.7 - 0.6 / (1 + np.exp(-3 * (exponents + 3))) + 4.0 * (exponents > -0.5)
        found = curve_of(losses + random.normal(0, noise, steps))
        assert 10**-3.5 < found.suggestion < 10**-1


def test_a_curve_without_a_fall_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(2)
    model = keras.Sequential([keras.Input((3,)), L.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")
    x, y = random.normal(size=(1280, 3)).astype("float32"), random.integers(0, 2, (1280, 1))
    found = ftk.find_learning_rate(model, x, y, steps=40, high=1e-1, verbose=0)
    assert "no clear fall" in str(found)
    assert "no clear fall" in caplog.text
    with pytest.raises(ValueError, match="no clear fall"):
        print(found.suggestion)
    assert found.losses.shape == (40,)
    found.plot(tmp_path / "rates.png")
