"""Is a run refused that would go on otherwise than it began, and one that would not accepted?"""

from __future__ import annotations

import functools
import json
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
from finetunekit.models.label_smoothing import smooth
from finetunekit.resuming import fingerprint
from finetunekit.resuming.describing import describe
from models import L

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
HALVED = L.Dropout(0.5)


def network(rate: float = 0.3, activation: str = "relu", penalty: Any = None) -> keras.Model:
    """Without names, so that Keras numbers them anew in each model."""
    inputs = keras.Input((4,))
    x = L.Dense(5, activation=activation, kernel_regularizer=penalty)(inputs)
    x = L.BatchNormalization()(L.Dropout(rate)(x))
    return keras.Model(inputs, L.Dense(1, activation="sigmoid")(x))


def compiled(
    network_options: dict[str, Any] | None = None,
    optimizer: Callable[..., Any] = keras.optimizers.AdamW,
    settings: dict[str, Any] | None = None,
    prepare: Callable[[keras.Model], Any] = lambda model: None,
    **options: Any,
) -> keras.Model:
    model = network(**(network_options or {}))
    prepare(model)
    given = {
        "loss": keras.losses.BinaryCrossentropy(),
        "metrics": ["accuracy", keras.metrics.AUC(num_thresholds=20)],
        "optimizer": optimizer(**{"learning_rate": 0.01, **(settings or {})}),
    }
    model.compile(**{**given, **options})
    return model


def power(exponent: float) -> Callable[..., Any]:
    """Losses of one name and one code, that differ in what they enclose."""
    return lambda y, p: keras.ops.mean(keras.ops.abs(y - p) ** exponent, axis=-1)


