"""Do frozen layers stand still to the last bit, unfrozen ones move, and all else stay as it is?"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import freezing
from models import L, Subclassed, images, labels, same, small_backbone, tiny_backbone, values
from parameters import often


def tuned_model(task: str = "binary") -> keras.Model:
    model = ftk.add_head(small_backbone(), task)
    optimizer = keras.optimizers.SGD(1e-2)
    return ftk.compile_for_task(model, optimizer=optimizer, metrics=["accuracy"])


def train(model: keras.Model, epochs: int = 1) -> None:
    model.fit(images(), labels(), epochs=epochs, verbose=0)


def moved(model: keras.Model, before: dict[str, np.ndarray]) -> set[str]:
    """The layers of the backbone or head whose own weights differ from before."""
    now = values(model)
    return {
        key.split(":")[1].split("/")[-2]
        for key in before
        if not np.array_equal(before[key], now[key])
    }


def test_a_frozen_backbone_stands_still_statistics_included() -> None:
    model = ftk.add_head(ftk.freeze_layers(small_backbone()), "binary")
    ftk.compile_for_task(model)
    before = values(model.get_layer("small"))
    head = values(model.get_layer("head"))
    ftk.fit(model, images(), labels(), epochs=3, verbose=0)
    assert same(before, values(model.get_layer("small")))
    assert not same(head, values(model.get_layer("head")))


def test_batch_norm_stays_frozen_when_the_rest_is_thawed() -> None:
    model = tuned_model()
    ftk.freeze_layers(model, "backbone")
    train(model)
    ftk.unfreeze_layers(model)
    before = values(model)
    train(model, epochs=3)
    assert moved(model, before) == {"conv1", "conv2", "features", "dense"}


def test_batch_norm_thaws_when_asked() -> None:
    model = tuned_model()
    ftk.freeze_layers(model, "backbone")
    ftk.unfreeze_layers(model, batch_norm=True)
    before = values(model)
    train(model, epochs=2)
    assert {"bn1", "bn2"} <= moved(model, before)


def test_a_batch_norm_that_was_never_frozen_goes_on_training() -> None:
    model = tuned_model()
    ftk.freeze_layers(model, "conv1")
    ftk.unfreeze_layers(model, "conv1")
    assert model.get_layer("small").get_layer("bn1").trainable


def test_thawing_a_part_reaches_through_frozen_containers() -> None:
    model = tuned_model()
    model.get_layer("small").trainable = False
    ftk.unfreeze_layers(model, "backbone/conv2")
    before = values(model)
    train(model)
    assert moved(model, before) == {"conv2", "dense"}
    assert [v.path for v in model.get_layer("small").trainable_variables] == [
        "conv2/kernel",
        "conv2/bias",
    ]


def test_freezing_after_compile_and_fit_takes_effect() -> None:
    model = tuned_model()
    train(model)
    ftk.freeze_layers(model, "conv1")
    before = values(model)
    train(model)
    assert "conv1" not in moved(model, before)
    assert "conv2" in moved(model, before)


def test_freezing_the_backbone_reaches_the_compiled_model_around_it() -> None:
    model = tuned_model()
    train(model)
    ftk.freeze_layers(model.get_layer("small"))
    before = values(model)
    train(model)
    assert moved(model, before) == {"dense"}


def test_subclassed_models() -> None:
    model = Subclassed()
    model(images(2))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    ftk.freeze_layers(model, ["inner", "block0"])
    before = values(model)
    model.fit(images(), labels(), verbose=0)
    now = values(model)
    assert {key.split(":")[1] for key in now if not np.array_equal(now[key], before[key])} == {
        "subclassed/block1/kernel",
        "subclassed/block1/bias",
        "subclassed/last/kernel",
        "subclassed/last/bias",
    }


def slots(model: keras.Model) -> dict[str, np.ndarray]:
    """The optimizer's variables by path."""
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in model.optimizer.variables}


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(1e-2),
    "AdamW": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
    "SGD": lambda: keras.optimizers.SGD(1e-2, momentum=0.9),
    "amsgrad": lambda: keras.optimizers.Adam(1e-2, amsgrad=True),
    "Nadam": lambda: keras.optimizers.Nadam(1e-2),
    "Adafactor": lambda: keras.optimizers.Adafactor(1e-2),
    "EMA": lambda: keras.optimizers.Adam(1e-2, use_ema=True),
    "accumulation": lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
}


