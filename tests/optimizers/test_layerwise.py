"""Does each layer learn at its own rate, for every optimizer, bit for bit?"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.optimizers import depth
from models import images, labels, same, small_backbone, small_sequential, values
from parameters import often

optimizers = keras.optimizers
SCHEDULE = optimizers.schedules.ExponentialDecay(2e-3, 2, 0.5)
HALF_SCHEDULE = optimizers.schedules.ExponentialDecay(1e-3, 2, 0.5)


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    """By number: what Keras names layers by depends on how many there were before."""
    return {str(number): array for number, array in enumerate(model.get_weights())}


def built(optimizer: Any, seed: int = 0) -> keras.Model:
    """A backbone with a head, compiled."""
    keras.utils.set_random_seed(seed)
    model = ftk.add_head(small_sequential(), "binary")
    model.compile(optimizer(model), "binary_crossentropy")
    return model


def trained(optimizer: Callable[[keras.Model], Any], steps: int = 6) -> keras.Model:
    model = built(optimizer)
    model.fit(images(8), labels(8), epochs=steps, batch_size=8, shuffle=False, verbose=0)
    return model


ALL = {
    "sgd": lambda r, **o: optimizers.SGD(r, momentum=0.9, **o),
    "adam": lambda r, **o: optimizers.Adam(r, **o),
    "lion": lambda r, **o: optimizers.Lion(r, **o),
    "adafactor": lambda r, **o: optimizers.Adafactor(r, **o),
    "nadam": lambda r, **o: optimizers.Nadam(r, **o),
    "rmsprop": lambda r, **o: optimizers.RMSprop(r, **o),
    "adamw": lambda r, **o: optimizers.AdamW(r, weight_decay=0.1, **o),
    "adamw with a schedule": lambda r, **o: optimizers.AdamW(
        SCHEDULE if r == 2e-3 else HALF_SCHEDULE, weight_decay=0.1, **o
    ),
    "muon": lambda r, **o: optimizers.Muon(
        r, exclude_layers=["head"], weight_decay=0.1, adam_weight_decay=0.1, **o
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averages": {"use_ema": True, "ema_overwrite_frequency": 2},
    "accumulated": {"gradient_accumulation_steps": 2},
}


# The other pairs take two minutes.
CASES = list(itertools.product(ALL, OPTIONS))
BY_DEFAULT = (("sgd", "plain"), ("adamw with a schedule", "accumulated"))


@pytest.mark.parametrize(("name", "options"), often(CASES, BY_DEFAULT))
def test_half_everywhere_is_half_the_rate_bit_for_bit(name: str, options: str) -> None:
    make, more = ALL[name], OPTIONS[options]
    expected = trained(lambda model: make(1e-3, **more))

    def halved(model: keras.Model) -> Any:
        return ftk.layerwise_optimizer(model, make(2e-3, **more), rates={".*": 0.5}, decay_all=True)

    found = trained(halved)
    if name == "rmsprop":  # TensorFlow multiplies in another order there.
        pairs = zip(found.get_weights(), expected.get_weights(), strict=True)
        assert all(np.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in pairs)
    else:
        assert same(weights(found), weights(expected))
    assert not same(weights(found), weights(built(lambda model: make(1e-3))))


@pytest.mark.parametrize(("name", "options"), often(CASES, BY_DEFAULT[1:]))
def test_a_factor_of_zero_stands_still(name: str, options: str) -> None:
    def still(model: keras.Model) -> Any:
        optimizer = ALL[name](2e-3, **OPTIONS[options])
        return ftk.layerwise_optimizer(model, optimizer, rates={"conv1": 0, "bn.*": 0})

    before, model = weights(built(still)), trained(still)
    pairs = zip(values(model), before.values(), weights(model).values(), strict=True)
    stood = {name: np.array_equal(old, new) for name, old, new in pairs}
    # BatchNormalization's statistics are no weights that a rate is for.
    rows = {k: v for k, v in stood.items() if "moving" not in k}
    assert all(v for k, v in rows.items() if "conv1" in k or "bn" in k)
    assert not any(v for k, v in rows.items() if "features/kernel" in k or "head" in k)


@pytest.mark.slow
def test_mixed_precision_scales_too() -> None:
    def wrapped(model: keras.Model) -> Any:
        return ftk.layerwise_optimizer(
            model,
            optimizers.LossScaleOptimizer(optimizers.Adam(2e-3), initial_scale=2.0),
            rates={".*": 0.5},
        )

    expected = trained(
        lambda model: optimizers.LossScaleOptimizer(optimizers.Adam(1e-3), initial_scale=2.0)
    )
    assert same(weights(trained(wrapped)), weights(expected))


def test_decay_leaves_vectors_out_unless_asked() -> None:
    def rate(decay_all: bool) -> Callable[[keras.Model], Any]:
        return lambda model: ftk.layerwise_optimizer(
            model, optimizers.SGD(1e-3, weight_decay=100.0), rates={".*": 1.0}, decay_all=decay_all
        )

    def reference(model: keras.Model) -> Any:
        optimizer = optimizers.SGD(1e-3, weight_decay=100.0)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    expected = weights(trained(reference))
    assert same(weights(trained(rate(False))), expected)
    plain = weights(trained(lambda model: optimizers.SGD(1e-3, weight_decay=100.0)))
    assert same(weights(trained(rate(True))), plain)
    assert not same(plain, expected)


@pytest.mark.slow
def test_callbacks_go_on_changing_the_rate() -> None:
    def layerwise(model: keras.Model) -> Any:
        return ftk.layerwise_optimizer(model, optimizers.Adam(2e-3), rates={".*": 0.5})

    halving = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    results = []
    for make in (layerwise, lambda model: optimizers.Adam(1e-3)):
        model = built(make)
        options = {"epochs": 4, "batch_size": 8, "shuffle": False, "verbose": 0}
        model.fit(images(8), labels(8), callbacks=[halving], **options)
        results.append(weights(model))
    assert same(*results)


def test_freezing_and_thawing_keep_the_factors() -> None:
    model = built(
        lambda model: ftk.layerwise_optimizer(
            model, optimizers.SGD(1e-2), rates={"conv1": 0, "features": 0.5}
        )
    )
    ftk.freeze_layers(model, "backbone")
    ftk.fit(model, images(8), labels(8), verbose=0)
    ftk.unfreeze_layers(model, "backbone")
    assert ftk.learning_rates(model)["chain/features"] == pytest.approx(5e-3)
    before = values(model)
    ftk.fit(model, images(8), labels(8), verbose=0)
    moved = {name: not np.array_equal(before[name], v) for name, v in values(model).items()}
    assert not any(v for name, v in moved.items() if "conv1" in name)
    assert any(v for name, v in moved.items() if "features" in name)


def test_factors_reach_the_steps_on_features() -> None:
    results = []
    for make in (
        lambda model: ftk.layerwise_optimizer(model, optimizers.Adam(2e-3), rates={"head": 0.5}),
        lambda model: optimizers.Adam(1e-3),
    ):
        keras.utils.set_random_seed(0)
        model = ftk.add_head(ftk.freeze_layers(small_sequential()), "binary", hidden_units=[9000])
        assert any(v.shape == (8, 9000) for v in model.trainable_variables)  # One large enough.
        model.compile(make(model), "binary_crossentropy")
        ftk.fit(model, images(16), labels(16), epochs=3, seed=0, verbose=0)
        results.append(weights(model))
    assert same(*results)


def test_a_compiled_model_is_renewed() -> None:
    model = built(lambda model: optimizers.SGD(1e-2))
    model.fit(images(8), labels(8), verbose=0)
    ftk.layerwise_optimizer(model, model.optimizer, rates={".*": 0})
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(images(8), labels(8), verbose=0)
    after = [v.numpy() for v in model.trainable_variables]
    assert all(np.array_equal(a, v) for a, v in zip(before, after, strict=True))


PLAIN = """
import sys, keras
model = keras.models.load_model(sys.argv[1])
print(type(model.optimizer).__module__, type(model.optimizer).__name__)
"""


@pytest.mark.slow
def test_the_file_is_keras_own_and_load_brings_the_factors_back(tmp_path: Path) -> None:
    def layerwise(model: keras.Model) -> Any:
        optimizer = optimizers.AdamW(1e-2, weight_decay=0.5)
        return ftk.layerwise_optimizer(model, optimizer, layer_decay=0.5, rates={"conv1": 0})

    model = trained(layerwise)
    path = ftk.save(model, tmp_path / "model.keras", verbose=0)
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", PLAIN, path], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert "finetunekit" not in ran.stdout
    assert "AdamW" in ran.stdout
    again = ftk.load(path)
    assert ftk.learning_rates(again) == ftk.learning_rates(model)
    for one in (model, again):
        one.fit(images(8), labels(8), batch_size=8, shuffle=False, verbose=0)
    assert same(weights(again), weights(model))


def test_dropout_put_in_keeps_the_factors() -> None:
    model = trained(
        lambda model: ftk.layerwise_optimizer(model, optimizers.Adam(1e-2), rates={"conv1": 0.25})
    )
    other = ftk.inject_dropout(model, 0.1, after="conv1")
    rates = ftk.learning_rates(other)
    assert [r for path, r in rates.items() if path.endswith("conv1")] == [pytest.approx(2.5e-3)]


@pytest.mark.slow
def test_the_depth_of_a_resnet_is_counted_in_blocks() -> None:
    resnet = keras.applications.ResNet50(weights=None, include_top=False)
    names = [name for name, _ in depth.groups(resnet)]
    assert names[:3] == ["stem", "conv2_block1", "conv2_block2"]
    assert len(names) == 17


def test_depth_is_counted_in_blocks() -> None:
    mobile = ftk.load_backbone("builtin:mobilenet_v2", weights=None, input_shape=(32, 32, 3))
    model = ftk.add_head(mobile, "multiclass", 3)
    names = [name for name, _ in depth.groups(model)]
    assert names[0] == "stem"
    assert names[1].endswith("block_1")
    assert names[-2:] == ["tail", "head"]
    assert len(names) == 16 + 3
    optimizer = ftk.layerwise_optimizer(model, optimizers.Adam(1.0), layer_decay=0.5)
    model.compile(optimizer, "mse")
    rates = ftk.learning_rates(model)
    assert rates[next(path for path in rates if path.startswith("head/"))] == 1
    assert rates["mobilenet_v2/Conv_1"] == 0.5
    assert rates["mobilenet_v2/block_16_project"] == 0.25
    assert rates["mobilenet_v2/Conv1"] == 0.5**18


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("bert/transformer_layer_3/self_attention/query", "bert/transformer_layer_3"),
        ("convnext_tiny_stage_0_block_2_layer_scale", "convnext_tiny_stage_0_block_2"),
        ("layer1_0_conv1", "layer1_0"),
        ("features_12_conv_0_0", "features_12"),
        ("block5a_expand_conv", "block5a"),
        ("conv2_block1_1_conv", "conv2_block1"),
        ("blocks_3_1_conv_pw", "blocks_3_1"),
        ("encoder_layers_encoder_layer_11_mlp_3", "encoder_layers_encoder_layer_11"),
        ("conv2d_12", None),
        ("layer_normalization_3", None),
        ("dense", None),
    ],
)
def test_names_of_blocks(path: str, block: str | None) -> None:
    assert depth._block(path) == block


def test_models_without_blocks_count_kernels_and_many_are_merged() -> None:
    model = small_backbone()
    names = [name for name, _ in depth.groups(model)]
    assert names == ["conv1", "conv2", "features"]
    chain = keras.Sequential([keras.Input((4,))] + [keras.layers.Dense(4) for _ in range(60)])
    found = depth.groups(chain)
    assert len(found) == depth.MOST
    assert sum(len(layers) for _, layers in found) == 60


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({}, ValueError, "Give `layer_decay`"),
        ({"layer_decay": 0}, ValueError, "`layer_decay` must be"),
        ({"layer_decay": True}, TypeError, "`layer_decay` must be"),
        ({"rates": {"conv1": -1}}, ValueError, "`rates` must hold"),
        ({"rates": {"conv1": "fast"}}, ValueError, "`rates` must hold"),
        ({"rates": [("conv1", 1)]}, TypeError, "`rates` must be a dict"),
        ({"rates": {"convx": 1}}, ValueError, "`rates`"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        ftk.layerwise_optimizer(small_backbone(), optimizers.Adam(), **options)


def test_wrong_optimizers() -> None:
    model = small_backbone()
    with pytest.raises(TypeError, match="must be a Keras optimizer object"):
        ftk.layerwise_optimizer(model, "adam", layer_decay=0.5)  # type: ignore[arg-type]
    several = optimizers.MultiOptimizer(lambda variable: optimizers.SGD())
    with pytest.raises(ValueError, match="Give a single one"):
        ftk.layerwise_optimizer(model, several, layer_decay=0.5)
    with pytest.raises(ValueError, match="not compiled"):
        ftk.learning_rates(model)
