"""Does a run that was cut off and resumed end as the whole one, bit by bit, or refuse to?"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import memory
from finetunekit.foundation import keras_internals
from interruptions import Cut, CutAt, ends
from models import L, images, labels, tiny_backbone

CHILD = Path(__file__).with_name("resume_child.py")


def dropping(optimizer: str = "sgd", **options: Any) -> keras.Model:
    model = ftk.add_head(tiny_backbone(), "binary", hidden_units=[4], dropout=0.3)
    given = {"optimizer": optimizer, "learning_rate": 1e-2, "metrics": ["accuracy"], **options}
    return ftk.compile_for_task(model, **given)


def check(
    train: Callable[[list[Any], str | None], tuple[keras.Model, Any]], path: Path, cut: int
) -> None:
    """Compares a whole run with one that is cut off and resumed; they share no object."""
    results = []
    for steps in (None, cut):
        keep = str(path / f"{steps}.ckpt")

        def start(steps: int | None, resume: str | None, keep: str = keep) -> Any:
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(0)
            every = 2 if cut % 2 else "epoch"
            return train([CutAt(steps), ftk.callbacks.Checkpoint(keep, every=every)], resume)

        if steps is not None:
            with pytest.raises(Cut):
                start(steps, None)
        model, history = start(None, keep if steps else None)
        results.append((ends(model), history.history, history.epoch))
    (whole, history, epochs), (resumed, other, again) = results
    assert other == history
    assert again == epochs
    assert len(whole) == len(resumed)
    for one, two in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("frozen", "cut"),
    [
        pytest.param(False, 7, id="whole, mid-epoch", marks=pytest.mark.slow),
        pytest.param(False, -3, id="whole, before validation", marks=pytest.mark.slow),
        pytest.param(False, 10, id="whole, at an epoch's end", marks=pytest.mark.slow),
        pytest.param(True, 7, id="cached, mid-epoch"),
        pytest.param(True, -3, id="cached, before validation", marks=pytest.mark.slow),
        pytest.param(True, 10, id="cached, at an epoch's end", marks=pytest.mark.slow),
    ],
)
def test_arrays(cut: int, frozen: bool, tmp_path: Path) -> None:
    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping("adam")
        if frozen:
            ftk.freeze_layers(model, "backbone")
        early = ftk.callbacks.EarlyStopping(monitor="val_loss", patience=2)
        slower = keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss", patience=1, min_delta=0.1, factor=0.5
        )
        given = {"validation_data": (images(8, seed=1), labels(8)), "engine": "keras"}
        found = ftk.fit(
            model,
            images(),
            labels(),
            epochs=4,
            batch_size=8,
            callbacks=[slower, early, *callbacks],
            resume=resume,
            verbose=0,
            **given,
        )
        return model, found

    check(train, tmp_path, cut)
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == sorted(["None.ckpt", f"{cut}.ckpt"])  # No features are left behind.


@pytest.mark.slow
def test_a_watch_for_nan_and_accumulated_gradients(tmp_path: Path) -> None:
    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = ftk.add_head(tiny_backbone(), "binary", hidden_units=[4], dropout=0.3)
        optimizer = keras.optimizers.Nadam(1e-3, gradient_accumulation_steps=3)
        ftk.compile_for_task(model, optimizer=optimizer)
        x, y = images(), labels()
        watch = ftk.callbacks.NaNWatch()
        found = ftk.fit(
            model,
            x,
            y,
            epochs=3,
            batch_size=8,
            callbacks=[watch, ftk.callbacks.Schedule("cosine"), *callbacks],
            resume=resume,
            verbose=0,
        )
        return model, found

    check(train, tmp_path, 7)


@pytest.mark.slow
def test_arrays_as_they_come(tmp_path: Path) -> None:
    """With a schedule, which asks for the number of steps."""

    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping()
        options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
        callbacks = [ftk.callbacks.Schedule("linear"), *callbacks]
        return model, ftk.fit(
            model, images(), labels(), callbacks=callbacks, resume=resume, **options
        )

    check(train, tmp_path, 7)


def test_a_run_that_goes_on_into_another_file(tmp_path: Path) -> None:
    """What is in the way of it there is of another run."""
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    model = dropping()
    ftk.freeze_layers(model, "backbone")
    options = {"verbose": 0, "seed": 0}
    callbacks = [ftk.callbacks.Checkpoint(first)]
    ftk.fit(model, images(), labels(), callbacks=callbacks, **options)
    second.write_bytes(b"of another run")
    Path(f"{second}.features.h5").write_bytes(b"of another run")
    history = ftk.fit(
        model,
        images(),
        labels(),
        epochs=2,
        callbacks=[ftk.callbacks.Checkpoint(second)],
        resume=first,
        **options,
    )
    assert history.epoch == [0, 1]
    assert Path(f"{second}.previous").read_bytes() == b"of another run"


@pytest.mark.slow
def test_mixed_precision(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")

    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping("adamw")
        options = {"epochs": 4, "batch_size": 8, "verbose": 0}
        return model, ftk.fit(
            model, images(), labels(), callbacks=callbacks, resume=resume, **options
        )

    check(train, tmp_path, 7)


class Own(keras.utils.PyDataset):
    """Batches in an order that is drawn at each epoch's end, as many a user's class has it."""

    def __init__(self) -> None:
        super().__init__()
        self.draw = np.random.default_rng(5)
        self.order = np.arange(32)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * 8 : index * 8 + 8]
        return images()[rows], labels()[rows]

    def on_epoch_end(self) -> None:
        self.order = self.draw.permutation(32)


@pytest.mark.parametrize("cut", [7, pytest.param(8, marks=pytest.mark.slow)])
def test_a_pydataset_that_shuffles_itself_and_is_shuffled(cut: int, tmp_path: Path) -> None:
    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping()
        return model, ftk.fit(model, Own(), epochs=3, callbacks=callbacks, resume=resume, verbose=0)

    check(train, tmp_path, cut)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [7, 8])
def test_mixed_batches_and_averages(cut: int, tmp_path: Path) -> None:
    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping("adamw", ema_momentum=0.9, label_smoothing=0.1)
        found = ftk.fit(
            model,
            images(),
            labels(),
            epochs=3,
            batch_size=8,
            mix=L.MixUp(seed=1),
            callbacks=callbacks,
            resume=resume,
            verbose=0,
        )
        return model, found

    check(train, tmp_path, cut)


@pytest.mark.parametrize("cut", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (8, 9))])
def test_stages(cut: int, tmp_path: Path) -> None:
    def train(callbacks: list[Any], resume: str | None) -> Any:
        model = dropping()
        stages = [
            ftk.Stage(trainable="head", epochs=2, schedule="linear"),
            ftk.Stage(trainable=["head", "features"], epochs=2, layer_decay=0.7),
        ]
        found = ftk.fit_in_stages(
            model,
            images(),
            labels(),
            stages=stages,
            batch_size=8,
            callbacks=callbacks,
            engine="keras",
            resume=resume,
            verbose=0,
        )
        return model, found

    check(train, tmp_path, cut)


def test_stages_go_on_with_the_memory_that_the_run_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = str(tmp_path / "run.ckpt")
    for free, resume, cut in ((1 << 30, None, 5), (1 << 29, keep, None)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        stages = [ftk.Stage(epochs=1), ftk.Stage(epochs=1)]
        callbacks = [ftk.callbacks.Checkpoint(keep), CutAt(cut)]
        options = {"stages": stages, "callbacks": callbacks, "verbose": 0, "batch_size": 8}
        with contextlib.nullcontext() if resume else pytest.raises(Cut):
            found = ftk.fit_in_stages(dropping(), images(), labels(), resume=resume, **options)
    assert found.epoch == [0, 1]


def test_a_plan_of_a_resumed_run_runs_again_from_the_same_state(tmp_path: Path) -> None:
    keep = str(tmp_path / "run.ckpt")
    data = images(), labels()
    options = {"batch_size": 8, "verbose": 0}
    ftk.fit(dropping(), *data, callbacks=[ftk.callbacks.Checkpoint(keep)], **options)
    plan = ftk.plan_fit(dropping(), *data, epochs=3, resume=keep, **options)
    one, two = plan.run(), plan.run()
    assert one.epoch == two.epoch == [0, 1, 2]
    assert one.history == two.history


def test_interrupted_while_it_is_fast_forwarded_the_model_skips_nothing_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise Cut

    keep, data = str(tmp_path / "run.ckpt"), (images(), labels())
    options = {"batch_size": 8, "cache": False, "verbose": 0}
    callbacks = [CutAt(3), ftk.callbacks.Checkpoint(keep, every=2)]
    with pytest.raises(Cut):
        ftk.fit(dropping(), *data, callbacks=callbacks, **options)
    model = dropping()
    with monkeypatch.context() as patched:
        patched.setattr(keras_internals, "build_metrics", cut)  # After the first step.
        with pytest.raises(Cut):
            ftk.fit(model, *data, callbacks=[CutAt(None)], resume=keep, **options)
    before = int(model.optimizer.iterations)
    model.fit(*data, batch_size=8, verbose=0)
    assert int(model.optimizer.iterations) == before + -(-len(data[0]) // 8)


def test_a_run_that_has_ended_gives_its_end_again(tmp_path: Path) -> None:
    keep, found = str(tmp_path / "run.ckpt"), []
    for resume in (None, keep):
        keras.utils.set_random_seed(0)
        model = dropping()
        callbacks = [
            ftk.callbacks.EarlyStopping(monitor="loss", patience=1, min_delta=10.0),
            ftk.callbacks.Checkpoint(keep),
        ]
        history = ftk.fit(
            model, images(), labels(), epochs=9, callbacks=callbacks, resume=resume, verbose=0
        )
        found.append((ends(model), history.history, history.epoch))
    assert found[0][1:] == found[1][1:]
    assert len(found[0][2]) < 9
    for one, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_callbacks_that_only_watch_may_come_and_go(tmp_path: Path) -> None:
    keep, seen = str(tmp_path / "run.ckpt"), []
    first = [keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))]
    second = [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))]
    for epochs, watching in ((1, first), (2, second)):
        keras.utils.set_random_seed(0)
        slower = keras.callbacks.ReduceLROnPlateau("loss", patience=5, min_delta=100.0)
        callbacks = [*watching, slower, ftk.callbacks.Checkpoint(keep)]
        options: dict[str, Any] = {"callbacks": callbacks, "verbose": 0, "batch_size": 8}
        ftk.fit(dropping(), images(), labels(), epochs=epochs, resume=keep, **options)
    assert seen == [1]
    # What the one that trains had counted before is back: no epoch was better than the first.
    assert slower.wait == 1


@pytest.mark.slow
def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_once(tmp_path: Path) -> None:
    keep, found = str(tmp_path / "run.ckpt"), []
    for steps in ([4], [2, 4]):
        for number, epochs in enumerate(steps):
            keras.utils.set_random_seed(0)
            model = dropping()
            ftk.fit(
                model,
                images(),
                labels(),
                epochs=epochs,
                callbacks=[ftk.callbacks.Checkpoint(keep)],
                resume=keep if number else None,
                verbose=0,
            )
        found.append(ends(model))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def tried(model: keras.Model, path: str, **changes: Any) -> Any:
    options = {"x": images(), "y": labels(), "epochs": 2, "verbose": 0, "seed": 1}
    callbacks = [ftk.callbacks.Checkpoint(path)]
    return ftk.fit(model, **{**options, "callbacks": callbacks, **changes})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of one epoch."""
    path = tmp_path_factory.mktemp("written") / "run.ckpt"
    tried(dropping(), str(path), epochs=1)
    return path


