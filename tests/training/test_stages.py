"""Do stages train what they say, with one optimizer and one history?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models import freezing, rate_multipliers
from models import images, labels, same, small_backbone, tiny_backbone, values
from parameters import often

L = keras.layers
Stage = ftk.Stage


def built(
    optimizer: Any = None, backbone: Callable[[], keras.Model] = tiny_backbone
) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = ftk.add_head(backbone(), "binary")
    optimizer = optimizer or keras.optimizers.Adam(1e-3)
    return ftk.compile_for_task(model, optimizer=optimizer, metrics=["accuracy"])


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {str(number): array for number, array in enumerate(model.get_weights())}


OPTIONS: dict[str, Any] = {"batch_size": 8, "seed": 3, "verbose": 0}


def moved(before: dict[str, np.ndarray], model: keras.Model) -> set[str]:
    found = {n for n, v in values(model).items() if not np.array_equal(before[n], v)}
    return {name.split(":")[1].split("/")[-2] for name in found}


def test_each_stage_moves_what_it_says_and_nothing_else() -> None:
    model = built(keras.optimizers.SGD(1e-3), small_backbone)
    before = values(model)
    ftk.fit_in_stages(model, images(), labels(), stages=[Stage(trainable="head")], **OPTIONS)
    head = moved(before, model)
    before = values(model)
    stages = [Stage(trainable=["head", "features"])]
    ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    assert moved(before, model) == head | {"features"}
    before = values(model)
    stages = [Stage(trainable=".*")]
    ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    assert moved(before, model) == head | {"features", "conv1", "conv2"}
    before = values(model)
    stages = [Stage(trainable=".*", batch_norm=True, epochs=2)]
    ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    assert moved(before, model) >= {"bn1", "bn2"}


def test_batch_norm_trains_if_it_is_asked_for() -> None:
    inputs = keras.Input((16, 16, 3))
    backbone = small_backbone()
    x = L.BatchNormalization(name="new_norm")(backbone(inputs))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid", name="out")(x))
    freezing.train_only(model, ["new_norm", "out"], batch_norm=True)
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {"new_norm", "out"}
    freezing.train_only(model, ["new_norm", "out"])
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {"out"}


@pytest.mark.parametrize("cached", often([False, True], (True,)))
def test_two_stages_of_one_kind_are_one_run_bit_for_bit(cached: bool) -> None:
    part: Any = "head" if cached else ".*"
    whole, parts = built(), built()
    for model in (whole, parts):
        freezing.train_only(model, part)
    found = ftk.fit(whole, images(), labels(), epochs=3, **OPTIONS)
    stages = [
        Stage(trainable=part, epochs=1, learning_rate=1e-3),
        Stage(trainable=part, epochs=2, learning_rate=None),
    ]
    joined = ftk.fit_in_stages(parts, images(), labels(), stages=stages, **OPTIONS)
    assert same(weights(whole), weights(parts))
    assert joined.history == found.history
    assert joined.epoch == [0, 1, 2]
    assert joined.stages == [("stage 1", 0), ("stage 2", 1)]


def test_late_variables_step_as_under_an_optimizer_of_their_own() -> None:
    """Adam's own steps would be up to six times too large."""
    random = np.random.default_rng(0)
    shared, fresh = (keras.optimizers.Adam(1e-2) for _ in range(2))
    early, late, reference, uncorrected = (keras.Variable(np.zeros(4)) for _ in range(4))
    shared.build([early, late, uncorrected])
    fresh.build([reference])
    step = tf.function(lambda gradients: shared.apply(tf.unstack(gradients)))
    for _ in range(300):
        step(np.float32([random.normal(size=4), np.zeros(4), np.zeros(4)]))
    rate_multipliers.warm_up(shared, [late], 1)
    step = tf.function(lambda gradients: shared.apply(tf.unstack(gradients)))
    worst = 0.0
    for _ in range(100):
        gradient = 1 + random.normal(size=4)
        before = [v.numpy() for v in (reference, uncorrected)]
        step(np.float32([gradient] * 3))
        fresh.apply([gradient])
        np.testing.assert_allclose(late, reference, rtol=1e-3, atol=1e-6)
        own, plain = (v.numpy() - b for v, b in zip((reference, uncorrected), before, strict=True))
        worst = max(worst, float(np.abs(plain).max() / max(1e-9, np.abs(own).max())))
    assert worst > 3, "else there would be nothing to correct"


def test_late_variables_rise_to_their_rate() -> None:
    optimizer = keras.optimizers.SGD(1.0)
    old, late = keras.Variable(0.0), keras.Variable(0.0)
    optimizer.build([old, late])
    optimizer.apply([np.float32(1)] * 2)
    rate_multipliers.warm_up(optimizer, [late], 4)
    for expected in (0.25, 0.75, 1.5, 2.5, 3.5):
        optimizer.apply([np.float32(-1)] * 2)
        assert float(late) == pytest.approx(-1 + expected)


