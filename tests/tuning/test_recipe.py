"""Which stages `fine_tune` makes of its options: what trains, for how long, how fast."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import finetunekit as ftk
from finetunekit.optimizers import depth
from finetunekit.training.stage import Stage
from finetunekit.tuning.judge import Judge
from finetunekit.tuning.options import Options
from finetunekit.tuning.recipe import _blocks, has_attention, stages_of, with_defaults
from text_models import with_tokenizer
from tuning_calls import Asked, backbone, samples, tune

L = keras.layers


def told(stage: Stage) -> dict[str, Any]:
    """A stage without its callbacks and layers."""
    return {
        name: getattr(stage, name)
        for name in ("name", "epochs", "learning_rate", "schedule", "layer_decay", "batch_norm")
    }


def names_of(stage: Stage) -> list[str]:
    return [layer.name for layer in stage.trainable]  # type: ignore[union-attr]


def test_the_head_comes_first_then_the_upper_half(asked: Asked) -> None:
    model, report = tune(samples(480), source=backbone(4))
    assert asked.model is model
    probe, upper = asked.stages
    assert probe.trainable == "head"
    assert told(probe) == {
        "name": "probe",
        "epochs": 10,
        "learning_rate": 1e-3,
        "schedule": None,
        "layer_decay": None,
        "batch_norm": False,
    }
    assert names_of(upper) == ["block3", "block4", "dense"]
    assert [list(stage.callbacks) for stage in asked.stages] == [[asked.judge], [asked.judge]]
    assert asked.judge._judges is False
    for steps, epochs in ((15, 10), (7, 10), (4, 18), (1, 20)):
        asked.judge._steps = steps
        assert upper.epochs() == epochs
    assert told(upper) == {
        "name": "fine-tune",
        "epochs": upper.epochs,
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "layer_decay": 1.0,
        "batch_norm": False,
    }
    defaults = ("batch_size", "seed", "callbacks", "resume", "validation_data")
    assert [asked.options[name] for name in defaults] == [32, 0, None, None, None]
    assert report.choices == {
        "task": "binary, the labels are 0 and 1",
        "validation": "none of 480 samples is held out, so nothing is measured; give "
        "`validation_data` or `validation_split`",
        "probe": "the head alone, 10 epochs at 0.001",
        "fine-tune": "the head and the last 2 of 4 blocks, 10 epochs (up to 20 until 70 steps are "
        "done) at a rate of 0.0003 that falls along a cosine",
    }


def test_texts_are_probed_for_less_and_train_whole(asked: Asked) -> None:
    texts = ["a b", "c", "a", "d"] * 240
    _, report = tune((texts, [1, 0, 1, 0] * 240), source=with_tokenizer())
    probe, upper = asked.stages
    assert (probe.epochs, probe.learning_rate) == (5, 1e-3)
    assert (upper.learning_rate, upper.layer_decay) == (1e-4, 0.9)
    for explained, steps, epochs in ((0.9, 500, 1), (0.3, 500, 2), (0.0, 500, 3), (0.9, 10, 5)):
        asked.judge.explained, asked.judge._steps = explained, steps
        assert upper.epochs() == epochs
    blocks = len(depth.groups(asked.model)) - 1
    assert report.choices["probe"] == "the head alone, 5 epochs at 0.001"
    assert report.choices["fine-tune"] == (
        f"the head and all {blocks} blocks, 1 to 3 epochs by what the head "
        "explains (up to 10 until 50 steps are done) at a rate of 0.0001 that falls along a "
        "cosine, each block at 0.9 times the rate of the one above"
    )
    assert asked.data[0] == texts


def test_what_is_given_goes_before_the_defaults(asked: Asked) -> None:
    options = {
        "probe_epochs": np.int64(1),
        "epochs": 3,
        "top": 1,
        "learning_rate": 0.0251,
        "layer_decay": 0.75,
    }
    _, report = tune(source=backbone(4), **options)
    probe, upper = asked.stages
    assert probe.epochs == 1
    assert type(probe.epochs) is int
    assert (upper.epochs, upper.learning_rate, upper.layer_decay) == (3, 0.0251, 0.75)
    assert names_of(upper) == ["block1", "block2", "block3", "block4", "dense"]
    assert report.choices["probe"] == "the head alone, 1 epoch at 0.001"
    assert report.choices["fine-tune"] == (
        "the head and all 4 blocks, 3 epochs at a rate of 0.025 that falls along "
        "a cosine, each block at 0.75 times the rate of the one above"
    )


def test_the_share_of_the_blocks_is_rounded_and_one_at_least(asked: Asked) -> None:
    model, _ = tune(source=backbone(4))
    shares = ((1e-9, 1), (0.37, 1), (0.38, 2), (0.5, 2), (0.63, 3), (0.87, 3), (1.0, 4))
    for top, count in shares:
        options = with_defaults(Options(top=top), texts=False, attention=False, samples=960)
        stages = stages_of(model, options, asked.judge, {})
        wanted = ["block1", "block2", "block3", "block4"][-count:]
        assert names_of(stages[1]) == [*wanted, "dense"], top


def test_without_epochs_the_head_alone_trains(asked: Asked) -> None:
    _, report = tune(epochs=0)
    assert [stage.name for stage in asked.stages] == ["probe"]
    assert list(report.choices) == ["task", "validation", "probe"]
    assert [type(c) for c in asked.stages[0].callbacks] == [Judge]


def test_one_budget_counts_in_both_stages(asked: Asked) -> None:
    _, report = tune(budget="2 min")
    limits = [stage.callbacks[0] for stage in asked.stages]
    assert type(limits[0]) is ftk.callbacks.TimeBudget
    assert limits[0] is limits[1]
    assert limits[0].seconds == 120
    assert report.choices["budget"] == "120 s of training, in which the rate falls to 0"


def test_few_samples_are_seen_more_often_by_the_probe() -> None:
    for texts, rows in (
        (True, ((128, 38), (8, 50), (320, 15), (4_800, 5))),
        (False, ((128, 18), (8, 50), (240, 10), (4_800, 10))),
    ):
        for count, epochs in rows:
            found = with_defaults(Options(), texts=texts, attention=texts, samples=count)
            assert found.probe_epochs == epochs, (texts, count)
    found = with_defaults(Options(probe_epochs=2), texts=True, attention=True, samples=8)
    assert found.probe_epochs == 2


def test_a_backbone_with_attention_takes_smaller_steps() -> None:
    x = inputs = keras.Input((4, 8))
    x = keras.Model(inputs, L.MultiHeadAttention(2, 4)(x, x), name="inner")(inputs)
    for model, there, rate in (
        (keras.Model(inputs, x), True, 1e-4),
        (backbone(4), False, 3e-4),
    ):
        assert has_attention(model) is there
        found = with_defaults(Options(), texts=False, attention=there, samples=960)
        assert found.learning_rate == rate


def test_blocks_are_told_in_words() -> None:
    told = {pair: _blocks(*pair) for pair in ((1, 1), (3, 3), (1, 3), (2, 3))}
    assert told == {
        (1, 1): "the backbone, which is one block",
        (3, 3): "all 3 blocks",
        (1, 3): "the last of 3 blocks",
        (2, 3): "the last 2 of 3 blocks",
    }