class TestRefusals:
    @pytest.fixture
    def keep(self, written: Path, tmp_path: Path) -> str:
        return str(shutil.copy(written, tmp_path / "run.ckpt"))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x": images(seed=3)}, "other data"),
            ({"y": labels()[::-1].copy()}, "other data"),
            ({"batch_size": 4}, "other batch_size"),
            ({"seed": 2}, "a run with seed=1"),
            ({"shuffle": False}, "other shuffle"),
            ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, "other callbacks"),
            ({"validation_data": (images(8), labels(8))}, "other validation data"),
            ({"steps_per_epoch": 2}, "whole epochs"),
        ],
    )
    def test_other_data_and_settings(self, keep: str, changes: dict, message: str) -> None:
        model = dropping()
        before, kept = [np.array(w) for w in model.get_weights()], Path(keep).read_bytes()
        with pytest.raises(ValueError, match=message):
            tried(model, keep, resume=keep, **changes)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert Path(keep).read_bytes() == kept

    def test_another_model_or_optimizer(self, keep: str) -> None:
        other = ftk.compile_for_task(ftk.add_head(tiny_backbone(), "binary", hidden_units=[5]))
        with pytest.raises(ValueError, match=r"another model.*\(8, 5\)"):
            tried(other, keep, resume=keep)
        with pytest.raises(ValueError, match="other optimizer"):
            tried(dropping("adam"), keep, resume=keep)
        with pytest.raises(ValueError, match="`epochs` must be"):
            tried(dropping(), keep, resume=keep, epochs=0)

    def test_what_is_no_path(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="`resume` must be the path"):
            tried(dropping(), str(tmp_path / "run.ckpt"), resume=3)

    def test_fewer_epochs_than_are_done(self, tmp_path: Path) -> None:
        keep = str(tmp_path / "run.ckpt")
        tried(dropping(), keep)
        model = dropping()
        before = model.get_weights()
        with pytest.raises(ValueError, match="has done 2 epochs"):
            tried(model, keep, resume=keep, epochs=1)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_run_of_another_kind(self, keep: str) -> None:
        with pytest.raises(ValueError, match="is of a run of `fit`"):
            ftk.fit_in_stages(
                dropping(), images(), labels(), stages=[ftk.Stage(trainable="head")], resume=keep
            )

    def test_data_that_can_be_walked_once(self, tmp_path: Path) -> None:
        def batches() -> Any:
            while True:
                yield images(8), labels(8)

        with pytest.raises(ValueError, match=r"whole epochs|walked again"):
            tried(dropping(), str(tmp_path / "g.ckpt"), x=batches(), y=None, steps_per_epoch=2)

    def test_a_damaged_file_and_a_missing_one(self, keep: str, tmp_path: Path) -> None:
        data = Path(keep).read_bytes()
        for part in (data[: len(data) // 2], b"no zip", data[:200] + b"\0" * 9 + data[209:]):
            Path(keep).write_bytes(part)
            with pytest.raises(ValueError, match="not a complete checkpoint"):
                tried(dropping(), str(tmp_path / "new.ckpt"), resume=keep)
        history = tried(dropping(), keep, resume=str(tmp_path / "missing.ckpt"))
        assert history.epoch == [0, 1]

    def test_a_model_that_is_not_built(self, tmp_path: Path) -> None:
        model = keras.Sequential([L.Flatten(), L.Dense(1, activation="sigmoid")])
        model.compile("sgd", "binary_crossentropy")
        with pytest.raises(ValueError, match="needs a model that is built"):
            tried(model, str(tmp_path / "run.ckpt"))

    def test_plain_keras_has_no_order_to_go_on_with(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"needs `finetunekit.fit`"):
            dropping().fit(
                images(), labels(), callbacks=[ftk.callbacks.Checkpoint(tmp_path / "a")], verbose=0
            )

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"path": "/no/such/folder/run.ckpt"}, FileNotFoundError),
            ({"path": os.sep}, IsADirectoryError),
            ({"path": 3}, TypeError),
            ({"path": "run.ckpt", "every": "step"}, ValueError),
            ({"path": "run.ckpt", "every": 0}, ValueError),
        ],
    )
    def test_wrong_arguments(self, arguments: dict, error: type) -> None:
        with pytest.raises(error):
            ftk.callbacks.Checkpoint(**arguments)


