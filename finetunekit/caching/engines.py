"""Engines that run the frozen prefix: Keras, a graph with constant weights, XLA, LiteRT."""

import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from finetunekit.caching import litert
from finetunekit.caching.cut import FrozenSplit
from finetunekit.models import graph

ENGINES = ("keras", "graph", "xla", "litert")
TOLERANCE = 1e-4

# Seconds of preparation for each MiB of weights, and for each call, beside tracing: what decides
# whether an engine is worth trying. Measured by `python benchmarks/engines.py`.
_PREPARATION = {"graph": (0.045, 0.0005), "xla": (0.002, 0.006), "litert": (0.06, 0.004)}

# Those that are made for one size of batch.
_OF_ONE_SIZE = ("xla", "litert")

# The distance from 1.0 to the next number.
_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}

Features = list[np.ndarray]


class Engine:
    """The frozen prefix, ready to run on batches of flat inputs, in the model's order.

    Args:
        name: One of `ENGINES`.
        split: The model in two parts.
        varying: Whether the samples of each batch have a size of their own.
        made: The functions of an engine that was prepared for the same prefix before.
    """

    name: str

    def __init__(
        self,
        name: str,
        split: FrozenSplit,
        *,
        varying: bool = False,
        made: Mapping[Any, Callable[..., Any]] | None = None,
    ) -> None:
        self.name = name
        # XLA and LiteRT are made for one size only.
        self.varying = varying and name in ("keras", "graph")
        self.split = split
        self.made: dict[Any, Callable[..., Any]] = dict(made or {})  # By shapes and dtypes.

    def __call__(self, inputs: list[Any]) -> Features:
        """The features of a batch, and the masks behind them.

        Args:
            inputs: For each input of the model, in order, a batch.
        """
        key = self._key_of(inputs)
        if key not in self.made:
            like = [_Free(x) for x in inputs] if self.varying else inputs
            self.made[key] = _MAKERS[self.name](self.split, like)
        run = self.made[key]
        return _filled_up(run, inputs, key[-1]) if self.name in _OF_ONE_SIZE else run(inputs)

    def is_ready_for(self, inputs: list[Any]) -> bool:
        """Whether such a batch needs no preparation, and not much filling up."""
        key = self._key_of(inputs)
        return key in self.made and (len(key) == len(inputs) or key[-1] <= 2 * len(inputs[0]))

    def _key_of(self, inputs: list[Any]) -> tuple[Any, ...]:
        key: tuple[Any, ...] = tuple(
            (x.ndim if self.varying else tuple(x.shape[1:]), str(x.dtype)) for x in inputs
        )
        if self.name in _OF_ONE_SIZE:
            key = (*key, self._size_for(inputs, key))
        return key

    def _size_for(self, inputs: list[Any], key: tuple[Any, ...]) -> int:
        """A smaller last batch is filled up rather than compiled for."""
        known = [made[-1] for made in self.made if made[:-1] == key]
        return next((size for size in known if size >= len(inputs[0])), len(inputs[0]))


class _Free:
    """Stands for arrays of one dtype and any size."""

    def __init__(self, x: Any) -> None:
        self.shape, self.dtype = (None,) * x.ndim, x.dtype


def available(name: str) -> bool:
    """Whether an engine can be used here: LiteRT is an extra, and nothing for a GPU."""
    if name == "litert":
        return importlib.util.find_spec("ai_edge_litert") is not None and not on_gpu()
    return True


def on_gpu() -> bool:
    """Whether TensorFlow has a GPU to run on."""
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


def promising(split: FrozenSplit, seconds_left: float) -> list[str]:
    """The engines that may save time on the work that is left, the most promising first.

    Args:
        split: What is to be run.
        seconds_left: How long the engine that is running would take for the rest.
    """
    if on_gpu():
        return ["xla"] if seconds_left > 4 * preparation("xla", split) else []
    # Convolutions are slow in XLA on a CPU; matrix products are fast.
    names = ["litert", "graph"] if _convolves(split) else ["litert", "xla", "graph"]
    # None is taken to be more than half as fast again before it has been measured.
    return [n for n in names if available(n) and seconds_left / 3 > preparation(n, split)]


def preparation(name: str, split: FrozenSplit) -> float:
    """Seconds that an engine takes to get ready, about; tracing included."""
    if name == "keras":
        return 0.0
    each_mib, each_call = _PREPARATION[name]
    weights = sum(graph.size(v) * 4 for layer in split.layers for v in layer.weights) / 2**20
    return 0.1 + each_mib * weights + (each_call + 0.0015) * len(split.prefix_calls)


