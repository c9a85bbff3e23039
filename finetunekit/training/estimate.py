"""What a fit computes once, and about what that saves: measured on one batch."""

import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from finetunekit.caching import cut, engines, extract, memory
from finetunekit.caching.cut import FrozenSplit, NotConstant, flat_inputs
from finetunekit.caching.engines import Engine
from finetunekit.caching.options import CacheOptions
from finetunekit.caching.store import size_of
from finetunekit.data import pipeline_batches
from finetunekit.data.array_batches import ArrayBatches, Cutting
from finetunekit.data.arrays import Arrays
from finetunekit.data.batches import Batches
from finetunekit.execution.feature_fit import find_cut
from finetunekit.foundation import arguments, html
from finetunekit.foundation.messages import obeys_verbose, plural
from finetunekit.models import inputs

# Steps of training take about so many times as long as the tail's forward pass alone.
_BACKWARD = 3.0


@dataclass(frozen=True)
class FitEstimate:
    """What a fit computes once, and about how long it takes; its text is what `explain` prints.

    Attributes:
        frozen: The paths at which the frozen prefix ends, with the tensors it gives.
        blocked_by: Path and reason of each layer that ends it.
        samples: The number of samples.
        feature_bytes: The size of their features.
        seconds_plain: About how long `model.fit` would take.
        seconds_cached: About how long `finetunekit.fit` would take.
        text: All of it in words.
    """

    frozen: list[str]
    blocked_by: list[tuple[str, str]]
    samples: int
    feature_bytes: int
    seconds_plain: float
    seconds_cached: float
    text: str

    def __str__(self) -> str:
        """All of it in words."""
        return self.text

    def __repr__(self) -> str:
        if not self.frozen:
            return f"<FitEstimate: {self.text.splitlines()[0]}>"
        return (
            f"<FitEstimate: {plural(self.samples, 'sample')}, about {self.seconds_cached:.1f} s, "
            f"by model.fit {self.seconds_plain:.1f} s>"
        )

    def _repr_html_(self) -> str:
        first, *rest = self.text.splitlines()
        return html.view(first, html.lines(rest))


@obeys_verbose
def explain(
    model: keras.Model,
    data: Any,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    frozen_dropout: bool = False,
) -> FitEstimate:
    """Says what `fit` would compute once and about what that saves; trains nothing.

    The frozen part runs on one batch to measure it; the model is not changed.

    Args:
        model: A model, compiled or not.
        data: The inputs that `fit` would get, as arrays, or a pipeline.
        epochs: For how many epochs to estimate.
        batch_size: Samples a step, for arrays.
        frozen_dropout: As for `fit`.

    Returns:
        A `FitEstimate`, to be printed.

    Raises:
        TypeError: If it is not a Keras model.
        ValueError: If the data do not fit the model.

    Example:
        ```python
        import finetunekit as ftk

        model = ftk.add_head(ftk.freeze_layers(ftk.load_backbone("pretrained_model.h5")), "binary")
        found = ftk.explain(model, x_train, epochs=5)
        assert found.feature_bytes > 0
        ```
    """
    arguments.check_model(model)
    cache = CacheOptions(frozen_dropout=frozen_dropout)
    return of_model(model, _inputs_alone(model, data, batch_size), epochs=epochs, cache=cache)


def _inputs_alone(model: keras.Model, data: Any, size: int) -> Batches:
    if inputs.is_array_like(data):
        read = inputs.read(data, model, "data", compare=False)
        return ArrayBatches(Arrays(read, None), Cutting(size=size))
    return pipeline_batches.of(data)


