"""Does the rate rise and fall as the formulas say, and can others still change it?"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import rate_multipliers
from models import images, labels, same, tiny_backbone
from parameters import often

Schedule = ftk.callbacks.Schedule


def built(optimizer: Any, *, frozen: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone()
    model = ftk.add_head(ftk.freeze_layers(backbone) if frozen else backbone, "binary")
    model.compile(optimizer, "binary_crossentropy")
    return model


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {str(number): array for number, array in enumerate(model.get_weights())}


def formula(shape: str, step: int, total: int, warmup: int) -> float:
    """Each as its paper or its best known code writes it."""
    down = (step - warmup) / (total - warmup)
    if shape == "one_cycle":
        start, end, share = (1 / 25, 1, step / warmup) if step < warmup else (1, 1e-5, down)
        return start + (1 + math.cos(math.pi * (1 - share))) * (end - start) / 2
    if shape == "slanted_triangular":
        cut = warmup
        share = step / cut if step < cut else 1 - (step - cut) / (cut * (total / warmup - 1))
        return (1 + share * (32 - 1)) / 32
    if step < warmup:
        return (step + 1) / warmup
    return {"constant": 1.0, "linear": 1 - down, "cosine": (1 + math.cos(math.pi * down)) / 2}[
        shape
    ]


@pytest.mark.parametrize(
    ("shape", "share"),
    [
        ("constant", 0.1),
        ("linear", 0.1),
        ("cosine", 0.1),
        ("one_cycle", 0.25),
        ("slanted_triangular", 0.1),
    ],
)
def test_the_shapes_are_the_formulas(shape: str, share: float) -> None:
    expected = [formula(shape, step, 200, round(200 * share)) for step in range(200)]
    found = Schedule(shape).factors(200)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found.min() > 0, "a step that does nothing is a batch for nothing"
    assert found.argmax() in (round(200 * share) - 1, round(200 * share))


def test_keras_agrees_on_the_cosine() -> None:
    theirs = keras.optimizers.schedules.CosineDecay(1.0, 50)
    ours = Schedule("cosine", warmup=0).factors(50)
    np.testing.assert_allclose(ours, [float(theirs(step)) for step in range(50)], atol=1e-6)


class ByUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """Keras' cosine over 12 batches, by updates: Keras itself counts accumulated batches."""

    def __init__(self, accumulated: int) -> None:
        self._each = accumulated
        self._cosine = keras.optimizers.schedules.CosineDecay(1e-2, 12 // accumulated)

    def __call__(self, step: Any) -> Any:
        return self._cosine(step // self._each)

    def get_config(self) -> dict[str, Any]:
        return {"accumulated": self._each}


@pytest.mark.parametrize("accumulated", often([None, 2], (2,)))
@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_is_that_of_a_keras_schedule(frozen: bool, accumulated: int | None) -> None:
    every = {"gradient_accumulation_steps": accumulated, "momentum": 0.9, "weight_decay": 0.1}
    kept = ByUpdate(accumulated or 1)
    expected = built(keras.optimizers.SGD(kept, **every), frozen=frozen)
    model = built(keras.optimizers.SGD(1e-2, **every), frozen=frozen)
    options = {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0}
    ftk.fit(expected, images(16), labels(16), **options)
    ours = Schedule("cosine", warmup=0)
    ftk.fit(model, images(16), labels(16), callbacks=[ours], **options)
    pairs = zip(model.get_weights(), expected.get_weights(), strict=True)
    assert all(np.allclose(one, other, rtol=1e-4, atol=1e-5) for one, other in pairs)
    assert float(model.optimizer.learning_rate) == np.float32(1e-2)


def test_a_run_in_two_parts_is_one_run() -> None:
    options = {"batch_size": 4, "seed": 1, "verbose": 0}
    whole, parts = (built(keras.optimizers.Adam(1e-2)) for _ in range(2))
    ftk.fit(whole, images(8), labels(8), epochs=4, callbacks=[Schedule("linear")], **options)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    ftk.fit(
        parts, images(8), labels(8), epochs=4, callbacks=[Schedule("linear"), Stop()], **options
    )
    ftk.fit(
        parts,
        images(8),
        labels(8),
        epochs=4,
        initial_epoch=2,
        callbacks=[Schedule("linear")],
        **options,
    )
    assert same(weights(whole), weights(parts))


def test_callbacks_scale_it_and_the_logs_show_the_product() -> None:
    model = built(keras.optimizers.SGD(1.0))
    halving = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    schedule = Schedule("linear", warmup=0)
    history = ftk.fit(
        model,
        images(8),
        labels(8),
        epochs=2,
        batch_size=4,
        callbacks=[halving, schedule],
        verbose=0,
    )
    assert history.history["learning_rate"] == pytest.approx([0.5 * 0.75, 0.25 * 0.25])
    assert float(model.optimizer.learning_rate) == 0.25
    assert rate_multipliers.of(model.optimizer).schedule is None


def test_it_ends_with_the_fit_even_if_that_fails() -> None:
    model = built(keras.optimizers.SGD(1e-2))

    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ftk.fit(model, images(8), labels(8), callbacks=[Schedule(), Fails()], verbose=0)
    assert rate_multipliers.of(model.optimizer).schedule is None
    before = model.get_weights()
    model.optimizer.learning_rate = 0.0
    ftk.fit(model, images(8), labels(8), verbose=0)
    trained = {id(v) for v in model.trainable_variables}
    kept = [id(v) in trained for v in model.weights]
    pairs = zip(before, model.get_weights(), kept, strict=True)
    assert all(np.array_equal(one, other) for one, other, same_ in pairs if same_)


def test_rates_by_layer_go_along() -> None:
    results = []
    for rates in ({".*": 0.5}, None):
        rate = 2e-2 if rates else 1e-2
        model = built(keras.optimizers.SGD(rate))
        if rates:
            ftk.layerwise_optimizer(model, model.optimizer, rates=rates)
        options = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0}
        model.fit(images(8), labels(8), callbacks=[Schedule("one_cycle")], **options)
        results.append(weights(model))
    assert same(*results)


def test_wrong_uses_are_named() -> None:
    model = built(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-2, 5)))
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"has a schedule as its rate already.*`Schedule`"):
        ftk.fit(model, images(8), labels(8), callbacks=[Schedule()], verbose=0)
    model.compile(keras.optimizers.SGD(1e-2), "binary_crossentropy")
    with pytest.raises(ValueError, match=r"Give `steps_per_epoch`"):
        model.fit(
            (pair for pair in [(images(4), labels(4))]),
            shuffle=False,
            callbacks=[Schedule()],
            verbose=0,
        )
    with pytest.raises(ValueError, match="`first_epoch` must lie before the last epoch"):
        ftk.fit(model, images(8), labels(8), callbacks=[Schedule(first_epoch=1)], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    for options, words in (
        ({"shape": "cosin"}, "Did you mean 'cosine'"),
        ({"warmup": 1.5}, "share of the steps below 1"),
        ({"warmup": -1}, "share of the steps below 1"),
        ({"warmup": "0.1"}, "share of the steps below 1"),
        ({"first_epoch": -1}, "must be at least 0"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            Schedule(**options)
