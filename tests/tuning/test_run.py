"""`fine_tune` asks for the stages, the split and the data that its options and the data mean."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.training.stages import Stage, StagedHistory
from finetunekit.tuning import run
from finetunekit.tuning.judge import Judge
from finetunekit.tuning.report import TuneReport
from finetunekit.tuning.sources import Source
from text_models import with_tokenizer

L = keras.layers


class Asked:
    """What `fit_in_stages` was asked for; instead of training, the judge gets its numbers."""

    def __init__(self) -> None:
        self.history = StagedHistory({"loss": [3.0]}, [0], [("probe", 0)])

    def __call__(self, model: keras.Model, *data: Any, stages: list[Stage], **options: Any) -> Any:
        self.model, self.data, self.stages, self.options = model, data, stages, options
        self.judge = stages[0].callbacks[-1]
        self.judge.probe, self.judge.tuned, self.judge.kept = {"loss": 2.0}, {"loss": 1.0}, "tuned"
        self.judge.seconds["probe"] = 7.5
        return self.history


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr(run, "fit_in_stages", found)
    return found


def backbone(blocks: int = 1) -> keras.Model:
    """4 numbers -> 3 features, in blocks."""
    inputs = x = keras.Input((4,))
    for number in range(blocks):
        x = L.Dense(3, activation="tanh", name=f"block{number + 1}")(x)
    return keras.Model(inputs, x, name="small")


def samples(count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype("float32")
    return x, np.arange(count) % 2


def tune(train: Any = None, *args: Any, source: Any = None, **options: Any) -> Any:
    train = samples() if train is None else train
    return ftk.fine_tune(source or backbone(), train, *args, **({"verbose": 0} | options))


def plan(**changes: Any) -> Any:
    """The options with the defaults of images."""
    given = {
        "probe_epochs": 10,
        "epochs": 10,
        "top": 0.5,
        "learning_rate": 1e-4,
        "layer_decay": 1.0,
        "batch_size": 32,
        "seed": 0,
        "verbose": 0,
        "callbacks": None,
        "resume": None,
    }
    return run._Plan(**(given | changes))


def told(stage: Stage) -> dict[str, Any]:
    """A stage without its callbacks and layers."""
    return {
        name: getattr(stage, name)
        for name in ("name", "epochs", "learning_rate", "schedule", "layer_decay", "batch_norm")
    }


def names_of(stage: Stage) -> list[str]:
    return [layer.name for layer in stage.trainable]  # type: ignore[union-attr]


# The stages.


def test_the_head_comes_first_then_the_upper_half(asked: Asked) -> None:
    model, report = tune(source=backbone(4))
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
    assert told(upper) == {
        "name": "fine-tune",
        "epochs": 10,
        "learning_rate": 1e-4,
        "schedule": "cosine",
        "layer_decay": 1.0,
        "batch_norm": False,
    }
    defaults = ("batch_size", "seed", "callbacks", "resume", "validation_data")
    assert [asked.options[name] for name in defaults] == [32, 0, None, None, None]
    assert report.choices == {
        "task": "binary, the labels are 0 and 1",
        "validation": "none of 8 samples is held out, so both stages have a fixed length; give "
        "`validation_data` or `validation_split`",
        "probe": "the head alone, up to 10 epochs at 1e-3",
        "fine-tune": "the head and the last 2 of 4 blocks, up to 10 epochs at a rate of 0.0001 "
        "that falls along a cosine",
    }


def test_texts_are_probed_for_less_and_train_whole(asked: Asked) -> None:
    _, report = tune((["a b", "c", "a", "d"], [1, 0, 1, 0]), source=with_tokenizer())
    probe, upper = asked.stages
    assert (probe.epochs, probe.learning_rate) == (5, 1e-3)
    assert (upper.epochs, upper.learning_rate, upper.layer_decay) == (1, 1e-4, 0.9)
    blocks = len(run.depth.groups(asked.model)) - 1
    assert report.choices["probe"] == "the head alone, up to 5 epochs at 1e-3"
    assert report.choices["fine-tune"] == (
        f"the head and the last {blocks} of {blocks} blocks, up to 1 epoch at a rate of 0.0001 "
        "that falls along a cosine, each block at 0.9 times the rate of the one above"
    )
    assert asked.data[0] == ["a b", "c", "a", "d"]


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
    assert report.choices["probe"] == "the head alone, up to 1 epoch at 1e-3"
    assert report.choices["fine-tune"] == (
        "the head and the last 4 of 4 blocks, up to 3 epochs at a rate of 0.025 that falls along "
        "a cosine, each block at 0.75 times the rate of the one above"
    )


def test_the_share_of_the_blocks_is_rounded_and_one_at_least(asked: Asked) -> None:
    model, _ = tune(source=backbone(4))
    shares = ((1e-9, 1), (0.37, 1), (0.38, 2), (0.5, 2), (0.63, 3), (0.87, 3), (1.0, 4))
    for top, count in shares:
        stages = run._stages(model, plan(top=top), asked.judge, stops=False, choices={})
        wanted = ["block1", "block2", "block3", "block4"][-count:]
        assert names_of(stages[1]) == [*wanted, "dense"], top


def test_without_epochs_the_head_alone_trains(asked: Asked) -> None:
    _, report = tune(epochs=0)
    assert [stage.name for stage in asked.stages] == ["probe"]
    assert list(report.choices) == ["task", "validation", "probe"]
    assert [type(c) for c in asked.stages[0].callbacks] == [Judge]


@pytest.mark.parametrize(("epochs", "judges"), [(0, False), (1, True)])
def test_held_out_samples_stop_both_stages(epochs: int, judges: bool, asked: Asked) -> None:
    tune(None, samples(4), epochs=epochs)
    assert len(asked.stages) == 1 + epochs
    for stage, patience in zip(asked.stages, (5, 2), strict=False):
        stop, judge = stage.callbacks
        assert type(stop) is ftk.callbacks.EarlyStopping
        assert (stop.patience, stop.restore_best_weights) == (patience, True)
        assert judge is asked.judge
    assert asked.judge._judges is judges


# What is handed on.


def test_arrays_and_options_are_handed_on(asked: Asked) -> None:
    x, y = samples()
    stop = keras.callbacks.Callback()
    tune((x, y), batch_size=np.int32(3), seed=np.int64(7), callbacks=[stop], resume="a file")
    assert asked.data[0] is x
    assert np.array_equal(asked.data[1], y)
    assert asked.options == {
        "batch_size": 3,
        "validation_data": None,
        "seed": 7,
        "verbose": 0,
        "callbacks": [stop],
        "resume": "a file",
    }
    assert type(asked.options["seed"]) is int


def test_a_pipeline_has_its_own_batches_and_order(asked: Asked) -> None:
    data = tf.data.Dataset.from_tensor_slices(samples()).batch(3)
    valid = tf.data.Dataset.from_tensor_slices(samples(4)).batch(2)
    _, report = tune(data, valid, seed=7, validation_split=0)
    assert len(asked.data) == 1
    assert asked.data[0] is data
    assert asked.options["validation_data"] is valid
    assert (asked.options["batch_size"], asked.options["seed"]) == (None, None)
    assert report.task == ftk.Task(name="binary", num_classes=1)
    assert "validation" not in report.choices


def test_names_of_validation_data_become_the_same_numbers(asked: Asked) -> None:
    x, _ = samples(4)
    valid = (x[:2], ["yes", "no"])
    _, report = tune((x, ["no", "yes", "no", "maybe"]), valid, class_names=["no", "yes", "maybe"])
    assert report.task == ftk.Task(
        name="multiclass", num_classes=3, class_names=("no", "yes", "maybe")
    )
    assert report.choices["task"] == "multiclass, the labels are 3 names"
    assert asked.data[1].tolist() == [0, 1, 0, 2]
    held_x, held_y = asked.options["validation_data"]
    assert held_x is valid[0]
    assert held_y.tolist() == [1, 0]
    with pytest.raises(ValueError, match="must hold every label"):
        tune((x, ["no", "yes", "no", "maybe"]), (x[:1], ["perhaps"]))


def rate_of_dropout(model: keras.Model) -> float:
    (found,) = [layer for layer in model.get_layer("head").layers if isinstance(layer, L.Dropout)]
    return float(found.rate)


def test_the_model_has_the_head_of_the_task_and_adamw(asked: Asked) -> None:
    model, _ = tune((samples(3)[0], [0, 1, 2]), dropout=0.35)
    assert model.output_shape == (None, 3)
    assert rate_of_dropout(model) == 0.35
    assert type(model.optimizer) is keras.optimizers.AdamW
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    model, _ = tune(task="regression")
    assert model.output_shape == (None, 1)
    assert rate_of_dropout(model) == 0.2


def test_the_seed_decides_the_weights_of_the_head(asked: Asked) -> None:
    kernels = []
    for before, seed in ((1, 3), (2, 3), (1, 4)):
        keras.utils.set_random_seed(before)
        model, _ = tune(seed=seed)
        kernels.append(model.get_layer("head").get_weights()[0])
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_other_options_are_those_of_loading(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(source: Any, **options: Any) -> keras.Model:
        loaded.append((source, options))
        return backbone()

    monkeypatch.setattr(run, "load_backbone", load)
    tune(source="some file", dtype="bfloat16", signature="serve")
    assert loaded == [("some file", {"dtype": "bfloat16", "signature": "serve"})]


def test_folders_are_read_in_the_size_that_is_asked_for(asked: Asked, tmp_path: Path) -> None:
    for name, level in (("cat", 20), ("dog", 200)):
        (tmp_path / name).mkdir()
        keras.utils.save_img(
            tmp_path / name / "1.png", np.full((4, 4, 3), level, "uint8"), scale=False
        )
    inputs = keras.Input((None, None, 3))
    source = keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling2D()(inputs)))
    _, report = tune(tmp_path, source=source, image_size=6, class_names=["dog", "cat"])
    assert report.task.class_names == ("dog", "cat")
    x, y = asked.data
    assert [image[0, 0, 0] for image in x] == [200, 20]
    assert x.shape == (2, 6, 6, 3)
    assert y.tolist() == [0, 1]


# What is held out.


def split_of(groups: list[np.ndarray], share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each group, the first of a permutation are held out."""
    random = np.random.default_rng(seed)
    drawn = [random.permutation(group)[: round(share * len(group))] for group in groups]
    out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.concatenate(groups), out), out


