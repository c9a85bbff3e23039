"""Features of pipelines, found by content: as `model.fit` trains, whatever was kept before."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from frozen_dense import dense, pipeline, same_training, samples, weights
from parameters import often


def uneven(sizes: tuple[int, ...], seed: int = 0) -> tf.data.Dataset:
    """Batches of given sizes."""
    x, y = samples(sum(sizes), seed)
    ends = np.cumsum(sizes)

    def batches() -> Any:
        for size, end in zip(sizes, ends, strict=True):
            yield x[end - size : end], y[end - size : end]

    spec = (tf.TensorSpec((None, 6), tf.float32), tf.TensorSpec((None,), tf.int32))
    found = tf.data.Dataset.from_generator(batches, output_signature=spec)
    return found.apply(tf.data.experimental.assert_cardinality(len(sizes)))


def mixed() -> tf.data.Dataset:
    """The first 20 samples, and 24 others."""
    parts = zip(samples(20), samples(24, 1), strict=True)
    return tf.data.Dataset.from_tensor_slices(tuple(map(np.concatenate, parts))).batch(8)


# Fits one after the other on the same model: the data, and the number of epochs.
RUNS: dict[str, list[tuple[tf.data.Dataset, int]]] = {
    "another dataset": [(pipeline(20), 1), (pipeline(80, 1), 4), (pipeline(20), 2)],
    "grown data": [(pipeline(20), 2), (pipeline(72), 3)],
    "old and new in one batch": [
        (pipeline(20), 2),
        (mixed(), 3),
    ],
    "a smaller first batch": [(uneven((3, 8, 8, 5)), 3)],
}


# Elsewhere a sample has come in a batch of another size before, which may round it otherwise.
EXACT = ("another dataset", "a smaller first batch")


@functools.cache
def reference(run: str) -> list[tuple[Any, list[np.ndarray]]]:
    """What `model.fit` gives: the history and the weights after each of the fits."""
    model, found = dense(), []
    for data, epochs in RUNS[run]:
        history = model.fit(data, epochs=epochs, verbose=0, shuffle=False).history
        found.append((history, weights(model)))
    return found


WHERE: dict[str, Callable[[Path], dict[str, Any]]] = {
    "memory": lambda folder: {},
    "a file": lambda folder: {"cache": folder / "features.h5"},
    "little memory": lambda folder: {"memory_limit": 900},  # 45 samples.
}
PLACES = [(run, "memory") for run in RUNS]
PLACES += [(run, where) for run in ("grown data", "old and new in one batch") for where in WHERE]
CASES = [
    (*case, deterministic) for case in dict.fromkeys(PLACES) for deterministic in (True, False)
]
BY_DEFAULT = (("grown data", "a file", False), ("old and new in one batch", "little memory", True))


@pytest.mark.parametrize(("run", "where", "deterministic"), often(CASES, BY_DEFAULT))
def test_each_fit_trains_on_all_its_batches(
    run: str, where: str, deterministic: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = WHERE[where](tmp_path) | {"engine": "keras", "deterministic": deterministic}
    model = dense()
    for (data, epochs), (history, wanted) in zip(RUNS[run], reference(run), strict=True):
        found = ftk.fit(model, data, epochs=epochs, verbose=0, **options)
        close = functools.partial(np.allclose, rtol=1e-5, atol=1e-6)
        if run in EXACT:
            close = np.array_equal
        assert len(found.history["loss"]) == epochs
        assert all(map(close, found.history.values(), history.values()))
        assert all(map(close, weights(model), wanted))
    assert "no longer cached" not in caplog.text


@pytest.mark.parametrize("limit", [None, 900])
def test_a_sample_is_computed_once(limit: int | None, rows_run: list[int]) -> None:
    model = dense()
    for data, epochs in RUNS["old and new in one batch"]:
        ftk.fit(model, data, epochs=epochs, verbose=0, memory_limit=limit)
    # Three rows again in each fit that computes any, to see that they depend on nothing else.
    assert sum(rows_run) - 3 * 2 == 44


def test_a_second_fit_that_repeats_its_data_is_deterministic_too() -> None:
    plain, ours = dense(), dense()
    options = {"epochs": 3, "steps_per_epoch": 3, "verbose": 0, "shuffle": False}
    plain.fit(pipeline(24).repeat(), **options)
    ftk.fit(ours, pipeline(24).repeat(), **options, engine="keras", deterministic=True)
    assert same_training(plain, ours)


def test_epochs_that_are_a_part_of_the_pipeline_do_not_repeat_themselves() -> None:
    # Keras begins an epoch where the one before has ended.
    with pytest.raises(ValueError, match=r"the same batches.*steps_per_epoch=2.* of 3"):
        ftk.fit(dense(), pipeline(24), steps_per_epoch=2, deterministic=True, verbose=0)
    ftk.fit(dense(), pipeline(24), steps_per_epoch=3, deterministic=True, verbose=0)


def test_validation_on_streams_of_their_own() -> None:
    plain, ours = dense(), dense()
    for seed in (0, 1):
        options = {
            "validation_data": pipeline(20, seed + 5),
            "epochs": 3,
            "verbose": 0,
            "shuffle": False,
        }
        wanted = plain.fit(pipeline(24, seed), **options)
        found = ftk.fit(ours, pipeline(24, seed), **options, engine="keras", deterministic=True)
        assert found.history == wanted.history


def test_a_pass_that_was_cut_short_is_not_repeated() -> None:
    class StopValidation(keras.callbacks.Callback):
        """Ends the first validation after its first batch."""

        done = 0

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.done += 1
            self.model.stop_evaluating = self.done == 1

    plain, ours = dense(), dense()
    histories = []
    for fit in (
        lambda **o: plain.fit(pipeline(24), **o),
        lambda **o: ftk.fit(ours, pipeline(24), **o, engine="keras", deterministic=True),
    ):
        options = {"validation_data": pipeline(20, 5), "epochs": 4, "verbose": 0, "shuffle": False}
        histories.append(fit(**options, callbacks=[StopValidation()]).history)
    assert histories[0] == histories[1]


@pytest.mark.parametrize("repeated", often([False, True], (True,)))
def test_a_pass_that_ends_within_an_execution(repeated: bool) -> None:
    models = []
    data, epochs = pipeline(20), {"epochs": 3, "verbose": 0}  # Three batches.
    if repeated:
        data, epochs = data.repeat(), {**epochs, "steps_per_epoch": 3}
    for cached in (False, True):
        model = dense(steps_per_execution=2)
        if cached:
            ftk.fit(model, data, engine="keras", deterministic=True, **epochs)
        else:
            model.fit(data, shuffle=False, **epochs)
        models.append(model)
    assert int(models[1].optimizer.iterations) == int(models[0].optimizer.iterations)
    assert all(map(functools.partial(np.allclose, atol=1e-6), *map(weights, models)))
