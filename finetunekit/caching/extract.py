"""Extraction of features in batches, by the engine that saves most, into a store."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from finetunekit.caching import determinism, engines, identity, prepared_engines
from finetunekit.caching.cut import FrozenSplit, NotConstant
from finetunekit.caching.engines import Engine, Features
from finetunekit.caching.store import Column, FeatureStore
from finetunekit.foundation import arguments
from finetunekit.foundation.messages import listed

# Rows of a batch and of a part of it may differ by rounding, not by more.
_BY_SAMPLE = 1e-3
_PROBED = 3

Batch = list[np.ndarray]


class Extractor:
    """Runs the prefix on batches; settles on an engine while it does.

    Args:
        split: The model in two parts.
        engine: `"auto"`, or the name of one.
        varying: Whether the samples of each batch have a size of their own, such as a length.
        key: That of the prefix, under which a prepared engine is kept and found again.
        folder: Where it is kept for other processes, too.
    """

    def __init__(
        self,
        split: FrozenSplit,
        engine: str = "auto",
        *,
        varying: bool = False,
        key: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> None:
        self._key, self._folder = key, folder
        self.varying = varying
        self.split = split
        self.chosen = engine
        self.why = "asked for"
        self.engine: Engine | None = None
        self._seconds = 0.0  # For a row, by the engine that runs.
        self._refused: set[str] = set()
        self._batches = 0

    def __call__(self, batch: Batch, rows_left: int) -> Features:
        """The features of a batch, masks behind them.

        Args:
            batch: A batch for each input.
            rows_left: How many rows are still to come, this batch included.

        Raises:
            NotConstant: If the rows of a batch depend on each other, or something in it is random.
            ValueError: If an engine was asked for that cannot run the prefix.
        """
        if self.engine is None:
            with state_unchanged(self.split):
                return self._first(batch, rows_left)
        start = time.perf_counter()
        features = self.engine(batch)
        # The first call prepares more than it computes.
        seconds = (time.perf_counter() - start) / len(batch[0])
        self._seconds = min(self._seconds, seconds) if self._batches else seconds
        self._batches += 1
        if self.chosen == "auto" and not self.varying and self._batches in (1, 2, 8, 64):
            self._consider(batch, features, rows_left - len(batch[0]))
        return features

    @property
    def name(self) -> str:
        """The engine that runs."""
        return self.engine.name if self.engine is not None else "none"

    def _first(self, batch: Batch, rows_left: int) -> Features:
        prepared = self._prepared(batch)
        if prepared is not None:
            self.engine, self.why = prepared, "prepared before"
            self._refused.update(engines.ENGINES)  # It has won against them.
            return prepared(batch)  # By sample, as was seen when it was prepared.
        if not self._starts_with_graph(rows_left):
            return self._first_by_keras(batch)
        # Outside of a graph Keras takes milliseconds for a layer: one row tells enough.
        few = [part[:1] for part in batch]
        wanted = [feature.numpy() for feature in self.split.run_prefix_flat(few)]
        engine = Engine("graph", self.split)
        try:
            features = checked_by_sample(engine, batch)
        except NotConstant:
            raise
        except Exception:
            # Constants in the place of weights are refused by some operation: Keras can run it.
            self._refused.add("graph")
            return self._first_by_keras(batch)
        allowed = engines.tolerance(self.split, engines.TOLERANCE)
        if engines.disagreement([f[:1] for f in features], wanted) > allowed:
            self._refused.add("graph")
            return self._first_by_keras(batch)
        self.engine, self.why = engine, "its weights are small: constants fuse at little cost"
        return features

    def _prepared(self, batch: Batch) -> Engine | None:
        """An engine that was prepared before, and found to agree with Keras, if there is one."""
        if self.varying or not self.split.layers:
            return None
        name, made = prepared_engines.find(self.split.layers[0], self._key, self._folder)
        if self.chosen not in ("auto", name) or not made or not engines.available(name):
            return None
        engine = Engine(name, self.split, made=made)
        if not engine.is_ready_for(batch):
            return None
        self.split.masked = [False] * len(self.split.features)  # Such are kept only.
        return engine

    def _keep_prepared(self) -> None:
        if self.engine is not None and self._key is not None and not any(self.split.masked):
            layer = self.split.layers[0]
            prepared_engines.keep(
                layer, self._key, self.engine.name, self.engine.made, self._folder
            )

    def _first_by_keras(self, batch: Batch) -> Features:
        self.engine = Engine("keras", self.split, varying=self.varying)
        features = checked_by_sample(self.engine, batch)
        if self.chosen == "auto":
            self.why = (
                "others are made anew for each length"
                if self.varying
                else "little work is left for another one"
            )
        elif self.chosen != "keras":
            self.engine = engines.checked(
                self.chosen, self.split, batch, features, varying=self.varying
            )
            self._keep_prepared()
        return features

    def _starts_with_graph(self, rows_left: int) -> bool:
        """Whether folding the weights in costs so little that no measurement is needed."""
        return (
            self.chosen == "auto"
            and not self.varying
            and "graph" not in self._refused
            and not engines.on_gpu()
            and rows_left >= 256
            and engines.preparation("graph", self.split) < 1.0
        )

    def _consider(self, batch: Batch, features: Features, rows_left: int) -> None:
        """Changes to another engine if that saves time on the rows that are left."""
        left = self._seconds * rows_left
        for name in engines.promising(self.split, left):
            if name == self.name or name in self._refused:
                continue
            self._refused.add(name)  # Tried once.
            try:
                engine = engines.checked(name, self.split, batch, features)
            except ValueError:
                continue
            seconds = engines.seconds_a_row(engine, batch)
            if seconds < self._seconds:
                self.why = f"{self._seconds / seconds:.1f} times as fast as {self.name}"
                self._refused.add(self.name)  # Slower, as was seen.
                self.engine, self._seconds = engine, seconds
                self._keep_prepared()
                return


@contextlib.contextmanager
def state_unchanged(split: FrozenSplit) -> Iterator[None]:
    """Whatever is run inside, the layers' own state is afterwards as it was.

    Raises:
        NotConstant: If a layer has changed it, so that it gives something else each time.
    """
    before = [(v, v.numpy().copy()) for v in determinism.state_of_others(split.prefix_calls)]
    failure: NotConstant | None = None
    changed: list[str] = []
    try:
        yield
    except NotConstant as error:
        failure = error
    finally:
        for variable, value in before:
            if not np.array_equal(variable.numpy(), value, equal_nan=value.dtype.kind == "f"):
                changed.append(variable.path)
                variable.assign(value)
    if changed:
        raise NotConstant(f"{listed(changed)} changes each time its layer is called") from failure
    if failure is not None:
        raise failure


def checked_by_sample(engine: Engine, batch: Batch) -> Features:
    """The features of a batch, once it is seen that each row is made of its sample alone.

    Raises:
        NotConstant: If a row depends on the other samples, or on chance.
    """
    features = engine(batch)
    rows = len(batch[0])
    if any(feature.ndim == 0 or len(feature) != rows for feature in features):
        raise NotConstant("the frozen part does not give one row for each sample")
    first = min(1, rows - 1)
    part = slice(first, first + _PROBED)
    again = engine([x[part] for x in batch])
    allowed = engines.tolerance(engine.split, _BY_SAMPLE)
    if engines.disagreement(again, [feature[part] for feature in features]) > allowed:
        raise NotConstant(
            "the frozen part gives other features for the same sample: it is random, or the "
            "samples of a batch depend on each other"
        )
    return features


def names_of(split: FrozenSplit) -> list[str]:
    """The names of the features, and of the masks behind them, once the prefix has run."""
    masks = [number for number, masked in enumerate(split.masked) if masked]
    return [
        *(f"feature_{number}" for number in range(len(split.features))),
        *(f"mask_{number}" for number in masks),
    ]


def columns_of(split: FrozenSplit, features: Features, dtype: str = "float32") -> dict[str, Column]:
    """The columns of a store for such features; masks are named after theirs."""
    columns = {}
    for name, feature in zip(names_of(split), features, strict=True):
        stored = dtype if feature.dtype == np.float32 and dtype != "float32" else None
        columns[name] = Column(tuple(feature.shape[1:]), str(feature.dtype), stored)
    return columns


def fill(
    store: FeatureStore | None,
    extractor: Extractor,
    batches: Callable[[int], Iterator[Batch]],
    rows: int,
    make: Callable[[Features], FeatureStore],
    told: Callable[[int, Extractor], None],
    *,
    digests: bool = False,
) -> FeatureStore:
    """Computes what a store lacks; an interruption leaves what was computed in it.

    Args:
        store: A store that has been begun, or None.
        extractor: What computes the features.
        batches: Gives the batches from a row on.
        rows: The number of samples in all.
        make: Makes the store once the first features show their shapes.
        told: Called after each batch with the rows that are done.
        digests: Whether to note the content of each sample.

    Returns:
        The complete store.
    """
    try:
        for batch in batches(store.done if store is not None else 0):
            done = store.done if store is not None else 0
            features = extractor(batch, rows - done)
            if store is None:
                store = make(features)
            contents = identity.row_digests(batch) if digests else None
            store.append(dict(zip(store.columns, features, strict=True)), contents)
            told(store.done, extractor)
    except BaseException:
        if store is not None:
            store.close()
        raise
    if store is None:
        raise ValueError("There are no samples to compute features of.")
    store.flush()
    return store


def numbers_key(engine: str, size: int) -> dict[str, str]:
    """What makes two runs of the same prefix agree bit for bit, if that was asked for."""
    return {"engine": f"keras in batches of {size}"} if engine == "keras" else {"engine": "any"}


def check_engine(engine: Any) -> None:
    """Raises for an engine that there is not.

    Raises:
        ValueError: If it is unknown, or not installed.
    """
    arguments.check_choice(engine, "engine", ("auto", *engines.ENGINES))
    if engine != "auto" and not engines.available(engine):
        raise ValueError(
            "`engine='litert'` needs the package ai-edge-litert and no GPU: "
            "`pip install 'finetunekit[fast]'`. Received: engine='litert'"
        )
