"""Does the learning rate follow what trains, and an optimizer object keep its own?"""

from __future__ import annotations

import logging
from typing import Any

import keras
import pytest

import finetunekit as ftk
from finetunekit.optimizers import make_optimizer, trainable_part
from models import L, small_backbone


def model_with(part: str) -> keras.Model:
    model = ftk.add_head(small_backbone(), "binary")
    if part != "all":
        ftk.freeze_layers(model, "backbone")
    if part == "part":
        ftk.unfreeze_layers(model, "features")
    return model


@pytest.mark.parametrize(
    ("part", "name", "rate"),
    [
        ("head", "auto", 1e-3),
        ("part", "adam", 1e-4),
        ("all", "adamw", 1e-5),
        ("head", "sgd", 1e-2),
        ("all", "SGD", 1e-4),
    ],
)
def test_the_rule(part: str, name: str, rate: float) -> None:
    model = ftk.compile_for_task(model_with(part), optimizer=name)
    assert float(model.optimizer.learning_rate) == pytest.approx(rate)
    kinds = {"auto": "Adam", "adam": "Adam", "adamw": "AdamW"}
    assert type(model.optimizer).__name__ == kinds.get(name, "SGD")


def test_frozen_batch_norm_still_counts_as_everything() -> None:
    model = model_with("head")
    ftk.unfreeze_layers(model)
    assert trainable_part(model) == "all"


def test_a_head_alone_is_a_head() -> None:
    head = ftk.compile_for_task(ftk.build_head((8,), "multiclass", 3))
    assert float(head.optimizer.learning_rate) == pytest.approx(1e-3)


def nested(*frozen: str) -> keras.Model:
    model = keras.Sequential([small_backbone(), L.Dense(4, name="new"), L.Dense(1, name="last")])
    return ftk.freeze_layers(model, list(frozen))


def flat(*frozen: str) -> keras.Model:
    base = small_backbone()
    outputs = L.Dense(1, name="last")(base.output)
    return ftk.freeze_layers(keras.Model(base.input, outputs), list(frozen))


def embedded() -> keras.Model:
    layers = [L.Embedding(9, 4, trainable=False), L.LSTM(3), L.Dense(1)]
    return keras.Sequential([keras.Input((5,), dtype="int32"), *layers])


def decoder() -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    base = keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(4, 3, padding="same")])
    base.trainable = False
    return keras.Model(inputs, L.Conv2D(1, 3, name="new")(base(inputs)))


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(1)]), "all"),
        (lambda: nested("small"), "head"),
        (lambda: nested("conv1"), "part"),
        (lambda: nested("small", "new"), "head"),
        (lambda: flat("conv.*", "features"), "head"),
        (lambda: flat("conv1", "conv2"), "head"),
        (lambda: flat("conv1"), "part"),
        (lambda: flat("conv.*", "last"), "part"),
        (embedded, "part"),
        (decoder, "head"),
    ],
)
def test_without_roles_new_layers_are_the_head(
    model: Any, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = model()
    assert trainable_part(made) == part
    with caplog.at_level(logging.INFO, "finetunekit"):
        ftk.compile_for_task(made, "binary", loss="mse", metrics=None)
    rates = {"head": 1e-3, "part": 1e-4, "all": 1e-5}
    assert float(made.optimizer.learning_rate) == pytest.approx(rates[part])
    said = {"head": "the head alone trains: '", "part": "give learning_rate=1e-03", "all": "every"}
    assert said[part] in caplog.text


def test_rates_and_objects_given() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    assert make_optimizer("adam", schedule, "head")[0]._learning_rate is schedule
    assert float(make_optimizer("adam", 0.5, "head")[0].learning_rate) == 0.5
    own = keras.optimizers.Lion(3e-4)
    assert make_optimizer(own, "auto", "all")[0] is own