@pytest.mark.parametrize("name", often(OPTIMIZERS, ("Adam", "scaled")))
def test_the_optimizer_keeps_its_state(name: str) -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    ftk.compile_for_task(model, optimizer=OPTIMIZERS[name]())
    train(model, epochs=2)
    handle, before, state = model.optimizer, values(model), slots(model)

    # Freeze and thaw without a step change nothing.
    ftk.freeze_layers(model, "backbone")
    ftk.unfreeze_layers(model, "backbone", batch_norm=True)
    assert model.optimizer is handle
    assert same(before, values(model))
    pairs = zip(state.values(), slots(model).values(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)

    # Moments of what stays trainable survive, and training goes on with the right variables.
    ftk.freeze_layers(model, "backbone")
    ftk.unfreeze_layers(model, "features")
    kept = {key: value for key, value in slots(model).items() if "head" in key or "iter" in key}
    assert len(kept) > 1
    assert all(np.array_equal(state[key], value) for key, value in kept.items())
    train(model, epochs=2)
    assert moved(model, before) == {"features", "dense"}


@pytest.mark.parametrize("name", often(["Adam", "EMA", "scaled"], ("Adam",)))
def test_the_state_of_a_partly_frozen_model_survives_save_and_load(
    name: str, tmp_path: Path
) -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    ftk.compile_for_task(model, optimizer=OPTIMIZERS[name]())
    train(model)
    ftk.freeze_layers(model, "backbone")
    loaded = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    state = [np.array(keras.ops.convert_to_numpy(v)) for v in model.optimizer.variables]
    found = [np.array(keras.ops.convert_to_numpy(v)) for v in loaded.optimizer.variables]
    assert len(state) == len(found)
    assert all(np.array_equal(a, b) for a, b in zip(state, found, strict=True))


def test_thawed_weights_start_their_average_at_their_own_value() -> None:
    model = ftk.add_head(ftk.freeze_layers(tiny_backbone()), "binary")
    ftk.compile_for_task(model, optimizer=keras.optimizers.SGD(0.0, use_ema=True))
    train(model, epochs=2)
    ftk.unfreeze_layers(model, "features")
    before = values(model)
    train(model)
    assert all(np.allclose(before[key], value, atol=1e-6) for key, value in values(model).items())


def test_an_optimizer_of_several_is_refused_before_anything_changes() -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.Adam(1e-3))
    )
    model.compile(several, "binary_crossentropy")
    train(model)
    with pytest.raises(ValueError, match="compile again"):
        ftk.freeze_layers(model, "backbone")
    assert model.get_layer("tiny").trainable

    # Nor is it fitted to flags that were set by hand.
    ftk.fit(model, images(), labels(), verbose=0)
    model.get_layer("tiny").trainable = False
    with pytest.raises(ValueError, match="compile again"):
        ftk.fit(model, images(), labels(), verbose=0)


def test_variables_frozen_one_by_one_survive_freeze_and_thaw() -> None:
    model = small_backbone()
    bias = model.get_layer("conv1").bias
    bias.trainable = False
    ftk.freeze_layers(model)
    ftk.unfreeze_layers(model)
    assert not bias.trainable
    assert model.get_layer("conv1").kernel.trainable


@pytest.mark.parametrize("freeze_first", [True, False])
def test_thawing_a_lora_layer_keeps_its_base_frozen(freeze_first: bool) -> None:
    model = keras.Sequential([keras.Input((8,)), L.Dense(6, name="a"), L.Dense(1, name="b")])
    layer = model.get_layer("a")
    if freeze_first:
        ftk.freeze_layers(model, "a")
    layer.enable_lora(2)
    if not freeze_first:
        ftk.freeze_layers(model, "a")
    ftk.unfreeze_layers(model, "a")
    names = [variable.name for variable in layer.trainable_variables]
    assert sorted(names) == ["bias", "lora_kernel_a", "lora_kernel_b"]


def test_variables_frozen_one_by_one_survive_save_and_load(tmp_path: Path) -> None:
    model = ftk.add_head(tiny_backbone(), "binary")
    for layer in (model.get_layer("tiny").get_layer("conv1"), model.get_layer("head").layers[0]):
        layer.bias.trainable = False
    ftk.freeze_layers(model, "conv1")
    loaded = ftk.load(ftk.save(model, tmp_path / "model.keras"))
    assert not loaded.get_layer("head").layers[0].bias.trainable
    ftk.unfreeze_layers(loaded)
    assert not loaded.get_layer("tiny").get_layer("conv1").bias.trainable
    assert loaded.get_layer("tiny").get_layer("conv1").kernel.trainable


def test_the_summary_counts() -> None:
    model = ftk.add_head(small_backbone(), "binary")
    ftk.freeze_layers(model, "backbone")
    model.get_layer("head").layers[0].bias.trainable = False
    summary = ftk.trainable_summary(model)
    assert [(r.path, r.type, r.parameters, r.trainable) for r in summary.rows] == [
        ("small/conv1", "Conv2D", 112, 0),
        ("small/bn1", "BatchNormalization", 16, 0),
        ("small/conv2", "Conv2D", 296, 0),
        ("small/bn2", "BatchNormalization", 32, 0),
        ("small/features", "Dense", 72, 0),
        ("head/dense", "Dense", 9, 8),
    ]
    assert (summary.parameters, summary.trainable) == (537, 8)
    assert "8 of 537 parameters train (1.5%)" in str(summary)


class TestFrozenGuard:
    def test_counts_weights_and_statistics(self) -> None:
        model = ftk.add_head(ftk.freeze_layers(small_backbone()), "binary")
        ftk.compile_for_task(model)
        guard = ftk.callbacks.FrozenGuard()
        model.fit(images(), labels(), verbose=0, callbacks=[guard])
        assert guard.guarded == 4 + 8 + 2

    def test_raises_when_layers_were_frozen_after_compile(self) -> None:
        model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(1)])
        model.compile("adam", "mse")
        x, y = np.ones((8, 4)), np.ones((8, 1))
        model.fit(x, y, verbose=0)
        model.get_layer("a").trainable = False
        with pytest.raises(RuntimeError, match="'a/kernel', 'a/bias'"):
            model.fit(x, y, verbose=0, callbacks=[ftk.callbacks.FrozenGuard()])

    def test_raises_when_statistics_of_an_inner_batch_norm_move(self) -> None:
        model = tuned_model()
        ftk.freeze_layers(model, "backbone")
        # What `backbone.trainable = False` hides: the flag of the inner layer is what counts.
        model.get_layer("small").get_layer("bn2").trainable = True
        model.get_layer("small")._trainable = False
        with pytest.raises(RuntimeError, match="bn2/moving_mean"):
            model.fit(images(), labels(), verbose=0, callbacks=[ftk.callbacks.FrozenGuard()])

    def test_does_not_watch_what_may_move(self) -> None:
        model = tuned_model()
        assert freezing.frozen_weights(model) == {}
