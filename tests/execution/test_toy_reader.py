"""Is a new kind of data for fits on features one class? A toy one, kept in this file alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.extract import Extractor
from finetunekit.caching.options import CacheOptions
from finetunekit.data.batches import KerasData
from finetunekit.execution import feature_fit
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.execution.readers import Phase, Reader, ReadyReader
from finetunekit.execution.tail import Parts
from frozen_dense import dense, same_training, samples

SIZE, SAMPLES = 4, 24
X, Y = samples(SAMPLES)


class EverySecond(Reader):
    """Every second sample, in batches that Keras sees the numbers of."""

    keras_sees_steps = True
    name = "every second sample"
    like = X[:1]
    steps = SAMPLES // 2 // SIZE

    def ready(self, split: FrozenSplit, key: dict[str, str], extractor: Extractor) -> ReadyReader:
        return ReadyEverySecond(extractor([X[::2]], SAMPLES // 2))

    def reads(self, iterator: Any, *, own: bool) -> bool:
        return own

    def training_call(self, call: FitCall) -> FitCall:
        numbers = tf.data.Dataset.range(self.steps)
        return call.replace(data=KerasData(x=numbers))


class ReadyEverySecond(ReadyReader):
    told = "every second sample"

    def __init__(self, features: list[np.ndarray]) -> None:
        self.features = features

    def run(self, iterator: Any, phase: Phase, begun: Any = None) -> Any:
        number = int(next(iterator))
        rows = slice(number * SIZE, (number + 1) * SIZE)
        features = [column[rows] for column in self.features]
        return phase.steps.one(Parts(features, [None], [], Y[::2][rows]))

    def close(self) -> None:
        self.features = []


def test_a_toy_reader_trains_as_model_fit() -> None:
    model, plain = dense(), dense()
    cache = CacheOptions(engine="keras", memory_limit=1 << 20, verbose=0)
    call = FitCall(data=KerasData(x=None), loop=LoopOptions(epochs=3, verbose=0))
    found = feature_fit.fit(model, call, EverySecond(), None, cache)
    options = {"batch_size": SIZE, "epochs": 3, "shuffle": False, "verbose": 0}
    expected = plain.fit(X[::2], Y[::2], **options)
    assert found.history == expected.history
    assert same_training(model, plain)
