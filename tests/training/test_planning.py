"""Each argument of `fit` has its place in the plan, and what cannot be is said before."""

from __future__ import annotations

import functools
import inspect
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching.options import CacheOptions
from finetunekit.data.array_batches import ArrayBatches, MixedArrayBatches, TextBatches
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.training import planning
from finetunekit.training.plan import FitPlan
from finetunekit.training.planning import plan_fit
from text_models import letters, with_tokenizer

L = keras.layers
X = np.arange(24, dtype="float32").reshape(12, 2)
Y = np.array([0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1])


@functools.cache
def compiled(classes: int = 1, loss: Any = None) -> keras.Model:
    activation, usual = "softmax", "sparse_categorical_crossentropy"
    if classes == 1:
        activation, usual = "sigmoid", "binary_crossentropy"
    model = keras.Sequential([keras.Input((2,)), L.Dense(classes, activation=activation)])
    model.compile("sgd", loss or usual)
    return model


def plan(x: Any = X, y: Any = Y, model: keras.Model | None = None, **options: Any) -> FitPlan:
    return plan_fit(model or compiled(), x, y, **options)


def arrays_of(found: Any) -> ArrayBatches:
    assert isinstance(found, ArrayBatches)
    return found


def pipeline() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def test_a_plan_as_it_is_by_default() -> None:
    model = compiled()
    found = plan_fit(model, X, Y)
    assert found.model is model
    assert found.task is not None
    assert (found.task.name, found.task.num_classes) == ("binary", 1)
    assert found.labels == found.task
    assert found.loop == LoopOptions(epochs=1, initial_epoch=0, verbose="auto", validation_freq=1)
    assert (found.validation, found.callbacks, found.seed, found.resume) == (None, (), None, None)
    limit = found.cache.memory_limit
    assert found.cache == CacheOptions(
        "auto", None, "auto", frozen_dropout=False, deterministic=False, memory_limit=limit
    )
    assert limit > 0
    batches = arrays_of(found.batches)
    assert batches.order is not None, "arrays are shuffled"
    assert (batches.samples, batches.size, batches.arrays.weights) == (12, 32, None)


def test_keras_arguments_have_the_defaults_of_keras() -> None:
    ours, theirs = (inspect.signature(f).parameters for f in (plan_fit, keras.Model.fit))
    shared = [name for name in theirs if name in ours and name not in ("self", "x", "y")]
    assert len(shared) == 14
    for name in shared:
        assert ours[name].default == theirs[name].default


def test_the_loop_is_as_it_was_asked_for() -> None:
    numbers: dict[str, Any] = {
        "batch_size": 3,
        "epochs": 9,
        "initial_epoch": 4,
        "verbose": 0,
        "steps_per_epoch": 5,
        "validation_steps": 6,
        "validation_batch_size": 7,
        "validation_freq": 8,
    }
    found = plan(validation_data=(X, Y), **numbers)
    assert found.loop == LoopOptions(**numbers)
    train, held_out = arrays_of(found.batches), arrays_of(found.validation)
    assert (train.size, train.keras_steps) == (3, 5)
    assert (held_out.size, held_out.keras_steps) == (7, 6)
    assert found.cache.verbose == 0


def test_validation_batches_are_as_large_as_others_unless_it_is_said() -> None:
    assert arrays_of(plan(batch_size=3, validation_split=0.25).validation).size == 3


def test_the_samples_have_their_weights_and_their_part() -> None:
    weights = np.linspace(1, 2, 12)
    found = plan(
        validation_split=0.25, sample_weight=weights, class_weight={0: 1.0, 1: 2.0}, shuffle=False
    )
    train, held_out = arrays_of(found.batches), arrays_of(found.validation)
    assert train.order is None
    np.testing.assert_array_equal(train.arrays.x, X[:9])
    np.testing.assert_allclose(train.arrays.weights, weights[:9] * (1 + Y[:9]), rtol=1e-6)
    np.testing.assert_array_equal(held_out.arrays.x, X[9:])


def test_validation_data_are_read() -> None:
    found = plan(validation_data=(X[:2] + 1, Y[:2]))
    np.testing.assert_array_equal(arrays_of(found.validation).arrays.x, X[:2] + 1)


def test_the_seed_is_that_of_the_order() -> None:
    found = plan(seed=3)
    order = arrays_of(found.batches).order
    assert found.seed == 3
    assert order is not None
    np.testing.assert_array_equal(order(1), np.random.default_rng((3, 1)).permutation(12))


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_a_seed_is_a_whole_number(seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="`seed` must be"):
        plan(seed=seed)


def test_the_cache_is_as_it_was_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "features.h5")
    found = plan(
        cache=path,
        engine="graph",
        frozen_dropout=True,
        deterministic=True,
        memory_limit="2 kB",
        verbose=2,
    )
    assert found.cache == CacheOptions(
        True, path, "graph", True, True, 2000, 2, engines_in=str(tmp_path)
    )


def test_epochs_that_are_parts_of_a_pipeline_are_not_all_the_same() -> None:
    assert plan(pipeline(), None, steps_per_epoch=2).batches.steps == 2
    with pytest.raises(ValueError, match="`deterministic=True` says that each epoch"):
        plan(pipeline(), None, steps_per_epoch=2, deterministic=True)


