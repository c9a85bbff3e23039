"""Features are computed by an engine that agrees with Keras, and go on where they were left."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.caching import cut, engines, extract, prepared_engines
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.extract import Extractor
from finetunekit.caching.store import Column, FeatureStore
from finetunekit.foundation import hashing

L = keras.layers
KEY = {"prefix weights": "w"}
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def split_of(*layers: L.Layer, dtype: str = "float32") -> FrozenSplit:
    """Frozen layers behind four numbers, and a head."""
    for layer in layers:
        layer.trainable = False
    model = keras.Sequential([keras.Input((4,)), *layers, L.Dense(1, dtype=dtype)])
    return cut.split_frozen(model)


@functools.cache
def small_split() -> FrozenSplit:
    return split_of(L.Dense(3, use_bias=False))


class Stub:
    """Stands for an engine: what it is given is kept, and what it gives is made by a function."""

    def __init__(self, split: FrozenSplit | None, function: Any) -> None:
        self.split, self.function = split, function
        self.batches: list[np.ndarray] = []

    def __call__(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        self.batches.append(batch[0])
        return self.function(batch[0], len(self.batches))


@pytest.mark.parametrize(("rows", "part"), [(1, (0, 1)), (2, (1, 2)), (4, (1, 4)), (6, (1, 4))])
def test_some_rows_are_computed_once_more(rows: int, part: tuple[int, int]) -> None:
    engine = Stub(small_split(), lambda x, _: [x * 2, x[:, 0]])
    found = extract.checked_by_sample(engine, [X[:rows]])  # type: ignore[arg-type]
    assert np.array_equal(found[0], X[:rows] * 2)
    assert np.array_equal(found[1], X[:rows, 0])
    first, second = engine.batches
    assert np.array_equal(first, X[:rows])
    assert np.array_equal(second, X[slice(*part)])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, _: [x, x.sum()], "one row for each sample"),
        (lambda x, _: [x[:-1]], "one row for each sample"),
        (lambda x, _: [x, np.concatenate([x, x])], "one row for each sample"),
        (lambda x, _: [x - x.mean(axis=0)], "other features for the same sample"),
        (lambda x, call: [x + call], "other features for the same sample"),
        (lambda x, call: [x, x[:, 0] * call], "other features for the same sample"),
    ],
    ids=["a number", "too few", "too many", "of the batch", "of chance", "the second one"],
)
def test_rows_that_are_not_made_of_their_sample_are_found(function: Any, words: str) -> None:
    with pytest.raises(NotConstant, match=words):
        extract.checked_by_sample(Stub(small_split(), function), [X])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gap", "dtype", "refused"),
    [
        (0.9e-3, "float32", False),
        (1.1e-3, "float32", True),
        (3.8e-3, "float16", False),
        (4.0e-3, "float16", True),
    ],
)
def test_rows_may_differ_by_rounding(gap: float, dtype: str, refused: bool) -> None:
    engine = Stub(
        split_of(L.Dense(3, dtype=dtype)), lambda x, call: [np.ones((len(x), 2)) + gap * (call - 1)]
    )
    if refused:
        with pytest.raises(NotConstant):
            extract.checked_by_sample(engine, [X])  # type: ignore[arg-type]
    else:
        extract.checked_by_sample(engine, [X])  # type: ignore[arg-type]


class Counting(L.Layer):
    """Of another library: it may change its variables whenever it is called."""

    def __init__(self, values: Any, dtype: str = "float32", **options: Any) -> None:
        super().__init__(trainable=False, **options)
        start = keras.initializers.Constant(values)
        self.count = self.add_weight(
            shape=np.shape(values), dtype=dtype, initializer=start, trainable=False, name="count"
        )

    def call(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(("values", "dtype"), [([1.0, np.nan], "float32"), ([1, 2], "int32")])
def test_state_that_stays_is_no_matter(values: Any, dtype: str) -> None:
    layer = Counting(values, dtype)
    with extract.state_unchanged(split_of(layer, L.Dense(2))):
        layer.count.assign(np.array(values, dtype))
    failure = NotConstant("of its own")
    with pytest.raises(NotConstant) as caught, extract.state_unchanged(split_of(layer, L.Dense(2))):
        raise failure
    assert caught.value is failure


def test_state_that_changes_is_set_back_and_told() -> None:
    one, same, other = (Counting([1.0, 2.0], name=name) for name in ("one", "same", "other"))
    split = split_of(one, same, other, L.Dense(2))
    failure = NotConstant("it is random")

    def change(error: BaseException | None = None) -> None:
        one.count.assign([1.0, 3.0])
        same.count.assign([1.0, 2.0])
        other.count.assign([np.nan, 2.0])
        if error is not None:
            raise error

    def values() -> list[Any]:
        return [layer.count.numpy().tolist() for layer in (one, same, other)]

    wanted = f"{one.count.path!r}, {other.count.path!r} changes each time its layer is called"
    with pytest.raises(NotConstant) as caught, extract.state_unchanged(split):
        change()
    assert str(caught.value) == wanted
    assert caught.value.__cause__ is None
    assert values() == [[1.0, 2.0]] * 3
    with pytest.raises(NotConstant) as caught, extract.state_unchanged(split):
        change(failure)
    assert str(caught.value) == wanted
    assert caught.value.__cause__ is failure
    assert values() == [[1.0, 2.0]] * 3
    with pytest.raises(KeyboardInterrupt), extract.state_unchanged(split):
        change(KeyboardInterrupt())
    assert values() == [[1.0, 2.0]] * 3


def test_masks_are_named_after_their_features() -> None:
    split = dataclasses.replace(small_split(), masked=[False, True, True])
    split.features = split.features * 3
    names = ["feature_0", "feature_1", "feature_2", "mask_1", "mask_2"]
    assert extract.names_of(split) == names
    features = [
        np.zeros((2, 3, 4), "float32"),
        np.zeros((2, 3), "float64"),
        np.zeros(2, "float32"),
        np.zeros((2, 3), "bool"),
        np.zeros((2, 1), "bool"),
    ]
    plain = [
        Column((3, 4), "float32"),
        Column((3,), "float64"),
        Column((), "float32"),
        Column((3,), "bool"),
        Column((1,), "bool"),
    ]
    half = list(plain)
    half[0], half[2] = Column((3, 4), "float32", "float16"), Column((), "float32", "float16")
    assert extract.columns_of(split, features) == dict(zip(names, plain, strict=True))
    assert extract.columns_of(split, features, "float16") == dict(zip(names, half, strict=True))
    with pytest.raises(ValueError, match="shorter"):
        extract.columns_of(split, features[:4])


class Doubling:
    """Stands for an extractor: notes how many rows are left, and may be interrupted."""

    def __init__(self, interrupted_at: int = -1) -> None:
        self.left: list[int] = []
        self.interrupted_at = interrupted_at

    def __call__(self, batch: list[np.ndarray], rows_left: int) -> list[np.ndarray]:
        self.left.append(rows_left)
        if rows_left == self.interrupted_at:
            raise KeyboardInterrupt
        return [batch[0] * 2, batch[0][:, 0]]


def batches_of_two(first: int) -> Iterator[list[np.ndarray]]:
    yield from ([X[row : row + 2]] for row in range(first, len(X), 2))


COLUMNS = {"double": Column((4,), "float32"), "first": Column((), "float32")}


def test_an_interrupted_store_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path, told = tmp_path / "f.h5", []

    def run(store: FeatureStore | None, extractor: Doubling, **options: Any) -> FeatureStore:
        return extract.fill(
            store,
            extractor,  # type: ignore[arg-type]
            batches_of_two,
            6,
            lambda features: FeatureStore.create(path, COLUMNS, 6, KEY),
            lambda done, who: told.append((done, who is extractor)),
            **options,
        )

    first, second = Doubling(interrupted_at=2), Doubling()
    with pytest.raises(KeyboardInterrupt):
        run(None, first)
    assert first.left == [6, 4, 2]
    begun = FeatureStore.open(path, KEY, write=True)  # It was closed.
    assert begun.done == 4
    store = run(begun, second)
    assert second.left == [2]
    assert told == [(2, True), (4, True), (6, True)]
    assert store is begun
    assert store.complete
    assert np.array_equal(store.read("double", slice(None)), X * 2)
    assert np.array_equal(store.read("first", slice(None)), X[:, 0])
    store.close()


def test_what_was_computed_is_in_the_file_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    store = FeatureStore.create(path, COLUMNS, 9, KEY)
    found = extract.fill(store, Doubling(), batches_of_two, 9, None, lambda *_: None)  # type: ignore[arg-type]
    assert found is store
    assert store._table.done == 6  # Rather than waiting for its block.
    store.close()


def test_the_content_of_samples_is_noted_if_asked_for() -> None:
    store = extract.fill(
        None,
        Doubling(),  # type: ignore[arg-type]
        batches_of_two,
        6,
        lambda features: FeatureStore.in_memory(COLUMNS, 6, KEY, digests=True),
        lambda *_: None,
        digests=True,
    )
    assert store.complete
    assert store.digest_rows() == {hashing.row_digest([X[row]]): row for row in range(6)}


def test_the_content_of_samples_is_not_noted_unasked() -> None:
    store = FeatureStore.in_memory(COLUMNS, 6, KEY, digests=True)
    with pytest.raises(ValueError, match="16 bytes for each row"):
        extract.fill(store, Doubling(), batches_of_two, 6, None, lambda *_: None)  # type: ignore[arg-type]


def test_without_samples_there_are_no_features() -> None:
    with pytest.raises(ValueError, match="no samples to compute features of"):
        extract.fill(None, Doubling(), lambda _: iter(()), 0, None, lambda *_: None)  # type: ignore[arg-type]


def test_only_keras_numbers_are_told_apart_by_their_batches() -> None:
    assert extract.numbers_key("keras", 8) == {"engine": "keras in batches of 8"}
    for engine in ("auto", "graph", "litert"):
        assert extract.numbers_key(engine, 8) == {"engine": "any"}


def test_engines_are_known_and_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "available", lambda name: name != "litert")
    for name in ("auto", "keras", "graph", "xla"):
        extract.check_engine(name)
    with pytest.raises(ValueError, match=r"ai-edge-litert and no GPU.*engine='litert'"):
        extract.check_engine("litert")
    for name in ("tensorrt", None):
        with pytest.raises(ValueError, match="`engine` must be one of 'auto', 'keras', 'graph'"):
            extract.check_engine(name)
    monkeypatch.setattr(engines, "available", lambda name: name == "litert")
    extract.check_engine("auto")
    extract.check_engine("litert")


class Bench:
    """Engines made of NumPy, and a clock that goes as they say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.split = dataclasses.replace(small_split())
        self.kernel = self.split.layers[0].kernel.numpy()
        self.now = 0.0
        self.costs = {"keras": [1.0], "graph": [1.0], "xla": [1.0], "litert": [1.0]}  # For a row.
        self.factors: dict[str, float] = {}
        self.failing: dict[str, Exception] = {}
        self.by_batch = False
        self.gpu = False
        self.preparation = 0.5
        self.hopes: list[str] = []
        self.left: list[float] = []
        self.made: list[tuple[str, bool]] = []
        self.checked: list[str] = []
        self.kept: list[Any] = []
        self.found: tuple[str, Any] = ("", {})
        self.asked: list[Any] = []
        self.ready = True
        self.available = True
        bench = self

        class Fake:
            def __init__(self, name: str, split: Any, varying: bool = False, made: Any = None):
                self.name, self.split, self.made = name, split, made
                bench.made.append((name, varying))

            def __call__(self, batch: list[np.ndarray]) -> list[np.ndarray]:
                return bench.run(self.name, batch)

            def is_ready_for(self, batch: list[np.ndarray]) -> bool:
                return bench.ready

        def checked(name: str, split: Any, batch: Any, wanted: Any, varying: bool = False) -> Any:
            self.checked.append(name)
            if name in self.failing:
                raise self.failing[name]
            assert np.allclose(wanted[0], batch[0] @ self.kernel, atol=1e-6)
            return Fake(name, split, varying, f"made by {name}")

        def promising(split: Any, seconds: float) -> list[str]:
            self.left.append(seconds)
            return self.hopes

        def find(*given: Any) -> Any:
            self.asked.append(given)
            return self.found

        monkeypatch.setattr(extract, "Engine", Fake)
        monkeypatch.setattr(extract.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(engines, "checked", checked)
        monkeypatch.setattr(engines, "promising", promising)
        monkeypatch.setattr(engines, "on_gpu", lambda: self.gpu)
        monkeypatch.setattr(engines, "available", lambda name: self.available)
        monkeypatch.setattr(engines, "preparation", lambda *_: self.preparation)
        monkeypatch.setattr(prepared_engines, "find", find)
        monkeypatch.setattr(prepared_engines, "keep", lambda *given: self.kept.append(given))

    def run(self, name: str, batch: list[np.ndarray]) -> list[np.ndarray]:
        costs = self.costs[name]
        self.now += len(batch[0]) * (costs.pop(0) if len(costs) > 1 else costs[0])
        if name in self.failing:
            raise self.failing[name]
        features = batch[0] @ self.kernel * self.factors.get(name, 1.0)
        return [features + (len(batch[0]) if self.by_batch else 0)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


SMALL = "its weights are small: constants fuse at little cost"
LITTLE = "little work is left for another one"
VARYING = "others are made anew for each length"
STARTS: dict[str, tuple[dict[str, Any], dict[str, Any], int, str, str]] = {
    "many rows": ({}, {}, 256, "graph", SMALL),
    "few rows": ({}, {}, 255, "keras", LITTLE),
    "on a GPU": ({}, {"gpu": True}, 256, "keras", LITTLE),
    "small": ({}, {"preparation": 0.999}, 256, "graph", SMALL),
    "large": ({}, {"preparation": 1.0}, 256, "keras", LITTLE),
    "varying": ({"varying": True}, {}, 256, "keras", VARYING),
    "keras": ({"engine": "keras"}, {}, 256, "keras", "asked for"),
    "another": ({"engine": "xla"}, {}, 256, "xla", "asked for"),
    "agreeing": ({}, {"factors": {"graph": 1.00009}}, 256, "graph", SMALL),
    "disagreeing": ({}, {"factors": {"graph": 1.00011}}, 256, "keras", LITTLE),
    "failing": ({}, {"failing": {"graph": RuntimeError()}}, 256, "keras", LITTLE),
}


@pytest.mark.parametrize("case", STARTS)
def test_the_first_batch_settles_on_an_engine(case: str, bench: Bench) -> None:
    options, settings, rows, name, why = STARTS[case]
    vars(bench).update(settings)
    extractor = Extractor(bench.split, **options)
    assert (extractor.name, extractor.why) == ("none", "asked for")
    found = extractor([X], rows)
    factor = bench.factors.get(name, 1.0)
    assert np.allclose(found[0], X @ bench.kernel * factor, rtol=1e-6, atol=1e-7)
    assert (extractor.name, extractor.why) == (name, why)
    assert extractor.split is bench.split
    started = {"graph": ["graph"], "keras": ["keras"], "xla": ["keras", "xla"]}[name]
    tried = ["graph"] if case in ("disagreeing", "failing") else []
    assert bench.made == [(n, case == "varying") for n in tried + started]
    # What was refused once is not tried again.
    if tried:
        bench.hopes = ["graph"]
        extractor([X], rows)
        assert bench.checked == []
        assert extractor.name == "keras"


@pytest.mark.parametrize("engine", ["auto", "keras", "xla"])
def test_the_first_batch_has_to_be_made_by_sample(engine: str, bench: Bench) -> None:
    bench.by_batch = True
    with pytest.raises(NotConstant, match="other features for the same sample"):
        Extractor(bench.split, engine)([X], 256)


def test_the_first_batch_leaves_the_state_of_layers() -> None:
    class Growing(Counting):
        def call(self, x: Any) -> Any:
            self.count.assign_add([1.0])
            return x

    layer = Growing([0.0])
    with pytest.raises(NotConstant, match="changes each time its layer is called"):
        Extractor(split_of(layer, L.Dense(2)), "keras")([X], 6)
    assert layer.count.numpy().tolist() == [0.0]


def test_an_engine_that_was_asked_for_has_to_run(bench: Bench) -> None:
    bench.failing["xla"] = ValueError("no kernel")
    with pytest.raises(ValueError, match="no kernel"):
        Extractor(bench.split, "xla")([X], 6)


def test_another_engine_is_considered_at_times(bench: Bench) -> None:
    extractor, bench.preparation = Extractor(bench.split), 1.0
    bench.costs["keras"] = [9.0, 9.0, 5.0, 2.0, 3.0, 1.0, 4.0]
    for number in range(66):
        extractor([X], 600 - 6 * number)
    # Behind the first batch: the fastest so far for each of the rows that are left.
    assert bench.left == [5.0 * 588, 2.0 * 582, 1.0 * 546, 1.0 * 210]
    assert extractor.name == "keras"


@pytest.mark.parametrize("options", [{"engine": "keras"}, {"varying": True}])
def test_no_other_engine_is_considered_for_nothing(options: Any, bench: Bench) -> None:
    bench.hopes = ["xla"]
    extractor = Extractor(bench.split, **options)
    for _ in range(3):
        extractor([X], 60)
    assert bench.left == bench.checked == []


def test_a_faster_engine_takes_over(bench: Bench) -> None:
    bench.hopes = ["litert", "keras", "xla", "graph"]
    bench.failing["litert"] = ValueError("cannot")
    bench.costs |= {"keras": [3.0], "xla": [2.0], "graph": [1.0]}
    extractor = Extractor(bench.split, key=KEY, folder="folder")
    layer = bench.split.layers[0]
    for _ in range(2):
        found = extractor([X], 60)
        assert np.allclose(found[0], X @ bench.kernel, atol=1e-6)
    assert bench.checked == ["litert", "xla"]
    assert (extractor.name, extractor.why) == ("xla", "1.5 times as fast as keras")
    extractor([X], 60)
    assert bench.checked == ["litert", "xla", "graph"]
    assert (extractor.name, extractor.why) == ("graph", "2.0 times as fast as xla")
    assert bench.left == [3.0 * 54, 2.0 * 54]
    assert bench.kept == [
        (layer, KEY, "xla", "made by xla", "folder"),
        (layer, KEY, "graph", "made by graph", "folder"),
    ]
    for _ in range(6):
        extractor([X], 60)
    assert bench.left[2:] == [1.0 * 54]
    assert bench.checked == ["litert", "xla", "graph"]  # The slower ones are not tried again.
    assert extractor.name == "graph"


@pytest.mark.parametrize(("cost", "name"), [(0.99, "xla"), (1.0, "keras")])
def test_an_engine_that_is_as_fast_does_not_take_over(cost: float, name: str, bench: Bench) -> None:
    bench.hopes = ["xla"]
    bench.costs["xla"] = [cost]
    extractor = Extractor(bench.split, key=KEY)
    for _ in range(4):
        extractor([X], 60)
    assert extractor.name == name
    assert bench.checked == ["xla"]
    assert len(bench.kept) == (name == "xla")


@pytest.mark.parametrize("kept", [True, False])
def test_engines_are_kept_by_the_key_of_the_prefix(kept: bool, bench: Bench) -> None:
    layer = bench.split.layers[0]
    Extractor(bench.split, "xla", key=KEY if kept else None, folder="folder")([X], 6)
    assert bench.kept == ([(layer, KEY, "xla", "made by xla", "folder")] if kept else [])
    bench.kept.clear()
    bench.split.masked = [True]
    Extractor(bench.split, "xla", key=KEY)([X], 6)
    assert bench.kept == []
    Extractor(bench.split, "keras", key=KEY)([X], 6)
    Extractor(bench.split, key=KEY)([X], 6)
    assert bench.kept == []


def test_an_engine_that_was_prepared_before_is_taken(bench: Bench) -> None:
    bench.found, bench.hopes = ("litert", {"shape": "function"}), list(engines.ENGINES)
    bench.by_batch = True  # It was seen before that it is not.
    for engine in ("auto", "litert"):
        bench.split.masked = []
        bench.made.clear()
        extractor = Extractor(bench.split, engine, key=KEY, folder="folder")
        found = extractor([X], 1000)
        assert np.allclose(found[0], X @ bench.kernel + 6, atol=1e-6)
        assert (extractor.name, extractor.why) == ("litert", "prepared before")
        assert extractor.engine is not None
        assert extractor.engine.made == {"shape": "function"}
        assert bench.made == [("litert", False)]
        assert bench.asked.pop() == (bench.split.layers[0], KEY, "folder")
        assert bench.split.masked == [False]
        extractor([X], 1000)
        assert bench.checked == []  # It has won against the others.


UNPREPARED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "varying": ({"varying": True}, {}),
    "another was asked for": ({"engine": "keras"}, {}),
    "nothing was made": ({}, {"found": ("litert", {})}),
    "it is not available": ({}, {"available": False}),
    "it is not ready": ({}, {"ready": False}),
}


@pytest.mark.parametrize("case", UNPREPARED)
def test_an_engine_that_does_not_fit_is_not_taken(case: str, bench: Bench) -> None:
    options, settings = UNPREPARED[case]
    bench.found = ("litert", {"shape": "function"})
    vars(bench).update(settings)
    extractor = Extractor(bench.split, **options)
    extractor([X], 6)
    assert extractor.name == "keras"


def test_a_prefix_without_weights_has_nothing_prepared(bench: Bench) -> None:
    bench.found = ("litert", {"shape": "function"})
    bench.split.layers = []
    extractor = Extractor(bench.split)
    extractor([X], 6)
    assert extractor.name == "keras"
    assert bench.asked == []