def divided(
    x: Any, y: Any, task: str = "binary", split: Any = "auto", valid: Any = None, **options: Any
) -> tuple[Any, Any, dict[str, str]]:
    """What trains, what is held out, and what is said of it."""
    pipeline = options.pop("pipeline", False)
    choices: dict[str, str] = {}
    kept, out = run._divided(
        Source(x, None, None, pipeline),
        y,
        ftk.Task(name=task, num_classes=1),
        valid,
        split,
        plan(**options),
        choices,
    )
    return kept, out, choices


def test_a_tenth_is_held_out_from_a_thousand_on() -> None:
    x, y = samples(999)
    kept, out, choices = divided(x, y)
    assert out is None
    assert (kept[0] is x, kept[1] is y) == (True, True)
    assert choices["validation"].startswith("none of 999 samples is held out")
    x, y = samples(1000)
    kept, out, choices = divided(x, y, seed=5)
    parts = split_of([np.arange(0, 1000, 2), np.arange(1, 1000, 2)], 0.1, 5)
    assert len(out[1]) == 100
    for (some, labels), rows in zip((kept, out), parts, strict=True):
        assert np.array_equal(some, x[rows])
        assert np.array_equal(labels, y[rows])
    assert choices == {"validation": "100 of 1,000 samples, drawn at random"}