def disagreement(found: Features, wanted: Features) -> float:
    """The largest difference relative to the largest value, over all features."""
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        finite = np.isfinite(other)
        if one.shape != other.shape or not np.array_equal(np.isfinite(one), finite):
            return float("inf")
        exact = other[finite].astype("float64")
        scale = float(np.abs(exact).max(initial=0.0))
        gap = float(np.abs(one[finite].astype("float64") - exact).max(initial=0.0))
        worst = max(worst, gap / scale if scale else gap)
    return worst


def checked(
    name: str, split: FrozenSplit, inputs: list[Any], wanted: Features, *, varying: bool = False
) -> Engine:
    """An engine that agrees with Keras on a batch.

    Raises:
        ValueError: If it cannot run the prefix or disagrees by more than 1e-4 of the largest value.
    """
    engine = Engine(name, split, varying=varying)
    try:
        found = engine(inputs)
    except Exception as error:
        # Converters raise anything; whatever it is, the engine is not for this model.
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise ValueError(
            f"The engine {name!r} cannot run the frozen part of {split.model.name!r}: "
            f"{type(error).__name__}: {reason}. Take `engine='keras'`. Received: engine={name!r}"
        ) from error
    gap = disagreement(found, wanted)
    allowed = tolerance(split, TOLERANCE)
    if not gap <= allowed:
        raise ValueError(
            f"The engine {name!r} disagrees with Keras by {gap:.1e} of the largest feature, more "
            f"than {allowed:.0e}. Take `engine='keras'`. Received: engine={name!r}"
        )
    return engine


def tolerance(split: FrozenSplit, least: float) -> float:
    """How far two ways of computing the prefix may differ: `least`, or more in half precision."""
    calls = [call for call in split.prefix_calls if call.outputs]
    kinds = {value.dtype for call in calls for value in call.outputs}
    kinds |= {getattr(call.operation, "compute_dtype", "float32") for call in calls}
    steps = [_STEPS[kind] for kind in kinds if kind in _STEPS]
    return max([least, *(4 * step for step in steps)])


def seconds_a_row(engine: Engine, inputs: list[Any]) -> float:
    """How long the engine takes for a sample, on a batch that it has seen the shape of."""
    start = time.perf_counter()
    engine(inputs)
    return (time.perf_counter() - start) / len(inputs[0])


def _convolves(split: FrozenSplit) -> bool:
    return any("Conv" in type(layer).__name__ for layer in split.layers)


def _specs(inputs: list[Any], size: int | None) -> list[Any]:
    import tensorflow as tf

    return [tf.TensorSpec((size, *x.shape[1:]), x.dtype) for x in inputs]


def _by_keras(split: FrozenSplit, inputs: list[Any], **options: Any) -> Callable[..., Any]:
    import tensorflow as tf

    function = tf.function(
        lambda *flat: split.run_prefix_flat(list(flat)),
        input_signature=_specs(inputs, len(inputs[0]) if options else None),
        autograph=False,
        **options,
    )
    return lambda batch: [feature.numpy() for feature in function(*batch)]


def _by_xla(split: FrozenSplit, inputs: list[Any]) -> Callable[..., Any]:
    return _by_keras(split, inputs, jit_compile=True)


def _with_constants(split: FrozenSplit) -> Callable[..., Any]:
    """The prefix with its weights as constants, which TensorFlow can fold and fuse."""
    import tensorflow as tf

    variables = [variable for layer in split.layers for variable in layer.weights]
    # By value: a tensor made outside would be an input of the graph, not a constant in it.
    weights = {id(v): (v, keras.ops.convert_to_numpy(v)) for v in variables}

    def run(*flat: Any) -> Any:
        mapping = [(v, tf.constant(array)) for v, array in weights.values()]
        with keras.StatelessScope(state_mapping=mapping):
            return split.run_prefix_flat(list(flat))

    return run


def _by_graph(split: FrozenSplit, inputs: list[Any]) -> Callable[..., Any]:
    import tensorflow as tf

    function = tf.function(
        _with_constants(split), input_signature=_specs(inputs, None), autograph=False
    )
    return lambda batch: [feature.numpy() for feature in function(*batch)]


def _by_litert(split: FrozenSplit, inputs: list[Any]) -> Callable[..., Any]:
    return litert.convert(split, _specs(inputs, len(inputs[0])))


def _filled_up(run: Callable[..., Any], batch: list[Any], size: int) -> Features:
    """Runs a batch in one of a fixed size, which is filled with its last row."""
    rows = len(batch[0])
    if rows == size:
        return run(batch)
    order = np.minimum(np.arange(size), rows - 1)
    return [feature[:rows] for feature in run([np.asarray(x)[order] for x in batch])]


_MAKERS = {"keras": _by_keras, "graph": _by_graph, "xla": _by_xla, "litert": _by_litert}
