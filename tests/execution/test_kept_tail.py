"""The traced tail is kept from fit to fit, and made anew as soon as anything in it changes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching.extract import Extractor
from finetunekit.data.batches import Batches
from finetunekit.execution import tail
from finetunekit.execution.by_content import FeaturesByContent
from finetunekit.execution.readers import Reader, ReadyReader
from frozen_dense import dense, pipeline, same_training, samples
from parameters import often

X, Y = samples(16)
OPTIONS: dict[str, Any] = {"batch_size": 8, "verbose": 0, "shuffle": False}


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows by one whenever a training or test step is traced."""
    found: list[bool] = []
    forward = tail.Tail._forward

    def noted(self: Any, parts: Any, training: bool) -> Any:
        found.append(training)
        return forward(self, parts, training)

    monkeypatch.setattr(tail.Tail, "_forward", noted)
    ftk.clear_cache()
    return found


def fit(model: keras.Model, **options: Any) -> None:
    ftk.fit(model, X, Y, **OPTIONS, engine="keras", **options)


def test_a_second_fit_is_not_traced_and_trains_as_model_fit(traces: list[bool]) -> None:
    plain, ours = dense(), dense()
    for _ in range(3):
        plain.fit(X, Y, **OPTIONS)
        fit(ours)
    assert len(traces) == 1
    assert same_training(plain, ours)


def compile_anew(model: keras.Model) -> None:
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")


def another_rate_of_dropout(model: keras.Model) -> None:
    next(x for x in model.layers if isinstance(x, keras.layers.Dropout)).rate = 0.0


def frozen_and_back(model: keras.Model) -> None:
    ftk.freeze_layers(model, "middle")
    fit(model)
    ftk.unfreeze_layers(model, "middle")


CHANGES: list[Callable[[keras.Model], Any]] = [
    compile_anew,
    another_rate_of_dropout,
    frozen_and_back,
    lambda model: ftk.freeze_layers(model, "middle"),
    lambda model: ftk.unfreeze_layers(model, "second"),
    lambda model: setattr(model.get_layer("middle"), "activation", keras.ops.tanh),
    lambda model: setattr(model.optimizer, "clipnorm", 1e-3),
    lambda model: model.make_train_function(force=True),
]


@pytest.mark.parametrize("change", often(CHANGES, tuple(CHANGES[:2])))
def test_a_change_is_traced(change: Callable[[keras.Model], Any], traces: list[bool]) -> None:
    kept, fresh = dense(), dense()
    for model in (kept, fresh):
        if model is kept:
            fit(model)
        else:
            fit(model)
            vars(model).pop("_finetunekit_tail")
        change(model)
        if model is fresh:
            vars(model).pop("_finetunekit_tail", None)
        traces.clear()
        fit(model)
        assert traces
    assert same_training(kept, fresh)


def test_an_injection_leaves_with_its_fit(traces: list[bool]) -> None:
    plain, ours = dense(), dense()
    for callbacks in ([], [ftk.callbacks.DropoutInjection(0.5, after="middle", seed=3)], []):
        plain.fit(X, Y, **OPTIONS, callbacks=callbacks)
        fit(ours, callbacks=callbacks)
    assert same_training(plain, ours)


def test_the_model_goes_with_its_tail_and_is_saved_without(tmp_path: Path) -> None:
    model = dense()
    fit(model)
    model.save(tmp_path / "m.keras")
    clone = keras.models.clone_model(model)
    assert "_finetunekit_tail" not in vars(clone)
    assert np.array_equal(
        keras.saving.load_model(tmp_path / "m.keras").predict(X, verbose=0),
        model.predict(X, verbose=0),
    )
    gone = weakref.ref(model)
    del model, clone
    keras.utils.clear_session(free_memory=False)
    gc.collect()
    assert gone() is None


# What holds data: features and samples, and the iterators of tf.data.
HOLDERS = (Batches, Reader, ReadyReader, FeaturesByContent, Extractor, type(iter(pipeline(8))))


def holders() -> list[str]:
    # By the type: `isinstance` would ask proxies whose object is gone.
    held = (type(each) for each in gc.get_objects())
    return sorted(kind.__name__ for kind in held if issubclass(kind, HOLDERS))


@pytest.mark.parametrize("kind", ["arrays", "pipeline"])
def test_the_data_go_with_the_fit(kind: str) -> None:
    """Without the garbage collector, which may come late, and waits for an iterator's thread."""
    data: Any = samples(24) if kind == "arrays" else (pipeline(24),)
    model, held_out = dense(), pipeline(8)
    gc.collect()
    gc.disable()
    try:
        before = holders()
        during: list[str] = []
        noted = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: during.extend(holders()))
        options = {"epochs": 2, "verbose": 0, "shuffle": False, "callbacks": [noted]}
        ftk.fit(model, *data, validation_data=held_out, **options)
        assert len(during) > 2 * len(before)
        assert holders() == before
    finally:
        gc.enable()


def resident() -> float:
    """MiB of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_many_fits_keep_no_memory() -> None:
    model = dense()
    for _ in range(3):
        fit(model)
    gc.collect()
    before = resident()
    for _ in range(20):
        fit(model)
    gc.collect()
    assert resident() - before < 20 * 0.5  # Of 1.85 MB once; `benchmarks/refits.py` is exact.