@pytest.mark.parametrize("wanted", [True, False])
def test_texts_are_cut_to_their_longest_unless_it_is_to_be_model_fit(wanted: bool) -> None:
    found = plan(*letters(6), model=of_texts(), cache="auto" if wanted else False)
    assert isinstance(found.batches, TextBatches) is wanted


@functools.cache
def of_texts() -> keras.Model:
    """It takes tokens of letters, in texts of any length."""
    return ftk.compile_for_task(ftk.add_head(with_tokenizer(segments=False), "binary"))


class Images(keras.Sequential):
    """A compiled classifier of small images."""

    def __init__(self) -> None:
        super().__init__([keras.Input((2, 2, 1)), L.Flatten(), L.Dense(3, activation="softmax")])
        self.compile("sgd", "categorical_crossentropy")


@pytest.mark.parametrize("listed", [True, False])
def test_mixed_samples_are_not_cached(listed: bool) -> None:
    layer = L.MixUp(seed=1)
    x, y = np.zeros((6, 2, 2, 1), "float32"), np.eye(3)[[0, 1, 2, 0, 1, 2]]
    found = plan(x, y, model=Images(), mix=[layer] if listed else layer)
    assert isinstance(found.batches, MixedArrayBatches)
    assert found.batches.random_layers == (layer,)
    assert found.cache.cache is False
    words = "`cache` is not possible: mixed samples differ in each step"
    with pytest.raises(ValueError, match=words):
        plan(x, y, model=Images(), mix=layer, cache=True)


def test_what_does_not_mix_is_refused() -> None:
    with pytest.raises(TypeError, match="`mix` must be"):
        plan(mix=[])


def test_labels_tell_their_form() -> None:
    found = plan(X, np.eye(3)[Y], model=compiled(3, "categorical_crossentropy"))
    assert found.labels is not None
    assert (found.labels.name, found.labels.one_hot) == ("multiclass", True)
    found = plan(X, Y, model=compiled(3))
    assert found.labels is not None
    assert found.labels.one_hot is False


def test_a_loss_of_its_own_has_no_task() -> None:
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, activation="tanh")])
    model.compile("sgd", lambda y, p: keras.ops.mean(keras.ops.square(p)))
    found = plan(model=model)
    assert (found.task, found.labels) == (None, None)


def test_labels_of_the_validation_have_the_same_form() -> None:
    model = ftk.compile_for_task(
        keras.Sequential([keras.Input((2,)), L.Dense(3, activation="softmax")]), "multiclass"
    )
    with pytest.raises(ValueError, match="`validation_data` must have labels of the same form"):
        plan(X, Y, model=model, validation_data=(X, np.eye(3)[Y]))


def test_callbacks_come_in_any_form() -> None:
    first, second = keras.callbacks.History(), keras.callbacks.TerminateOnNaN()
    assert plan(callbacks=first).callbacks == (first,)
    assert plan(callbacks=(first, second)).callbacks == (first, second)
    with pytest.raises(TypeError, match="`callbacks` must hold callback objects, not classes"):
        plan(callbacks=[keras.callbacks.History])


def test_what_callbacks_watch_must_be_logged() -> None:
    stop = keras.callbacks.EarlyStopping("val_loss")
    assert plan(callbacks=[stop], validation_split=0.25).callbacks == (stop,)
    with pytest.raises(ValueError, match="`monitor` must be one of the values that are logged"):
        plan(callbacks=[stop])


def test_a_misspelt_argument_is_named() -> None:
    with pytest.raises(
        TypeError, match=r"`epoch` is not an argument of `fit`\. Did you mean 'epochs'"
    ):
        plan(epoch=3)


def test_a_model_that_cannot_train_is_refused_first() -> None:
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    with pytest.raises(ValueError, match="`model` is not compiled"):
        plan(model=model, epoch=3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("epochs", {"epochs": 2, "initial_epoch": 2}),
        ("epochs", {"epochs": 0}),
        ("batch_size", {"batch_size": 0}),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"^`{name}`"):
        plan(**options)


@pytest.mark.parametrize("seed", [5, None])
def test_a_run_with_a_checkpoint_keeps_its_seed(tmp_path: Path, seed: int | None) -> None:
    model, keep = compiled(), ftk.callbacks.Checkpoint(tmp_path / "run.ckpt")
    random.seed(7)
    expected = random.Random(7).randrange(2**32) if seed is None else seed
    found = plan(model=model, callbacks=[keep], seed=seed)
    assert found.seed == expected
    assert found.resume is not None
    order = arrays_of(found.batches).order
    assert order is not None
    np.testing.assert_array_equal(order(0), np.random.default_rng((expected, 0)).permutation(12))


def test_a_resumed_run_says_the_seed_and_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Resumed:
        @classmethod
        def of(cls, *arguments: Any) -> Any:
            asked.append(arguments)
            return cls()

        def seed(self, given: int | None) -> int:
            asked.append(given)
            return 11

        def cache(self, given: CacheOptions) -> CacheOptions:
            return CacheOptions(memory_limit=given.memory_limit + 1)

    monkeypatch.setattr(planning, "Run", Resumed)
    history = keras.callbacks.History()
    found = plan(resume="run.ckpt", callbacks=[history], seed=4, memory_limit=99)
    assert asked == [([history], "run.ckpt"), 4]
    assert (found.seed, found.cache.memory_limit) == (11, 100)
    assert isinstance(found.resume, Resumed)
    order = arrays_of(found.batches).order
    assert order is not None
    np.testing.assert_array_equal(order(0), np.random.default_rng((11, 0)).permutation(12))
