"""Does `fit` on features give what `model.fit` gives, and compute nothing twice?"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.caching import engines, hdf5_table
from finetunekit.caching.store import FeatureStore
from finetunekit.execution import fused_adam, tail
from models import images, labels, same, tiny_backbone, values
from parameters import often
from topologies import ROWS, TOPOLOGIES, Made

L = keras.layers
X, Y = images(21), labels(21)


def built(make: Callable[[], Made]) -> Made:
    """The same model each time, compiled."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model, x, y, loss = make()
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model, x, y, loss


def small(policy: str = "float32", **options: Any) -> keras.Model:
    """A frozen backbone with a head that trains, the same each time."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    backbone = tiny_backbone()
    backbone.trainable = False
    head = L.Dense(2, activation="softmax", name="head")
    model = keras.Sequential([keras.Input((16, 16, 3)), backbone, L.Dropout(0.2, seed=1), head])
    model.compile(
        keras.optimizers.Adam(1e-2),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **options,
    )
    return model


def state(model: keras.Model) -> dict[str, np.ndarray]:
    """The optimizer's state."""
    return {str(n): np.asarray(v.numpy()) for n, v in enumerate(model.optimizer.variables)}


QUICK = ("residual_nested", "frozen_output")


@pytest.mark.parametrize(
    "make",
    [m if m.__name__ in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in TOPOLOGIES],
    ids=lambda make: make.__name__,
)
def test_bit_equal_to_model_fit(make: Callable[[], Made], rows_run: list[int]) -> None:
    model, x, y, _ = built(make)
    plain = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    wanted = values(model)
    other, x, y, _ = built(make)
    ours = ftk.fit(
        other, x, y, batch_size=8, epochs=3, shuffle=False, verbose=0, engine="keras", cache=True
    )
    assert same(wanted, values(other))
    assert ours.history == plain.history
    # Three batches, and three rows again to see that they do not depend on their batch.
    assert rows_run == [8, 3, 8, 5]
    assert sum(rows_run) - 3 == ROWS
    assert same(state(model), state(other))


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_in_one_pass_is_adam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_adam, "_LARGE", 4)
    models = []
    for engine in ("keras", "graph"):
        model = small()
        rate = keras.optimizers.schedules.ExponentialDecay(1e-2, 3, 0.9)
        optimizer = getattr(keras.optimizers, name)(rate, epsilon=1e-5, clipnorm=1.0)
        model.compile(optimizer, "sparse_categorical_crossentropy")
        ftk.fit(model, X / 255, Y, batch_size=8, epochs=10, seed=0, verbose=0, engine=engine)
        models.append(model)
        assert "update_step" not in vars(optimizer)
    for one, other in zip(values(models[0]).values(), values(models[1]).values(), strict=True):
        assert np.abs(one - other).max() < 1e-5
    for one, other in zip(state(models[0]).values(), state(models[1]).values(), strict=True):
        assert np.allclose(one, other, atol=1e-6, rtol=1e-3)


def pipeline(count: int = 21) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X[:count], Y[:count])).batch(8)


