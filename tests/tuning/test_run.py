"""`fine_tune` asks for the stages, the split and the data that its options and the data mean."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.models.metadata import Task
from finetunekit.tuning import run
from finetunekit.tuning.report import TuneReport
from tuning_calls import Asked, backbone, samples, tune

L = keras.layers


# What is handed on.


def test_arrays_and_options_are_handed_on(asked: Asked) -> None:
    x, y = samples()
    stop = keras.callbacks.Callback()
    tune((x, y), batch_size=np.int32(3), seed=np.int64(7), callbacks=[stop], resume="a file")
    assert asked.data[0] is x
    assert np.array_equal(asked.data[1], y)
    assert asked.options == {
        "batch_size": 3,
        "class_weight": None,
        "validation_data": None,
        "validation_freq": 1,
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
    assert report.choices["validation"].startswith("the data given")


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
    with pytest.raises(ValueError, match="The classes of `train` must hold every label"):
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


def test_the_samples_held_out_are_those_that_judge(asked: Asked) -> None:
    x, y = samples(10)
    _, report = tune((x, y), validation_split=0.2, seed=3)
    held_x, held_y = asked.options["validation_data"]
    assert sorted(held_y.tolist()) == [0, 1]
    assert sorted(np.concatenate([asked.data[0], held_x])[:, 0]) == sorted(x[:, 0])
    assert report.choices["validation"].startswith("2 of 10 samples, drawn at random")
    assert [list(stage.callbacks) for stage in asked.stages] == [[asked.judge], [asked.judge]]
    assert asked.judge._judges is True
    assert asked.judge._measure.args == (asked.model, asked.options["validation_data"])


@pytest.mark.parametrize(
    ("count", "options", "epochs"),
    [(2, {}, 1), (8, {}, 1), (9, {}, 2), (80, {}, 10), (80, {"callbacks": []}, 1)],
)
def test_many_held_out_samples_are_not_measured_in_each_epoch(
    count: int, options: dict[str, Any], epochs: int, asked: Asked
) -> None:
    tune(samples(8), samples(count), **options)
    assert asked.options["validation_freq"] == epochs


@pytest.mark.parametrize(("epochs", "judges"), [(0, False), (1, True)])
def test_held_out_samples_never_cut_a_stage_short(epochs: int, judges: bool, asked: Asked) -> None:
    tune(None, samples(4), epochs=epochs)
    assert len(asked.stages) == 1 + epochs
    assert all(list(stage.callbacks) == [asked.judge] for stage in asked.stages)
    assert asked.judge._judges is judges


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
    figures = SimpleNamespace(baseline={})

    def measure(model: keras.Model, data: Any) -> Any:
        measured.append((model, data))
        return figures

    monkeypatch.setattr(run, "measure", measure)
    x, _ = samples(4)
    data = (x, ["no", "yes", "no", "no"])
    if pipeline:
        data = tf.data.Dataset.from_tensor_slices(samples(4)).batch(4)
    model, report = tune((x, ["yes", "no", "yes", "no"]), test_data=data)
    assert report.test is figures
    ((one, found),) = measured
    assert one is model
    if pipeline:
        assert found is data
    else:
        assert found[0] is x
        assert found[1].tolist() == [0, 1, 0, 0]
    assert asked.options["validation_data"] is None


@pytest.mark.parametrize(("verbose", "level"), [(0, logging.DEBUG), ("auto", logging.INFO)])
def test_the_end_is_told_unless_it_is_to_be_quiet(
    verbose: Any, level: int, asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="finetunekit"):
        _, report = tune(verbose=verbose)
    (record,) = [one for one in caplog.records if "print the report" in one.getMessage()]
    assert f"the {report.kept} weights" in record.getMessage()
    assert record.levelno == level
    assert asked.options["verbose"] == verbose


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


def test_a_model_that_has_learned_nothing_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    good, bad = (
        SimpleNamespace(
            metrics={"accuracy": figure}, baseline={"accuracy": 0.5}, baseline_is="always 'a'"
        )
        for figure in (0.9, 0.5)
    )
    task = Task(name="multiclass", num_classes=2)
    run._warn_of_baseline(SimpleNamespace(task=task, validation=good, test=None))  # type: ignore[arg-type]
    assert not caplog.records
    run._warn_of_baseline(SimpleNamespace(task=task, validation=good, test=bad))  # type: ignore[arg-type]
    assert "on the test data the model is no better than the baseline, always 'a'" in caplog.text
