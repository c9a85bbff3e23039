"""Does the learning rate follow what trains, and an optimizer object keep its own?"""

from __future__ import annotations

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


def test_without_roles_frozen_layers_mean_a_part() -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.Dense(1)])
    assert trainable_part(model) == "all"
    ftk.freeze_layers(model, "a")
    assert trainable_part(model) == "part"


def test_rates_and_objects_given() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    assert make_optimizer("adam", schedule, "head")[0]._learning_rate is schedule
    assert float(make_optimizer("adam", 0.5, "head")[0].learning_rate) == 0.5
    own = keras.optimizers.Lion(3e-4)
    assert make_optimizer(own, "auto", "all")[0] is own
