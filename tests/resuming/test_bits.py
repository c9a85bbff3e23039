"""Does a run that is cut off and resumed end with the bits of the whole one, wherever it is cut?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.models import optimizer_state, rate_multipliers
from interruptions import Cut, CutAt, ends
from models import L
from parameters import often
from text_models import letters, with_tokenizer


def check(
    train: Callable[..., tuple[keras.Model, Any]],
    folder: Path,
    cuts: Sequence[int | tuple[int, ...]],
    every: int | str = 2,
) -> None:
    """Compares a whole run with some that are cut off, perhaps twice, and resumed."""

    def run(steps: int | None, keep: str, resume: str | None) -> Any:
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        callbacks = [CutAt(steps), ftk.callbacks.Checkpoint(keep, every=every)]
        model, history = train(callbacks=callbacks, resume=resume, verbose=0)
        return ends(model), history.history, history.epoch

    whole, history, epochs = run(None, str(folder / "whole.ckpt"), None)
    for cut in cuts:
        keep, resume = str(folder / f"{cut}.ckpt"), None
        for steps in (cut,) if isinstance(cut, int) else cut:
            with pytest.raises(Cut):
                run(steps, keep, resume)
            resume = keep
        resumed, other, again = run(None, keep, keep)
        assert (other, again) == (history, epochs), cut
        for one, two in zip(whole, resumed, strict=True):
            np.testing.assert_array_equal(one, two, err_msg=f"cut at {cut}")


X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype("int32")
HELD_OUT = (X[:8] + 1, Y[:8])


def network(*layers: keras.layers.Layer) -> keras.Model:
    inputs = x = keras.Input((6,))
    for number in (1, 2):
        x = L.Dense(8, activation="relu", name=f"dense{number}")(x)
        x = L.BatchNormalization(name=f"norm{number}")(x)
        x = L.Dropout(0.2, name=f"drop{number}")(x)
    for layer in layers:
        x = layer(x)
    return ftk.add_head(keras.Model(inputs, x, name="network"), "binary")


@pytest.mark.parametrize("cuts", often([[(19, 58)], [19, (58, 61)]], ([(19, 58)],)))
def test_stages_with_stashed_and_warming_variables(
    cuts: list[int | tuple[int, ...]], tmp_path: Path
) -> None:
    """16 steps a stage; `dense2` warms up in the second, is frozen in the third, and comes back."""
    seen = []

    class Sees(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            inner = rate_multipliers.innermost(self.model.optimizer)
            kernel = self.model.get_layer("network").get_layer("dense2").kernel
            seen.append(
                (rate_multipliers.warming(inner, kernel), bool(optimizer_state.stashed(inner)))
            )

    def train(callbacks: list[Any], **options: Any) -> Any:
        model = network()
        ftk.compile_for_task(model, optimizer="adamw", learning_rate=1e-2, ema_momentum=0.9)
        both = ["head", "dense2"]
        stages = [
            ftk.Stage(trainable="head", schedule="linear"),
            ftk.Stage(trainable=both, epochs=2, schedule="cosine", layer_decay=0.7),
            ftk.Stage(trainable="head", rates={"head": 0.5}),
            ftk.Stage(trainable=both),
        ]
        given = {"stages": stages, "batch_size": 2, "engine": "keras", **options}
        return model, ftk.fit_in_stages(model, X, Y, callbacks=[Sees(), *callbacks], **given)

    check(train, tmp_path, cuts, every=2)
    assert seen[18][0] == (16, 3)
    assert not seen[18][1]
    assert seen[57][1]


def test_memory_windows(tmp_path: Path) -> None:
    """Features of 1 KB are read in windows of 8 samples, 4 steps each."""

    def train(callbacks: list[Any], **options: Any) -> Any:
        model = network()
        ftk.freeze_layers(model, "backbone")
        ftk.compile_for_task(model, learning_rate=1e-2)
        given = {"epochs": 3, "batch_size": 2, "memory_limit": 1024, "engine": "keras", **options}
        return model, ftk.fit(model, X, Y, callbacks=callbacks, **given)

    check(train, tmp_path, [16 + 10], every=1)


@pytest.mark.slow
def test_averages_accumulation_and_a_schedule(tmp_path: Path) -> None:
    def train(callbacks: list[Any], **options: Any) -> Any:
        model = network()
        optimizer = keras.optimizers.AdamW(
            1e-2, gradient_accumulation_steps=3, use_ema=True, ema_momentum=0.9
        )
        ftk.compile_for_task(model, optimizer=optimizer)
        callbacks = [ftk.callbacks.Schedule("one_cycle"), *callbacks]
        given = {"epochs": 3, "batch_size": 4, "validation_data": HELD_OUT, **options}
        return model, ftk.fit(model, X, Y, callbacks=callbacks, **given)

    check(train, tmp_path, [13, 20], every=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Its open file.
def test_counters_and_a_log(tmp_path: Path) -> None:
    """The log has a row for each epoch, also if one was written after the last checkpoint."""
    logs: list[Path] = []

    def train(callbacks: list[Any], resume: str | None, **options: Any) -> Any:
        model = network()
        ftk.compile_for_task(model, optimizer="sgd", learning_rate=1e-2)
        if resume is None:
            logs.append(tmp_path / f"log{len(logs)}.csv")
        ours = [
            keras.callbacks.CSVLogger(logs[-1]),
            keras.callbacks.ReduceLROnPlateau("val_loss", 0.5, patience=2, min_delta=0.1),
            ftk.callbacks.EarlyStopping("val_loss", patience=5, min_delta=0.1),
        ]
        given = {"epochs": 12, "batch_size": 8, "validation_data": HELD_OUT, **options}
        given |= {"callbacks": [*ours, *callbacks], "resume": resume}
        return model, ftk.fit(model, X, Y, **given)

    check(train, tmp_path, [10, (18, 21)], every="epoch")
    whole = logs[0].read_text()
    assert 3 < len(whole.splitlines()) < 12
    assert [log.read_text() for log in logs[1:]] == [whole] * 2


class Noise(keras.layers.Layer):
    """Draws from the generators of the whole process."""

    def call(self, x: Any, training: bool = False) -> Any:
        import tensorflow as tf

        if not training:
            return x
        drawn = tf.random.get_global_generator().normal(tf.shape(x))
        return x + 0.1 * keras.random.normal(keras.ops.shape(x)) + 0.1 * drawn


@pytest.mark.slow
def test_the_generators_of_the_whole_process(tmp_path: Path) -> None:
    import tensorflow as tf

    def train(callbacks: list[Any], resume: str | None, **options: Any) -> Any:
        tf.random.get_global_generator().reset_from_seed(5 if resume is None else 6)
        if resume is not None:
            keras.random.normal((3,))  # Another process need not have drawn as many.
        model = network(Noise())
        ftk.compile_for_task(model, learning_rate=1e-2)
        given = {"epochs": 3, "batch_size": 8, "resume": resume, **options}
        return model, ftk.fit(model, X, Y, callbacks=callbacks, **given)

    check(train, tmp_path, [7, 8], every=2)


@pytest.mark.slow
def test_texts_by_their_length(tmp_path: Path) -> None:
    texts, labels = letters(24)

    def train(callbacks: list[Any], **options: Any) -> Any:
        model = ftk.add_head(with_tokenizer(), "binary", dropout=0.2)
        ftk.compile_for_task(model, learning_rate=1e-2)
        given = {"epochs": 3, "batch_size": 4, "validation_data": (texts[:8], labels[:8])}
        return model, ftk.fit(model, texts, labels, callbacks=callbacks, **given, **options)

    check(train, tmp_path, [9], every=2)


@pytest.mark.slow
def test_bfloat16(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")

    def train(callbacks: list[Any], **options: Any) -> Any:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = network()
        ftk.compile_for_task(model, learning_rate=1e-2)
        given = {"epochs": 2, "batch_size": 8, **options}
        return model, ftk.fit(model, X, Y, callbacks=callbacks, **given)

    check(train, tmp_path, [6], every=1)


class Holds(keras.callbacks.Callback):
    """Holds what is awkward, and changes an argument in place."""

    def __init__(self, counts: list[int], unchanged: int = 0) -> None:
        super().__init__()
        self.counts, self.unchanged = counts, unchanged
        self.words = np.array(["a"])
        self.large = np.array([1], ">i4")
        self.small = keras.ops.convert_to_numpy(keras.ops.ones((1,), "bfloat16"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.counts.append(batch)
        self.words = np.append(self.words, "b" * len(self.words))
        self.large = self.large + np.array([1], ">i4")
        self.small = self.small * 2


def test_what_callbacks_hold(tmp_path: Path) -> None:
    held = []

    def train(callbacks: list[Any], resume: str | None, **options: Any) -> Any:
        model = ftk.add_head(keras.Sequential([keras.Input((6,)), L.Dense(4)]), "binary")
        ftk.compile_for_task(model, optimizer="sgd")
        held.append(Holds([], unchanged=3 if resume else 2))
        given = {"epochs": 2, "batch_size": 8, "resume": resume, **options}
        return model, ftk.fit(model, X, Y, callbacks=[held[-1], *callbacks], **given)

    check(train, tmp_path, [6], every=2)
    whole, _, resumed = held
    assert resumed.counts == whole.counts
    assert resumed.unchanged == 3  # A setting that no run has changed is the new one.
    for name in ("words", "large", "small"):
        one, two = getattr(whole, name), getattr(resumed, name)
        np.testing.assert_array_equal(one, two)
    assert (resumed.words.dtype.kind, resumed.small.dtype.name) == ("U", "bfloat16")