@pytest.mark.parametrize("split", [0, 0.0])
def test_nothing_is_held_out_if_it_is_said(split: float) -> None:
    x, y = samples(1000)
    kept, out, choices = divided(x, y, split=split)
    assert out is None
    assert kept[0] is x
    assert choices["validation"].startswith("none of 1,000 samples is held out")


@pytest.mark.parametrize(
    ("labels", "task", "by_class"),
    [
        (np.arange(9) % 3 // 2, "binary", True),
        ((np.arange(9) % 3 // 2)[:, None], "binary", True),
        (np.eye(3)[np.arange(9) % 3], "multiclass", False),
        (np.arange(9) % 3 // 2, "regression", False),
        ((np.arange(9) % 3 // 2)[:, None], "multilabel", False),
    ],
)
def test_samples_are_drawn_by_class_where_each_has_one(
    labels: np.ndarray, task: str, by_class: bool
) -> None:
    x, _ = samples(9)
    kept, out, choices = divided(x, labels, task, 1 / 3)
    ids = np.arange(9)
    groups = [ids[ids % 3 < 2], ids[ids % 3 == 2]] if by_class else [ids]
    for (some, y), rows in zip((kept, out), split_of(groups, 1 / 3, 0), strict=True):
        assert np.array_equal(some, x[rows])
        assert np.array_equal(y, labels[rows])
    assert choices["validation"] == "3 of 9 samples, drawn at random"


def test_the_samples_held_out_are_those_that_judge(asked: Asked) -> None:
    x, y = samples(10)
    _, report = tune((x, y), validation_split=0.2, seed=3)
    kept, out = split_of([np.arange(0, 10, 2), np.arange(1, 10, 2)], 0.2, 3)
    for (some, labels), rows in ((asked.data, kept), (asked.options["validation_data"], out)):
        assert np.array_equal(some, x[rows])
        assert np.array_equal(labels, y[rows])
    assert report.choices["validation"] == "2 of 10 samples, drawn at random"
    assert [len(stage.callbacks) for stage in asked.stages] == [2, 2]
    assert asked.judge._judges is True


def test_pipelines_are_not_cut() -> None:
    data = tf.data.Dataset.range(1)
    kept, out, choices = divided(data, samples(1000)[1], pipeline=True)
    assert out is None
    assert len(kept) == 1
    assert kept[0] is data
    assert choices["validation"].startswith("none of 1,000 samples is held out")
    with pytest.raises(ValueError, match="cannot cut a pipeline") as caught:
        divided(data, samples(1000)[1], split=0.2, pipeline=True)
    assert str(caught.value).endswith("Received: validation_split=0.2")


@pytest.mark.parametrize("split", ["auto", 0])
def test_validation_data_leave_the_samples_whole(split: Any) -> None:
    x, y = samples(1000)
    kept, out, choices = divided(x, y, split=split, valid=samples(4))
    assert (kept[0] is x, kept[1] is y, out) == (True, True, None)
    assert choices == {}
    with pytest.raises(ValueError, match="both say what to validate on; give one") as caught:
        divided(x, y, split=0.1, valid=samples(4))
    assert str(caught.value).endswith("Received: validation_split=0.1")


@pytest.mark.parametrize("split", [-0.1, 1.01, True, "half"])
def test_a_share_to_hold_out_lies_between_0_and_1(split: Any) -> None:
    with pytest.raises(ValueError, match="`validation_split` must be a share above 0") as caught:
        divided(*samples(), split=split)
    assert str(caught.value).endswith(f"Received: validation_split={split!r}")


# The report.


def test_the_report_is_of_what_was_found(asked: Asked) -> None:
    _, report = tune()
    assert type(report) is TuneReport
    assert report.task == ftk.Task(name="binary", num_classes=1)
    assert report.history is asked.history
    assert (report.probe, report.tuned, report.kept) == ({"loss": 2.0}, {"loss": 1.0}, "tuned")
    assert report.test is None
    assert report.seconds == {"probe": 7.5}
    assert report.seconds is not asked.judge.seconds


@pytest.mark.parametrize("pipeline", [False, True])
def test_test_data_are_measured(
    pipeline: bool, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(model: keras.Model, data: Any) -> dict[str, float]:
        measured.append((model, data))
        return {"loss": 0.25}

    monkeypatch.setattr(run, "measure", measure)
    x, _ = samples(4)
    data = (x, ["no", "yes", "no", "no"])
    if pipeline:
        data = tf.data.Dataset.from_tensor_slices(samples(4)).batch(4)
    model, report = tune((x, ["yes", "no", "yes", "no"]), test_data=data)
    assert report.test == {"loss": 0.25}
    ((one, found),) = measured
    assert one is model
    if pipeline:
        assert found is data
    else:
        assert found[0] is x
        assert found[1].tolist() == [0, 1, 0, 0]
    assert asked.options["validation_data"] is None


@pytest.mark.parametrize(("verbose", "level"), [(0, logging.DEBUG), ("auto", logging.INFO)])
def test_the_report_is_logged_unless_it_is_to_be_quiet(
    verbose: Any, level: int, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="finetunekit"):
        _, report = tune(verbose=verbose)
    (record,) = [one for one in caplog.records if one.getMessage() == str(report)]
    assert record.levelno == level
    assert asked.options["verbose"] == verbose


# Wrong options.


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"probe_epochs": 0}, ValueError, "`probe_epochs` must be at least 1"),
        ({"probe_epochs": 1.0}, TypeError, "`probe_epochs` must be an int of at least 1"),
        ({"probe_epochs": True}, TypeError, "`probe_epochs` must be an int of at least 1"),
        ({"epochs": -1}, ValueError, "`epochs` must be at least 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0"),
        ({"seed": None}, TypeError, "`seed` must be an int of at least 0"),
        ({"seed": "auto"}, TypeError, "`seed` must be an int of at least 0"),
        ({"batch_size": "auto"}, TypeError, "`batch_size` must be an int of at least 1"),
        ({"learning_rate": None}, TypeError, "`learning_rate` must be a positive number"),
        ({"learning_rate": "fast"}, TypeError, "`learning_rate` must be a positive number"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be a positive number"),
        ({"layer_decay": None}, TypeError, r"`layer_decay` must be a number in \(0, 1\]"),
        ({"layer_decay": 1.1}, ValueError, r"`layer_decay` must be a number in \(0, 1\]"),
        ({"top": 0}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": 1.01}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": True}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": "half"}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": float("nan")}, ValueError, "`top` must be a share above 0 and up to 1"),
    ],
)
def test_wrong_options_are_named_before_anything_is_loaded(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    ((name, value),) = options.items()
    with pytest.raises(error, match=words) as caught:
        ftk.fine_tune("no such file", samples(), **options)
    assert str(caught.value).endswith(f"Received: {name}={value!r}")


def test_the_smallest_options_are_taken(asked: Asked) -> None:
    tune(batch_size=1, seed=0, probe_epochs=1, epochs=1)
    assert asked.options["batch_size"] == 1
    assert [stage.epochs for stage in asked.stages] == [1, 1]


def test_a_model_with_a_head_is_no_backbone(asked: Asked) -> None:
    model = ftk.add_head(backbone(), "binary")
    with pytest.raises(ValueError, match="`source` has a head already") as caught:
        tune(source=model)
    assert str(caught.value).endswith(f"Received: source={model!r}")


def test_a_task_on_its_own_or_with_names(asked: Asked) -> None:
    task = ftk.Task(name="multiclass", num_classes=2, class_names=("no", "yes"))
    _, report = tune(task=task)
    assert report.task == task
    assert report.choices["task"] == "multiclass, given"
    _, report = tune(task="multiclass", class_names=["no", "yes"])
    assert report.task == task
