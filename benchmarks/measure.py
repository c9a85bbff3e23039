"""How long does one fit take? Measured in a process of its own: this file is what it runs.

    python benchmarks/measure.py '{"work": "mobilenet", "way": "core"}'

Prints the figures as JSON. The whole call of `fit` is timed: checks, tracing, conversion,
features and all epochs, but not imports and the creation of model and data.
"""

import json
import os
import resource
import sys
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TASK = json.loads(sys.argv[1])
if TASK["way"] != "fast" and TASK["work"] != "engines":
    sys.modules["ai_edge_litert"] = None  # As if the extra were not installed.

import keras  # noqa: E402

import workloads  # noqa: E402
from workloads import OPTIONS, WORK, ftk  # noqa: E402


def fitted(work: workloads.Work, way: str) -> dict[str, Any]:
    """The time of one fit."""
    fit = ftk.fit  # Imports all that it needs.
    wall, cpu = time.perf_counter(), time.process_time()
    if way in ("plain", "control"):
        work.model.fit(work.x, work.y, **OPTIONS)
    elif way == "warm":
        fit(work.model, work.x, work.y, cache=TASK["path"], **OPTIONS)
    else:
        fit(work.model, work.x, work.y, **OPTIONS)
    return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


class Epochs(keras.callbacks.Callback):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Takes the time."""
        self.ends.append(time.perf_counter())


def steps_a_second(way: str) -> dict[str, Any]:
    """The throughput of a head on features, from the second epoch on."""
    work = WORK["head_alone" if way in ("plain", "control") else "head_on_features"]()
    epochs = Epochs()
    options = OPTIONS | {"epochs": 20, "callbacks": [epochs]}
    fit = work.model.fit if way in ("plain", "control") else _ours(work)
    fit(work.x, work.y, **options)
    steps = (len(epochs.ends) - 1) * len(work.x) / OPTIONS["batch_size"]
    return {"seconds": (epochs.ends[-1] - epochs.ends[0]) / steps}


def _ours(work: workloads.Work) -> Any:
    return lambda x, y, **options: ftk.fit(work.model, x, y, **options)


def scaled(times: int) -> dict[str, Any]:
    """Time and peak memory with a multiple of the data, features beyond the memory limit."""
    model, data = workloads.wide(), workloads.Made(512 * times)
    ftk.fit(model, workloads.Made(64), epochs=1, verbose=0, memory_limit="1 MB")
    start = time.perf_counter()
    ftk.fit(model, data, epochs=2, verbose=0, memory_limit="20 MB", shuffle=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.perf_counter() - start, "peak": peak}


def by_engine(way: str, rows: int) -> dict[str, Any]:
    """One fit whose features an engine computes, prepared before or not; or the bound."""
    work = workloads.mobilenet_of(rows)
    if way == "bound":
        return bound(work, prepared="litert")
    if way == "prepare":  # For a process to come.
        x, y, options = work.x[:64], work.y[:64], {"engine": "litert", "cache": TASK["path"]}
        ftk.fit(work.model, x, y, **OPTIONS, **options)
        return {}
    fit = ftk.fit  # Imports all that it needs.
    start = time.perf_counter()
    options = {"cache": TASK["path"]} if way == "prepared" else {"engine": way}
    fit(work.model, work.x, work.y, **OPTIONS, **options)
    return {"seconds": time.perf_counter() - start}


def bound(work: workloads.Work, prepared: str = "") -> dict[str, Any]:
    """The parts that cannot be avoided: extraction by an engine, and a bare tail loop.

    Args:
        work: The model and its data.
        prepared: An engine whose preparation is not counted; by default `auto` takes one.
    """
    import numpy as np
    import tensorflow as tf

    from finetunekit.caching.cut import split_frozen
    from finetunekit.caching.engines import Engine
    from finetunekit.caching.extract import Extractor

    start = time.perf_counter()
    split, rows = split_frozen(work.model), len(work.x)
    extractor: Any = Extractor(split)
    if prepared:
        engine = Engine(prepared, split)
        engine([work.x[:32]])
        extractor = lambda batch, _: engine(batch)  # noqa: E731
        start = time.perf_counter()
    parts = [extractor([work.x[n : n + 32]], rows - n)[0] for n in range(0, rows, 32)]
    features = tf.constant(np.concatenate(parts))
    layers = work.model.layers[-2:]
    optimizer, loss_of = keras.optimizers.Adam(), keras.losses.BinaryCrossentropy()
    weights = [v for layer in layers for v in layer.trainable_variables]
    optimizer.build(weights)
    y = tf.constant(work.y)

    @tf.function(autograph=False)
    def epoch() -> None:
        def step(number: Any) -> Any:
            part = slice(number * 32, number * 32 + 32)
            with tf.GradientTape() as tape:
                loss = loss_of(y[part], layers[1](layers[0](features[part])))
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return number + 1

        tf.while_loop(lambda number: number < rows // 32, step, [tf.constant(0)])

    for _ in range(OPTIONS["epochs"]):
        epoch()
    return {"seconds": time.perf_counter() - start}


def main() -> None:
    """Measures what the first argument asks for."""
    keras.utils.set_random_seed(0)  # The same weights in each process.
    name, way = TASK["work"], TASK["way"]
    if name == "head":
        found = steps_a_second(way)
    elif name == "scaling":
        found = scaled(int(way))
    elif name == "engines":
        found = by_engine(way, TASK["rows"])
    elif way == "bound":
        found = bound(WORK[name]())
    else:
        found = fitted(WORK[name](), way)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