def of_model(
    model: keras.Model, batches: Batches, *, epochs: int, cache: CacheOptions
) -> FitEstimate:
    """The estimate for a model and its data; changes nothing.

    Raises:
        ValueError: If the data can be read only once, or their number is not known.
    """
    if not batches.steps:
        raise ValueError(
            "`data` must be arrays, or a pipeline that knows its number of batches. "
            f"Received: data of type {type(getattr(batches, 'source', batches)).__name__}"
        )
    batch = batches.first_batch()
    samples = batches.samples or batches.steps * len(keras.tree.flatten(batch)[0])
    split, reason = find_cut(model, cache, batch)
    flat = flat_inputs(model, batch)
    if split is None or flat is None:
        return _nothing(model, samples, reason)
    try:
        with extract.state_unchanged(split):
            return _measured(split, flat, samples, epochs)
    except NotConstant as error:
        uncut = cut.uncut(split, str(error))
        return _nothing(model, samples, cut.describe(uncut), uncut)


def _measured(split: FrozenSplit, flat: list[Any], samples: int, epochs: int) -> FitEstimate:
    engine = Engine("keras", split)
    start = time.perf_counter()
    features = extract.checked_by_sample(engine, flat)
    ready = time.perf_counter() - start
    row = min(engines.seconds_a_row(engine, flat) for _ in range(3))
    columns = extract.columns_of(split, features)
    size = size_of(columns, samples)
    tail = _BACKWARD * _tail_seconds(split, flat, dict(zip(columns, features, strict=True)))
    plain = epochs * samples * (row + tail)
    cached = samples * row + epochs * samples * tail + ready
    rows = [
        f"{split.model.name!r}: {plural(len(split.layers), 'layer')} with weights are computed "
        f"once, up to {split.prefix_calls[-1].path!r}",
        f"  ends there since {cut.describe(split)}",
        *([f"  runs without dropout: {', '.join(split.switched_off)}"] * bool(split.switched_off)),
        f"  features: {_shapes(split)}, {memory.size_text(size / samples)} a sample, "
        f"{memory.size_text(size)} for {samples:,} samples",
        f"  {epochs} epochs: about {plain:.1f} s with model.fit, {cached:.1f} s with "
        f"finetunekit.fit, {plain / cached:.1f} times as fast (measured on one batch)",
        f"  {_about_engines(split, samples * row)}",
    ]
    return FitEstimate(
        [name for name, _, _ in split.boundary],
        [(blocker.path, blocker.reason) for blocker in split.blocked_by],
        samples,
        size,
        plain,
        cached,
        "\n".join(rows),
    )


def _shapes(split: FrozenSplit) -> str:
    return " + ".join(str(shape[1:]) for _, shape, _ in split.boundary[: len(split.features)])


def _tail_seconds(split: FrozenSplit, flat: list[Any], columns: dict[str, np.ndarray]) -> float:
    """Seconds for a row of the tail's forward pass."""
    import tensorflow as tf

    numbers = range(len(split.features))
    features = [tf.constant(columns[f"feature_{n}"]) for n in numbers]
    masks = [columns.get(f"mask_{n}") for n in numbers]
    masks = [None if mask is None else tf.constant(mask) for mask in masks]
    passed = [tf.constant(flat[split.inputs.index(value)]) for value in split.passed]
    run = tf.function(lambda f, p, m: split.run_tail(f, p, m, training=False), autograph=False)
    keras.tree.map_structure(np.asarray, run(features, passed, masks))
    start = time.perf_counter()
    keras.tree.map_structure(np.asarray, run(features, passed, masks))
    return (time.perf_counter() - start) / len(flat[0])


def _about_engines(split: FrozenSplit, seconds: float) -> str:
    found = engines.promising(split, seconds)
    if not found:
        return f"no other engine pays: XLA and LiteRT compile too long for {seconds:.1f} s of work"
    ready = ", ".join(f"{name} (about {engines.preparation(name, split):.0f} s)" for name in found)
    xla = "" if "xla" in found else "; XLA does not"
    return f"worth preparing, and measured by fit: {ready}{xla}"


def _nothing(
    model: keras.Model, samples: int, reason: str, split: FrozenSplit | None = None
) -> FitEstimate:
    text = (
        f"{model.name!r}: nothing is computed once: {reason}. "
        "finetunekit.fit takes as long as model.fit"
    )
    blocked = [(blocker.path, blocker.reason) for blocker in split.blocked_by] if split else []
    return FitEstimate([], blocked, samples, 0, 0.0, 0.0, text)
