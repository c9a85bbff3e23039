"""A reader that says no more leaves a fit as it is, and a marker stands for samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from finetunekit.data.batches import KerasData
from finetunekit.execution.fit_call import FitCall
from finetunekit.execution.loop_options import LoopOptions
from finetunekit.execution.readers import Reader, ReadyReader, is_marker, marker


class Plain(Reader):
    """What every reader has to have, and no more."""

    def ready(self, split: Any, key: Any, extractor: Any) -> ReadyReader:
        return PlainReady()

    def reads(self, iterator: Any, *, own: bool) -> bool:
        return own


class PlainReady(ReadyReader):
    def run(self, iterator: Any, phase: Any, begun: Any = None) -> Any:
        return begun

    def close(self) -> None:
        """Nothing is open."""


def test_a_plain_reader_leaves_the_call_as_it_is() -> None:
    reader, split, extractor = Plain(), object(), object()
    call = FitCall(data=KerasData(x=np.zeros(3)), validation_data=(1, 2), loop=LoopOptions())
    assert reader.training_call(call) is call
    assert reader.validation_call(call) is call
    assert reader.batch(0, 0) is None
    assert reader.varies(split) is False
    assert reader.ready(split, {}, extractor).told == ""


@pytest.mark.parametrize(
    ("kind", "missing"), [(Reader, ["reads", "ready"]), (ReadyReader, ["run", "close"])]
)
def test_a_reader_has_to_say_what_it_reads(kind: Any, missing: list[str]) -> None:
    assert kind.__abstractmethods__ == set(missing)
    for name in missing:
        whole = Plain if kind is Reader else PlainReady
        others = {other: getattr(whole, other) for other in missing if other != name}
        with pytest.raises(TypeError, match=rf"abstract method '?{name}\b"):
            type("Partial", (kind,), others)()


def test_a_marker_is_one_element() -> None:
    assert list(marker().as_numpy_iterator()) == [{"finetunekit": 0}]
    assert int(marker().cardinality()) == 1


def test_a_marker_is_known_from_its_iterator_and_among_other_things() -> None:
    assert is_marker(marker())
    assert is_marker(iter(marker().repeat()))
    assert is_marker(tf.data.Dataset.from_tensors({"finetunekit": 0, "other": 1}))


@pytest.mark.parametrize(
    "data",
    [
        None,
        [{"finetunekit": 0}],
        {"finetunekit": 0},
        iter([{"finetunekit": 0}]),
        tf.data.Dataset.from_tensors(0),
        tf.data.Dataset.from_tensors({"other": 0}),
        tf.data.Dataset.from_tensors(({"finetunekit": 0}, 1)),
        tf.data.Dataset.from_tensors("finetunekit"),
    ],
    ids=["nothing", "list", "dict", "iterator", "number", "name", "pair", "text"],
)
def test_other_data_are_no_marker(data: Any) -> None:
    assert is_marker(data) is False