class Own(keras.losses.Loss):
    """A loss that does not describe itself."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self._weight = weight

    def call(self, y: Any, p: Any) -> Any:
        return self._weight * keras.ops.mean((y - p) ** 2, axis=-1)


def multiplied(decay: float | None = None, rates: Any = None) -> Callable[..., Any]:
    def make(model: keras.Model) -> None:
        model.multiplied = ftk.layerwise_optimizer(
            model, keras.optimizers.AdamW(0.01), layer_decay=decay, rates=rates
        )

    return make


COMPILATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "loss": ("another loss", {}, {"loss": keras.losses.BinaryFocalCrossentropy()}),
    "loss, smoothed": (
        "another loss.*label_smoothing: 0.2 instead of 0.0",
        {},
        {"loss": keras.losses.BinaryCrossentropy(label_smoothing=0.2)},
    ),
    "loss, enclosed": ("another loss", {"loss": power(2.0)}, {"loss": power(1.5)}),
    "loss, partial": (
        "another loss",
        {"loss": functools.partial(keras.losses.huber, delta=1.0)},
        {"loss": functools.partial(keras.losses.huber, delta=0.5)},
    ),
    "loss, undescribed": (
        "loss weight: 2.0 instead of 1.0",
        {"loss": Own(1.0)},
        {"loss": Own(2.0)},
    ),
    "loss, hidden call": (
        "loss call",
        {"loss": smooth(keras.losses.SparseCategoricalCrossentropy(), 3, 0.1)},
        {"loss": smooth(keras.losses.SparseCategoricalCrossentropy(), 3, 0.2)},
    ),
    "loss weights": ("other loss weights", {}, {"loss_weights": [2.0]}),
    "metrics": ("other metrics", {}, {"metrics": ["accuracy"]}),
    "metrics' settings": (
        "other metrics.*num_thresholds: 30 instead of 20",
        {},
        {"metrics": ["accuracy", keras.metrics.AUC(num_thresholds=30)]},
    ),
    "weighted metrics": ("other weighted metrics", {}, {"weighted_metrics": ["mae"]}),
    "optimizer": ("another optimizer.*'Nadam' instead", {}, {"optimizer": keras.optimizers.Nadam}),
    "rate": (
        "another learning rate.*: 0.0199.* instead of",
        {},
        {"settings": {"learning_rate": 0.02}},
    ),
    "rate's schedule": (
        "another learning rate",
        {"settings": {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 10)}},
        {"settings": {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 11)}},
    ),
    "decay": (
        "optimizer weight_decay: 0.1 instead of 0.004",
        {},
        {"settings": {"weight_decay": 0.1}},
    ),
    "clipping": ("optimizer clipnorm: 1.0 instead of None", {}, {"settings": {"clipnorm": 1.0}}),
    "averages": ("optimizer use_ema: True instead of False", {}, {"settings": {"use_ema": True}}),
    "accumulation": (
        "optimizer gradient_accumulation_steps: 2 instead of None",
        {},
        {"settings": {"gradient_accumulation_steps": 2}},
    ),
    "scaled": (
        "inner_optimizer weight_decay",
        {"optimizer": lambda **o: keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(**o))},
        {
            "optimizer": lambda **o: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.AdamW(**o, weight_decay=0.1)
            )
        },
    ),
    "compiled by XLA": ("another jit compile.*: True instead of False", {}, {"jit_compile": True}),
    "steps at once": ("another steps per execution", {}, {"steps_per_execution": 2}),
    "eager": ("another run eagerly", {}, {"run_eagerly": True}),
    "a layer's rate": (
        "other layer settings.*Dropout rate: 0.4 instead of 0.3",
        {},
        {"network_options": {"rate": 0.4}},
    ),
    "a layer's penalty": (
        "other layer settings.*kernel_regularizer",
        {},
        {"network_options": {"penalty": keras.regularizers.L2(0.1)}},
    ),
    "a layer's activation": ("activation: 'tanh'", {}, {"network_options": {"activation": "tanh"}}),
    "what trains": (
        "other trainable variables.*kernel: False instead of True",
        {},
        {"prepare": lambda model: setattr(model.layers[1], "trainable", False)},
    ),
    "multipliers": (
        "other learning-rate multipliers",
        {},
        {"prepare": multiplied(0.5)},
    ),
}


def made(options: dict[str, Any]) -> keras.Model:
    model = compiled(**{k: v for k, v in options.items() if k != "optimizer" or callable(v)})
    held = getattr(model, "multiplied", None)
    if held is not None:
        model.compile(
            optimizer=held,
            loss=model.loss,
            metrics=["accuracy", keras.metrics.AUC(num_thresholds=20)],
        )
    return model


@functools.cache
def described() -> str:
    """A model without options, as a file has it."""
    return json.dumps(fingerprint.describe_compilation(made({})))


def test_what_is_compiled_alike_is_the_same() -> None:
    again = fingerprint.describe_compilation(made({}))
    fingerprint.check_same(json.loads(described()), again, "resume", "a")


@pytest.mark.parametrize("what", list(COMPILATIONS))
def test_each_change_of_what_is_compiled_is_told(what: str) -> None:
    words, first, second = COMPILATIONS[what]
    known = json.loads(described())
    if first:
        known = json.loads(json.dumps(fingerprint.describe_compilation(made(first))))
        fingerprint.check_same(known, fingerprint.describe_compilation(made(first)), "resume", "a")
    with pytest.raises(ValueError, match=words):
        fingerprint.check_same(
            known, fingerprint.describe_compilation(made({**first, **second})), "resume", "a"
        )


class Says(keras.callbacks.Callback):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.training_settings = {"rate": rate}


def plateau(**options: Any) -> Any:
    return keras.callbacks.ReduceLROnPlateau(monitor="loss", **options)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (Says(0.1), Says(0.2), "callbacks 1 rate: 0.2 instead of 0.1"),
        (plateau(factor=0.5), plateau(factor=0.1), "callbacks 1 factor"),
        (plateau(patience=2), plateau(patience=3), "callbacks 1 patience: 3 instead of 2"),
        (
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)),
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (2 + epoch)),
            "callbacks 1 schedule",
        ),
        (
            keras.callbacks.EarlyStopping("loss"),
            keras.callbacks.EarlyStopping("val_loss"),
            "callbacks 1 monitor: 'val_loss' instead of 'loss'",
        ),
        (keras.callbacks.TerminateOnNaN(), plateau(), "callbacks 1 class"),
        (keras.callbacks.TerminateOnNaN(), keras.callbacks.History(), "callbacks: "),
    ],
)
def test_each_change_of_a_callback_is_told(first: Any, second: Any, words: str) -> None:
    known, mine = ({"callbacks": fingerprint.describe_callbacks([c])} for c in (first, second))
    fingerprint.check_same(known, known, "resume", "a")
    with pytest.raises(ValueError, match=f"other callbacks.*{words}"):
        fingerprint.check_same(known, mine, "resume", "a")


def test_callbacks_that_only_watch_may_come_and_go(tmp_path: Path) -> None:
    stop = keras.callbacks.TerminateOnNaN()
    watching = [
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.LambdaCallback(),
        keras.callbacks.TensorBoard(tmp_path),
    ]
    mine = {"callbacks": fingerprint.describe_callbacks([*watching, stop])}
    assert mine == {"callbacks": fingerprint.describe_callbacks([stop])}
    # Files of before have rows for them.
    row = {"class": "History"}
    stages = {"stages": [{"callbacks": [row, {"class": "TerminateOnNaN"}]}]}
    fingerprint.check_same({"callbacks": [row, *mine["callbacks"]]}, mine, "resume", "a")
    fingerprint.check_same(stages, {"stages": [mine]}, "resume", "a")

    class Prints(keras.callbacks.LambdaCallback):
        """It may do anything."""

    assert fingerprint.describe_callbacks([Prints()]) == [{"class": "Prints"}]


def test_what_does_not_train_may_change() -> None:
    """The patience of stopping, what is printed, where a model is saved."""
    stop, save = keras.callbacks.EarlyStopping, keras.callbacks.ModelCheckpoint
    first = [stop("loss", patience=2), save("a.keras", verbose=1, monitor="loss")]
    second = [stop("loss", patience=3), save("b.keras", monitor="loss")]
    assert fingerprint.describe_callbacks(first) == fingerprint.describe_callbacks(second)


def fitted(model: keras.Model, path: Path, **changes: Any) -> Any:
    options = {"epochs": 1, "verbose": 0, "seed": 1, "batch_size": 4, "x": X, "y": Y}
    given = {**options, "callbacks": [ftk.callbacks.Checkpoint(path)], **changes}
    return ftk.fit(model, **given)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "run.ckpt"
    fitted(compiled(), path)
    return path


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ({}, {"frozen_dropout": True}, "another frozen_dropout.*: True instead of False"),
        ({}, {"validation_freq": 2}, "another validation_freq.*: 2 instead of 1"),
        ({}, {"engine": "keras"}, "another engine.*: 'keras' instead of 'auto'"),
        ({"settings": {"weight_decay": 0.1}}, {}, "another optimizer"),
        ({"settings": {"learning_rate": 0.1}}, {}, "another learning rate"),
        ({"metrics": ["mae"]}, {}, "other metrics"),
    ],
)
def test_it_is_asked_when_a_run_goes_on(
    model: dict, changes: dict, words: str, written: Path, tmp_path: Path
) -> None:
    other = compiled(**model)
    before = other.get_weights()
    with pytest.raises(ValueError, match=f"`resume` is of a run with {words}"):
        fitted(other, tmp_path / "other.ckpt", epochs=2, resume=written, **changes)
    for one, two in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not list(tmp_path.iterdir())


def test_a_run_is_told_by_how_it_began(tmp_path: Path) -> None:
    """A rate that training has changed is not another one; nor is that of a model in use."""
    path, model = tmp_path / "run.ckpt", compiled()
    slower = functools.partial(plateau, factor=0.5, patience=1, min_delta=100.0)
    first = [slower(), ftk.callbacks.Checkpoint(path)]
    fitted(model, path, epochs=3, callbacks=first)
    assert float(model.optimizer.learning_rate) < 0.005
    for again in (model, compiled()):
        keep = tmp_path / "again.ckpt"
        callbacks = [slower(), ftk.callbacks.Checkpoint(keep)]
        found = fitted(again, path, epochs=4, callbacks=callbacks, resume=path)
        assert found.epoch == [0, 1, 2, 3]
        known = fitted(compiled(), path, epochs=4, callbacks=callbacks, resume=keep)
        assert known.history == found.history
    model.optimizer.learning_rate = 0.3
    with pytest.raises(ValueError, match="another learning rate"):
        fitted(model, path, epochs=5, callbacks=[slower()], resume=path)


def test_the_class_weights_of_a_pipeline(tmp_path: Path) -> None:
    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return X[:8], Y[:8]

    path = tmp_path / "run.ckpt"
    given = {"x": Batches(), "y": None, "batch_size": None}
    fitted(compiled(), path, **given, class_weight={0: 1.0, 1: 2.0})
    with pytest.raises(
        ValueError, match=r"other class weights.*class weights 1: 3.0 instead of 2.0"
    ):
        fitted(compiled(), path, **given, class_weight={0: 1.0, 1: 3.0}, resume=path)


STAGE = {"trainable": "dense", "epochs": 1, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("staged") / "run.ckpt"
    in_stages(path, STAGE)
    return path


def in_stages(path: Path, *stages: dict[str, Any], resume: Path | None = None) -> Any:
    keras.utils.clear_session(free_memory=False)
    rows = [ftk.Stage(**row) for row in stages]
    callbacks = [ftk.callbacks.Checkpoint(path)]
    options = {"callbacks": callbacks, "resume": resume, "verbose": 0, "batch_size": 8}
    return ftk.fit_in_stages(compiled(), X, Y, stages=rows, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"trainable": ["dense_1"]}, "stages 1 trainable"),
        ({"learning_rate": 0.02}, "stages 1 learning_rate: 0.02 instead of 0.01"),
        ({"learning_rate": None}, "stages 1 learning_rate: None instead of 0.01"),
        ({"layer_decay": 0.5}, "stages 1 layer_decay: 0.5 instead of None"),
        ({"rates": {"dense_1": 0.5}}, "stages 1 rates"),
        ({"batch_norm": True}, "stages 1 batch_norm: True instead of False"),
        ({"schedule": "cosine"}, "stages 1 schedule: 'cosine' instead of None"),
        ({"epochs": 2}, "stages 1 epochs: 2 instead of 1"),
        ({"name": "first"}, "stages 1 name: 'first' instead of None"),
        ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, "stages 1 callbacks"),
    ],
)
def test_each_change_of_a_stage_is_told(
    change: dict, words: str, staged: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"other stages.*{words}"):
        in_stages(tmp_path / "a.ckpt", {**STAGE, **change}, resume=staged)
    assert not list(tmp_path.iterdir())


def test_another_number_of_stages_and_the_same_stages(staged: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other stages"):
        in_stages(tmp_path / "a.ckpt", STAGE, STAGE, resume=staged)
    assert in_stages(tmp_path / "a.ckpt", STAGE, resume=staged).epoch == [0]


def test_stages_go_on_with_another_amount_of_free_memory(
    staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = memory.available()
    monkeypatch.setattr(memory, "available", lambda: free // 3)
    assert in_stages(tmp_path / "a.ckpt", STAGE, resume=staged).epoch == [0]


class TestDescriptions:
    def test_plain_values(self) -> None:
        found = describe(
            {
                "a": (1, np.float32(0.5), float("nan"), None, True),
                1: np.arange(3),
                "set": {"b", "a"},
                "type": keras.layers.Dense,
                "method": HALVED.call,
                "builtin": len,
                "object": object(),
            }
        )
        assert found == json.loads(json.dumps(found))
        assert found["a"] == [1, 0.5, "nan", None, True]
        assert found["1"].startswith("array ")
        assert found["set"] == ["a", "b"]
        assert (found["type"], found["builtin"], found["object"]) == (
            "Dense",
            "len",
            {"class": "object"},
        )

    def test_arrays_by_their_content(self) -> None:
        one, same, other = np.arange(3.0), np.arange(3.0), np.arange(1.0, 4.0)
        assert describe(one) == describe(same) != describe(other)
        tensor = keras.ops.convert_to_tensor(one)
        assert describe(tensor) == describe(one)

    def test_functions_by_code_constants_defaults_and_what_they_enclose(self) -> None:
        def enclosing(value: Any) -> Any:
            return lambda x: x + value

        def default(value: Any) -> Any:
            def function(x: Any, y: Any = value, *, z: Any = None) -> Any:
                return x + y

            return function

        rows = [
            lambda x: x + 1,
            lambda x: x + 2,
            lambda x: x * 1,
            lambda x: abs(x),
            lambda x: len(x),
            enclosing(1),
            enclosing(2),
            default(1),
            default(2),
            functools.partial(pow, 2),
            functools.partial(pow, 3),
            functools.partial(pow, exp=3),
        ]
        found = [json.dumps(describe(row)) for row in rows]
        assert len(set(found)) == len(rows)
        assert describe(enclosing(1)) == describe(enclosing(1))
        assert describe(enclosing(enclosing(1))) != describe(enclosing(enclosing(2)))

    def test_a_value_that_holds_itself(self) -> None:
        held: list[Any] = []
        held.append(held)
        assert json.dumps(describe(held))

    def test_precision_is_a_setting_and_names_are_not(self) -> None:
        one, other = L.Dense(2), L.Dense(2)
        assert one.name != other.name
        assert describe(one) == describe(other)
        assert describe(L.Dense(2, dtype="float16")) != describe(one)
        assert describe(keras.metrics.AUC()) == describe(keras.metrics.AUC())
        assert describe(keras.metrics.AUC(name="other")) != describe(keras.metrics.AUC())
        assert describe(L.Lambda(lambda x: x + 1)) != describe(L.Lambda(lambda x: x + 2))


def test_differences_are_where_values_are() -> None:
    known = {"a": {"b": [1, 2], "c": 1}, "d": [1]}
    assert fingerprint.differences(known, {"a": {"b": [1, 3], "c": 1}, "d": [1]}) == [
        "a b 2: 3 instead of 2"
    ]
    assert fingerprint.differences(known, {"a": {"b": [1, 2]}, "d": [1, 2]}) == [
        "a c: None instead of 1",
        "d: [1, 2] instead of [1]",
    ]
    assert not fingerprint.differences(known, known)
    many = {name: 1 for name in "abcde"}
    with pytest.raises(ValueError, match=r"another a\..*c: 2 instead of 1; and 2 more"):
        fingerprint.check_same(many, dict.fromkeys(many, 2), "resume", "file")


CHILD = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
import test_fingerprint as t
print(json.dumps(t.all_descriptions()))
"""


def all_descriptions() -> list[Any]:
    rows = [
        fingerprint.describe_compilation(made(first | more))
        for _, first, more in COMPILATIONS.values()
    ]
    return [*rows, fingerprint.describe_callbacks([plateau(factor=0.5), Says(0.1)])]


@pytest.mark.slow
def test_another_process_gives_the_same_description() -> None:
    """It numbers names otherwise, hashes texts otherwise, and has other addresses."""
    for _ in range(3):
        network()
    here = json.loads(json.dumps(all_descriptions()))
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    found = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(folders)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout, found.stderr[-3000:]
    assert json.loads(found.stdout.splitlines()[-1]) == here