class Batches(keras.utils.PyDataset):
    """The samples, 8 at a time."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(index * 8, index * 8 + 8)
        return X[part], Y[part]


ARRAYS = {"x": X, "y": Y, "batch_size": 8}
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "arrays": lambda: ARRAYS | {"shuffle": False},
    "own order, split, weights": lambda: (
        ARRAYS | {"seed": 1, "validation_split": 0.25, "class_weight": {0: 1.0, 1: 3.0}}
    ),
    "sample weights": lambda: ARRAYS | {"shuffle": False, "sample_weight": np.linspace(0, 1, 21)},
    "validation pipeline": lambda: ARRAYS | {"shuffle": False, "validation_data": pipeline()},
    "validation steps": lambda: (
        ARRAYS | {"shuffle": False, "validation_data": (X, Y), "validation_steps": 1}
    ),
    "steps per epoch": lambda: ARRAYS | {"shuffle": False, "steps_per_epoch": 1},
    "initial epoch": lambda: ARRAYS | {"seed": 1, "initial_epoch": 1},
    "tf.data": lambda: {"x": pipeline(), "validation_data": pipeline(16)},
    "tf.data and arrays": lambda: {"x": pipeline(), "validation_data": (X[:9], Y[:9])},
    "repeated tf.data": lambda: {"x": pipeline().repeat(), "steps_per_epoch": 3},
    "deterministic": lambda: {
        "x": pipeline(),
        "validation_data": pipeline(16),
        "deterministic": True,
    },
    "PyDataset": lambda: {"x": Batches(), "shuffle": False, "class_weight": {0: 1.0, 1: 3.0}},
}


# How many samples there are to compute.
DISTINCT = {
    "validation pipeline": 42,
    "validation steps": 21,
    "steps per epoch": 21,
    "tf.data": 37,
    "tf.data and arrays": 30,
    "deterministic": 37,
}


# Of the others the slow tests make sure.
OFTEN = ("own order, split, weights", "tf.data and arrays", "deterministic", "PyDataset")


def close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two dicts of numbers are equal but for rounding."""
    return one.keys() == other.keys() and all(
        np.allclose(one[name], other[name], rtol=1e-5, atol=1e-6) for name in one
    )


@pytest.mark.parametrize("kind", often(KINDS, OFTEN))
def test_all_kinds_of_data(kind: str, rows_run: list[int]) -> None:
    """As without a cache; each sample goes through the prefix once."""
    plain = small()
    wanted = ftk.fit(plain, **KINDS[kind](), epochs=3, verbose=0, cache=False)
    ours = small()
    found = ftk.fit(ours, **KINDS[kind](), epochs=3, verbose=0, engine="keras")
    if "seed" in KINDS[kind]():
        # Features are computed in the samples' own order: a row of a matrix product may be rounded
        # by its place in the batch, which depends on the processor.
        assert close(found.history, wanted.history)
        assert close(values(ours), values(plain))
    else:
        assert found.history == wanted.history
        assert same(values(plain), values(ours))
        assert same(state(plain), state(ours))
    assert sum(rows_run) - 3 == DISTINCT.get(kind, 21)  # Three rows again, to check.


def test_pipelines_whose_samples_change_are_not_frozen(caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)  # TensorFlow's, once seeded, repeats itself each epoch.

    def augmented() -> tf.data.Dataset:
        noise = tf.data.Dataset.from_generator(
            lambda: (random.random((16, 16, 3), "float32") for _ in X),
            output_signature=tf.TensorSpec((16, 16, 3)),
        )
        both = tf.data.Dataset.zip((pipeline().unbatch(), noise))
        batches = both.map(lambda sample, extra: (sample[0] + extra, sample[1])).batch(8)
        return batches.apply(tf.data.experimental.assert_cardinality(3))

    model = small()
    ftk.fit(model, augmented(), epochs=4, verbose=0, engine="keras")
    assert "of 21 samples of the second epoch only 0 had come before" in caplog.text
    assert "put the augmentation into the model" in caplog.text
    # A reshuffled pipeline gives the same samples.
    caplog.clear()
    shuffled = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(21).batch(8)
    ftk.fit(small(), shuffled, epochs=3, verbose=0)
    assert "only" not in caplog.text


@pytest.mark.slow
def test_streams_are_kept_too_and_grow(rows_run: list[int]) -> None:
    model = small()
    ftk.fit(model, pipeline(16), validation_data=pipeline(8), epochs=2, verbose=0)
    assert sum(rows_run) - 3 == 24
    ftk.fit(model, pipeline(21), validation_data=pipeline(8), epochs=3, verbose=0)
    assert sum(rows_run) - 6 == 29