def test_a_new_run_keeps_the_file_of_the_one_before(tmp_path: Path) -> None:
    keep = tmp_path / "run.ckpt"
    keep.write_bytes(b"of the run before")
    ftk.fit(dropping(), images(), labels(), callbacks=[ftk.callbacks.Checkpoint(keep)], verbose=0)
    assert (tmp_path / "run.ckpt.previous").read_bytes() == b"of the run before"


def test_stages_that_go_on_into_another_file_leave_what_is_there(tmp_path: Path) -> None:
    """Also in a later stage, which in a run of its own writes over the file of the one before."""
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    second.write_bytes(b"of another run")
    for keep, resume in ((first, None), (second, first)):
        ftk.fit_in_stages(
            dropping(),
            images(),
            labels(),
            stages=[ftk.Stage(trainable="head"), ftk.Stage(trainable="head")],
            callbacks=[ftk.callbacks.Checkpoint(keep)],
            resume=resume,
            verbose=0,
        )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["first.ckpt", "second.ckpt.previous"]  # No epoch is left to be written.
    assert Path(f"{second}.previous").read_bytes() == b"of another run"


def test_what_a_checkpoint_cannot_hold_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.thing = object()

    callbacks = [Odd(), ftk.callbacks.Checkpoint(tmp_path / "run.ckpt")]
    ftk.fit(dropping(), images(), labels(), callbacks=callbacks, verbose=0)
    assert "these attributes of Odd, which start anew after an interruption: 'thing" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "staged", "pipeline"])
def test_killed_at_random_and_resumed(kind: str, tmp_path: Path) -> None:
    """`kill -9` in real processes, at moments drawn at random, some of them twice."""
    found = subprocess.run(
        [sys.executable, str(CHILD), kind, str(tmp_path), "5", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    assert len(rows) == 5, found.stderr[-3000:]
    assert all(row["equal"] for row in rows), (rows, found.stderr[-3000:])
    assert any(row["hits"][0] for row in rows)