def test_moments_are_kept_by_variable_through_stages() -> None:
    """What trains, rests and trains again goes on with its moments and is not late."""
    model = built(keras.optimizers.SGD(1e-2, momentum=0.9))
    stages = [
        Stage(trainable=["head", "features"], learning_rate=None),
        Stage(trainable="head", learning_rate=None),
        Stage(trainable=["head", "features"], learning_rate=None),
    ]
    ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    found = rate_multipliers.of(model.optimizer)
    assert found is None or not found.warming
    stages = [Stage(trainable=".*", learning_rate=None)]
    ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    assert (
        len(rate_multipliers.of(model.optimizer).warming) == 2
    )  # Kernel and bias of the convolution.


def test_rates_schedules_and_decay_are_those_of_the_stage() -> None:
    model = built()
    rates: list[float] = []

    class Notes(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate))

    stages = [
        Stage(trainable="head", epochs=2, schedule="linear"),
        Stage(trainable=["head", "features"], learning_rate=5e-4, layer_decay=0.5),
        Stage(trainable=".*", callbacks=[Notes()]),
    ]
    found = ftk.fit_in_stages(
        model, images(), labels(), stages=stages, callbacks=[Notes()], **OPTIONS
    )
    assert rates == pytest.approx([1e-3, 5e-4, 1e-5, 1e-5])
    logged = found.history["learning_rate"]
    assert logged[0] > logged[1] > 0
    assert logged[2:] == [None, None]
    rows = ftk.learning_rates(model)
    assert rows["tiny/conv1"] < 2e-5, "late, with young moments, and no decay by layer"
    assert rows["tiny/features"] == pytest.approx(1e-5, rel=0.05), (
        "the decay was that of stage 2 alone"
    )


def test_a_stage_that_stops_early_is_followed_at_once() -> None:
    model = built()
    stop = keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
    stages = [Stage(trainable="head", epochs=9), Stage(trainable=".*", epochs=2)]
    found = ftk.fit_in_stages(
        model, images(), labels(), stages=stages, callbacks=[stop], validation_split=0.25, **OPTIONS
    )
    assert found.epoch == list(range(len(found.epoch)))
    assert found.stages[1] == ("stage 2", found.epoch[found.stages[1][1]])
    assert found.stages[1][1] < 9


def test_a_stage_may_say_its_length_as_it_begins() -> None:
    """From what the stage before has shown, here its number of epochs."""
    model, seen = built(), keras.callbacks.History()
    stages = [
        Stage(trainable="head", epochs=2, callbacks=[seen]),
        Stage(trainable=".*", epochs=lambda: len(seen.epoch) + 1, schedule="cosine"),
    ]
    found = ftk.fit_in_stages(model, images(), labels(), stages=stages, **OPTIONS)
    assert found.epoch == [0, 1, 2, 3, 4]
    assert found.stages == [("stage 1", 0), ("stage 2", 2)]
    assert 0 < found.history["learning_rate"][-1] < 1e-6, "the cosine ends with the stage"


def test_gradual_unfreezing_adds_a_block_at_a_time() -> None:
    model = built(backbone=small_backbone)
    sizes = []
    for stage in ftk.gradual_unfreezing(model):
        freezing.train_only(model, stage.trainable)
        sizes.append(len(model.trainable_variables))
    assert sizes == [2, 4, 6, 8]  # Kernel and bias of a block more.
    stages = ftk.gradual_unfreezing(model, most=2, last_epochs=7)
    assert [(stage.name, stage.epochs) for stage in stages] == [("last 1", 1), ("all", 7)]
    found = ftk.head_then_top_then_all(model, top=0.3)
    for stage, count in zip(found, (2, 4, 8), strict=True):
        freezing.train_only(model, stage.trainable)
        assert len(model.trainable_variables) == count


def test_wrong_uses_are_named_before_anything_changes() -> None:
    model = built(backbone=small_backbone)
    before, flags = values(model), [v.trainable for v in model.weights]
    for stages, options, words in (
        ([], {}, "`stages` must be a list of `Stage`"),
        (["head"], {}, "`stages` must be a list of `Stage`"),
        ([Stage()], {"epochs": 3}, "`epochs` is said by each stage"),
        ([Stage(trainable="head"), Stage(trainable="haed")], {}, "`trainable"),
        ([Stage(trainable="pool")], {}, "`trainable` matches no layer with weights"),
        ([Stage(trainable="bn1")], {}, "BatchNormalization stays frozen"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            ftk.fit_in_stages(model, images(), labels(), stages=stages, **options)
    with pytest.raises(ValueError, match="`most` must be at least 2"):
        ftk.gradual_unfreezing(model, most=1)
    with pytest.raises(ValueError, match="`top` must be a number in"):
        ftk.head_then_top_then_all(model, top=2)
    assert same(before, values(model))
    assert flags == [v.trainable for v in model.weights]