def test_a_deterministic_pipeline_is_read_once() -> None:
    reads: list[int] = []

    def read(number: Any) -> Any:
        reads.append(int(number))
        return X[int(number)]

    def images() -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(21)
        x = numbers.map(
            lambda n: tf.ensure_shape(tf.py_function(read, [n], tf.float32), (16, 16, 3))
        )
        return tf.data.Dataset.zip((x, tf.data.Dataset.from_tensor_slices(Y))).batch(8)

    ftk.fit(small(), images(), epochs=3, verbose=0, deterministic=True)
    assert sorted(reads) == list(range(21))
    ftk.fit(small(), images(), epochs=3, verbose=0)
    assert len(reads) == 21 * 4


def words(length: int | None) -> keras.Model:
    """Frozen embeddings, one for each token, and a tail that trains."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((length,), dtype="int32")
    x = L.Embedding(9, 4, trainable=False)(inputs)
    x = L.GlobalAveragePooling1D()(L.Conv1D(3, 1)(x))
    model = keras.Model(inputs, L.Dense(1)(x))
    model.compile("adam", "mse")
    return model


@pytest.mark.slow
def test_batches_of_other_lengths_are_trained_on_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    lines = [np.arange(n % 7 + 1, dtype="int32") % 9 for n in range(16)]
    data = tf.data.Dataset.from_generator(
        lambda: ((line, [1.0]) for line in lines),
        output_signature=(tf.TensorSpec((None,), tf.int32), tf.TensorSpec((1,))),
    )
    data = data.padded_batch(4).apply(tf.data.experimental.assert_cardinality(4))
    models = []
    for cache in (False, "auto"):
        models.append(words(None))
        ftk.fit(models[-1], data, epochs=2, verbose=0, cache=cache, engine="keras")
    assert same(values(models[0]), values(models[1]))
    assert "samples differ in shape from batch to batch" in caplog.text


@pytest.mark.slow
def test_a_full_disk_is_no_end_if_no_file_was_asked_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "no room")

    plain, ours, stream = small(), small(), small()
    options = ARRAYS | {"shuffle": False, "epochs": 2, "verbose": 0, "engine": "keras"}
    ftk.fit(plain, **options, cache=False)
    monkeypatch.setattr("finetunekit.caching.store.FeatureStore.create", full)
    ftk.fit(ours, **options, memory_limit=100)
    ftk.fit(stream, pipeline(), epochs=2, verbose=0, engine="keras", memory_limit=100)
    assert same(values(plain), values(ours))
    assert same(values(plain), values(stream))
    assert caplog.text.count("no room") == 2
    with pytest.raises(OSError, match="no room"):
        ftk.fit(small(), **options, cache=tmp_path / "f.h5")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy: str) -> None:
    models = []
    for cache in (False, "auto"):
        model = small(policy)
        assert model.layers[0].layers[1].compute_dtype != "float32"
        ftk.fit(model, **ARRAYS, shuffle=False, verbose=0, cache=cache, engine="keras", epochs=2)
        models.append(model)
    assert same(values(models[0]), values(models[1]))


@pytest.mark.slow
def test_texts_are_looked_up_once(rows_run: list[int]) -> None:
    texts = ["a b", "b c", "c", "a", "c b a", "b"] * 3
    models = []
    for cache in (False, "auto"):
        keras.utils.set_random_seed(0)
        lookup = L.TextVectorization(output_sequence_length=4)
        lookup.adapt(tf.constant(texts))
        model = keras.Sequential(
            [
                keras.Input((), dtype="string"),
                lookup,
                L.Embedding(9, 4, mask_zero=True, trainable=False),
                L.GlobalAveragePooling1D(),
                L.Dense(1, activation="sigmoid"),
            ]
        )
        model.compile("adam", "binary_crossentropy")
        y = np.arange(18) % 2
        options = {"batch_size": 8, "epochs": 2, "verbose": 0, "engine": "keras", "seed": 1}
        ftk.fit(model, texts, y, cache=cache, **options)
        models.append(model)
    for one, other in zip(values(models[0]).values(), values(models[1]).values(), strict=True):
        assert np.allclose(one, other, atol=1e-6)
    assert sum(rows_run) - 3 == 18


def test_a_generator_is_trained_on_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    def batches() -> Any:
        for part in (slice(0, 8), slice(8, 16)):
            yield X[part], Y[part]

    ftk.fit(small(), batches(), steps_per_epoch=2)
    assert "can be read only once" in caplog.text


class Watcher(keras.callbacks.Callback):
    """Writes down all that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.seen.append((type(self.model).__name__, self.params["steps"], self.params["epochs"]))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("batch", batch))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append((batch, logs["loss"], logs["accuracy"]))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(("test", batch, logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        scores = self.model.evaluate(X[:12] + 1, Y[:12], verbose=0, batch_size=5)
        answers = self.model.predict(X[:3], verbose=0).tolist()
        loss = self.model.test_on_batch(X[:4], Y[:4])[0]
        self.seen.append((epoch, dict(logs), scores, answers, float(loss)))


@pytest.mark.parametrize(
    ("kind", "together"),
    [
        ("arrays", 1),
        pytest.param("arrays", 2, marks=pytest.mark.slow),
        pytest.param("deterministic", 1, marks=pytest.mark.slow),
        pytest.param("deterministic", 2, marks=pytest.mark.slow),
    ],
)
def test_callbacks_see_the_full_model(kind: str, together: int) -> None:
    seen = []
    for cache in (False, "auto"):
        watcher = Watcher()
        model = small(steps_per_execution=together)
        data = KINDS[kind]() | {"validation_data": KINDS[kind]().get("validation_data", (X, Y))}
        ftk.fit(
            model, **data, epochs=2, verbose=0, cache=cache, engine="keras", callbacks=[watcher]
        )
        seen.append(watcher.seen)
    assert seen[0] == seen[1]


class Stop(keras.callbacks.Callback):
    """Stops in the middle of the second epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations == 4:
            self.model.stop_training = True


class Thaw(keras.callbacks.Callback):
    """Thaws a layer between epochs."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            ftk.unfreeze_layers(self.model, "features")


class Move(keras.callbacks.Callback):
    """Changes a frozen weight."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            kernel = self.model.layers[0].get_layer("conv1").kernel
            kernel.assign(kernel * 2)


CALLBACKS: dict[str, Callable[[], Any]] = {
    "stop_training": Stop,
    "unfreezing": Thaw,
    "weights that move": Move,
    "early stopping": lambda: ftk.callbacks.EarlyStopping(patience=1),
    "rates": lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=10),
    "dropout": lambda: ftk.callbacks.DropoutInjection(0.3, after="tiny", seed=1),
    "dropout inside": lambda: ftk.callbacks.DropoutInjection(0.3, after="conv1", seed=1),
    "penalty": lambda: ftk.callbacks.L1L2Injection(l2=0.1),
    "guard": lambda: ftk.callbacks.FrozenGuard(),
}


@pytest.mark.parametrize("kind", often(CALLBACKS, ("unfreezing",)))
def test_callbacks_that_act(kind: str) -> None:
    models, histories = [], []
    for cache in (False, "auto"):
        model = small()
        options = ARRAYS | {"shuffle": False, "validation_data": (X[:10], Y[:10]), "epochs": 4}
        options |= {"callbacks": [CALLBACKS[kind]()], "verbose": 0, "cache": cache}
        histories.append(ftk.fit(model, **options, engine="keras").history)
        models.append(model)
    assert histories[0] == histories[1]
    assert same(values(models[0]), values(models[1]))


@pytest.mark.slow
def test_a_callback_that_thaws_everything_computes_with_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class ThawAll(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                ftk.unfreeze_layers(self.model)

    models = []
    for cache in (False, "auto"):
        model = small()
        options = ARRAYS | {"shuffle": False, "epochs": 3, "verbose": 0, "engine": "keras"}
        ftk.fit(model, **options, cache=cache, callbacks=[ThawAll()])
        models.append(model)
    assert same(values(models[0]), values(models[1]))


@pytest.mark.slow
def test_checkpoints_hold_the_whole_model(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "best.keras"
    save = keras.callbacks.ModelCheckpoint(path)
    ftk.fit(model, **ARRAYS, epochs=2, verbose=0, callbacks=[save])
    loaded = keras.saving.load_model(path)
    assert np.array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert int(loaded.optimizer.iterations) == 6


@pytest.mark.slow
def test_afterwards_the_model_is_keras_again() -> None:
    models = []
    for cache in (False, "auto"):
        model = small()
        options = ARRAYS | {"shuffle": False, "verbose": 0}
        ftk.fit(model, **options, cache=cache, engine="keras")
        assert "make_train_function" not in vars(model)
        model.fit(**options)
        model.train_on_batch(X[:4], Y[:4])
        models.append(model)
    assert same(values(models[0]), values(models[1]))


def test_the_model_is_keras_again_though_a_file_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any) -> None:
        raise OSError("No space left on device")

    model = small()
    monkeypatch.setattr(FeatureStore, "close", full)
    with pytest.raises(OSError, match="No space"):
        ftk.fit(model, X, Y, validation_split=0.25, cache=tmp_path / "f.h5", verbose=0)
    assert "make_train_function" not in vars(model)
    assert "make_test_function" not in vars(model)


def test_the_bar_shows_every_step(capfd: pytest.CaptureFixture[str]) -> None:
    ftk.fit(small(), **ARRAYS, epochs=2, verbose=1)
    shown = capfd.readouterr().out
    assert shown.count("3/3") >= 2
    assert "loss:" in shown


def test_features_are_kept_between_fits_and_heads(rows_run: list[int]) -> None:
    backbone = ftk.freeze_layers(tiny_backbone())
    for number in range(3):
        model = ftk.add_head(backbone, "binary", hidden_units=[4] * number)
        ftk.compile_for_task(model)
        ftk.fit(model, X, Y, batch_size=8, epochs=2, verbose=0)
    assert sum(rows_run) - 3 == 21
    backbone.layers[1].kernel.assign(backbone.layers[1].kernel + 1)
    ftk.fit(model, X, Y, batch_size=8, verbose=0)
    assert sum(rows_run) - 6 == 42
    ftk.clear_cache()
    ftk.fit(model, X, Y, batch_size=8, verbose=0)
    assert sum(rows_run) - 9 == 63


def test_a_file_is_used_again_and_only_for_the_same(tmp_path: Path, rows_run: list[int]) -> None:
    path = tmp_path / "features.h5"
    options = ARRAYS | {"cache": path, "verbose": 0, "seed": 1, "validation_data": (X[:9], Y[:9])}
    first, second = small(), small()
    ftk.fit(first, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features.h5", "features.validation.h5"]
    done = sum(rows_run)
    ftk.fit(second, **options)
    assert sum(rows_run) == done
    assert same(values(first), values(second))
    before, weights = path.read_bytes(), values(second)
    for change in ({"x": X + 1}, {"engine": "keras"}):
        with pytest.raises(hdf5_table.StoreMismatch, match=r"features of other (data|engine)"):
            ftk.fit(second, **options | change)
    second.layers[0].get_layer("conv1").bias.assign([1, 2, 3, 4])
    weights = values(second)
    with pytest.raises(hdf5_table.StoreMismatch, match="other prefix weights"):
        ftk.fit(second, **options)
    assert same(weights, values(second))
    assert path.read_bytes() == before
    assert second.train_function is None
    ftk.clear_cache(path)
    assert not list(tmp_path.iterdir())


def test_streams_in_a_file(tmp_path: Path, rows_run: list[int]) -> None:
    path = tmp_path / "features.h5"
    plain = small()
    ftk.fit(plain, pipeline(), epochs=2, verbose=0, cache=False)
    for model in (small(), small()):
        ftk.fit(model, pipeline(), epochs=2, verbose=0, cache=path, engine="keras")
        assert same(values(plain), values(model))
    assert sum(rows_run) - 3 == 21
    with FeatureStore.open(path) as one, FeatureStore.open(path, write=True) as other:
        assert one.complete
        assert len(other) == 21


def test_interrupted_and_gone_on_with(tmp_path: Path, rows_run: list[int]) -> None:
    path, run = tmp_path / "features.h5", engines.Engine.__call__
    model = small()

    def interrupted(self: Any, inputs: list[Any]) -> Any:
        if len(rows_run) == 3:
            rows_run.append(0)
            raise KeyboardInterrupt
        return run(self, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines.Engine, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ftk.fit(model, **ARRAYS, seed=1, verbose=0, cache=path, engine="keras")
    assert "make_train_function" not in vars(model)
    rows_run.clear()
    ftk.fit(model, **ARRAYS, seed=1, verbose=0, cache=path, engine="keras")
    plain = small()
    ftk.fit(plain, **ARRAYS, seed=1, verbose=0, cache=False)
    assert same(values(plain), values(model))
    assert rows_run == [5, 3]


_KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
import numpy as np
import finetunekit as ftk
from finetunekit.caching import store
from test_feature_fit import ARRAYS, small
store.BLOCK = 1
ready = store.FeatureStore.append
def append(self, *args):
    ready(self, *args)
    if self.done >= 16:
        os.kill(os.getpid(), 9)
store.FeatureStore.append = append
ftk.fit(small(), **ARRAYS, seed=1, verbose=0, cache={path!r})
"""


@pytest.mark.slow
def test_killed_and_gone_on_with(tmp_path: Path, rows_run: list[int]) -> None:
    here, path = Path(__file__).parent, tmp_path / "features.h5"
    paths = os.pathsep.join([str(here), str(here.parent)])
    code = _KILLED.format(tests=str(here), path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.returncode == -9
    model, plain = small(), small()
    ftk.fit(model, **ARRAYS, seed=1, verbose=0, cache=path)
    ftk.fit(plain, **ARRAYS, seed=1, verbose=0, cache=False)
    assert rows_run[0] == 5
    for name, value in values(plain).items():
        assert np.allclose(values(model)[name], value, atol=1e-5)


def test_more_than_memory_may_hold(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    plain, ours = small(), small()
    options = ARRAYS | {"shuffle": False, "epochs": 2, "verbose": 0, "engine": "keras"}
    ftk.fit(plain, **options, cache=False)
    ftk.fit(ours, **options | {"verbose": 2}, memory_limit="0.6 kB")
    assert "go to a temporary file" in caplog.text
    assert same(values(plain), values(ours))
    # Shuffled, each sample comes once an epoch.
    taken: list[Any] = []
    steps = tail.Steps.many

    def noted(self: Any, parts: Any, order: Any, *args: Any, **options: Any) -> Any:
        taken.append(np.asarray(parts.features[0])[np.asarray(order)])
        return steps(self, parts, order, *args, **options)

    monkeypatch.setattr(tail.Steps, "many", noted)
    ftk.fit(small(), X, Y, batch_size=4, seed=1, epochs=1, verbose=0, memory_limit=600)
    found = np.concatenate(taken)
    backbone = small().layers[0]
    wanted = backbone.predict(X, verbose=0)
    nearest = np.abs(found[:, None] - wanted[None]).sum(-1)
    assert not np.array_equal(nearest.argmin(1), np.arange(21))
    assert set(nearest.argmin(1)) == set(range(21))


def test_models_of_their_own_steps_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    backbone = ftk.freeze_layers(tiny_backbone())
    inputs = keras.Input((16, 16, 3))
    model = Own(inputs, L.Dense(1)(backbone(inputs)))
    model.compile("sgd", "mse")
    ftk.fit(model, X, Y.astype("float32"), cache=True, verbose=2)
    assert "has a `train_step` of its own" in caplog.text
    eager = small(run_eagerly=True)
    ftk.fit(eager, X, Y, verbose=2)
    assert "it runs eagerly" in caplog.text


def test_what_was_done_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ftk.fit(small(), X, Y, verbose=2, validation_split=0.2)
    assert "computed once: 2 layers with weights up to 'tiny/features'" in caplog.text
    assert "16 samples: 512 bytes in memory; engine keras" in caplog.text
    caplog.clear()
    ftk.fit(small(), X, Y, verbose=0)
    assert "computed once" not in caplog.text
    unfrozen = tiny_backbone()
    model = keras.Sequential([unfrozen, L.Dense(1)])
    model.compile("sgd", "mse")
    ftk.fit(model, X, Y.astype("float32"), verbose=2)
    assert "computed" not in caplog.text
    ftk.fit(model, X, Y.astype("float32"), verbose=2, cache=True)
    assert "nothing in it is frozen" in caplog.text


BAD = [
    ({"cache": "features.npz"}, ValueError, "path of an HDF5 file"),
    ({"cache": 3}, TypeError, "path of an HDF5 file"),
    ({"engine": "lite"}, ValueError, "Did you mean 'litert'"),
    ({"frozen_dropout": "no"}, TypeError, "must be True or False"),
    ({"memory_limit": "2 apples"}, ValueError, "such as '2 GB'"),
    ({"memory_limit": -1}, ValueError, "positive number of bytes"),
]


@pytest.mark.parametrize(("options", "kind", "words"), BAD)
def test_bad_arguments(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        ftk.fit(small(), X, Y, verbose=0, **options)


def photographs(folder: Path, **options: Any) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        folder, image_size=(160, 160), batch_size=32, verbose=False, **options
    )


@pytest.mark.real
def test_real_photographs_from_a_folder(groceries: Path, rows_run: list[int]) -> None:
    models, histories = [], []
    for cache in (False, "auto"):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(160, 160, 3))
        model = ftk.add_head(ftk.freeze_layers(backbone), "multiclass", 10, dropout=0.2)
        ftk.compile_for_task(model)
        train = photographs(groceries / "train", shuffle=False)
        held_out = photographs(groceries / "val", shuffle=False)
        options = {"validation_data": held_out, "epochs": 3, "verbose": 0, "engine": "keras"}
        histories.append(ftk.fit(model, train, cache=cache, **options).history)
        models.append(model)
    assert histories[0] == histories[1]
    assert same(values(models[0]), values(models[1]))
    assert sum(rows_run) - 3 == 240 + 53
    # Shuffled anew in each epoch, the samples are found all the same.
    ftk.fit(models[1], photographs(groceries / "train"), epochs=12, verbose=0)
    assert sum(rows_run) - 6 <= 240 + 53 + 240
    scores = models[1].evaluate(photographs(groceries / "test"), verbose=0, return_dict=True)
    assert scores["accuracy"] > 0.75


@pytest.mark.real
@pytest.mark.parametrize("engine", ["graph", "litert"])
def test_engines_on_real_photographs(groceries: Path, engine: str) -> None:
    x = np.concatenate([x for x, _ in photographs(groceries / "test")])
    backbone = ftk.load_backbone("builtin:mobilenet_v2", input_shape=(160, 160, 3))
    wanted = backbone.predict(x, verbose=0)
    found = ftk.cache_features(backbone, x, engine=engine, verbose=0)
    assert np.abs(found.features - wanted).max() < 1e-5 * np.abs(wanted).max()
