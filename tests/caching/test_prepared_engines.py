"""A prepared engine is found again for the same prefix, and goes with its layers."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import engines, identity, prepared_engines
from finetunekit.caching.extract import Extractor
from models import images, small_backbone, split_of

L = keras.layers


def test_a_prepared_engine_is_found_again_for_the_same_prefix(
    monkeypatch: pytest.MonkeyPatch, made: list[str]
) -> None:
    backbone, x = small_backbone(), images(12)
    split = split_of(backbone)
    key = identity.prefix_key(split)
    first = Extractor(split, "litert", key=key)
    first([x[:4]], 12)  # Those of Keras, with which it is compared.
    wanted = first([x[:4]], 12)
    made.clear()
    again = split_of(backbone)  # Another head on the same backbone.
    for name in ("auto", "litert"):
        second = Extractor(again, name, key=identity.prefix_key(again))
        assert np.array_equal(second([x[:4]], 12)[0], wanted[0])
        assert (second.name, second.why) == ("litert", "prepared before")
        assert np.allclose(second([x[4:8]], 8)[0], backbone(x[4:8]), atol=1e-5)
        monkeypatch.setattr(engines, "promising", lambda *_: ["graph", "xla"])
        for _ in range(2):
            second([x[4:8]], 400)
    assert made == []
    assert Extractor(again, "keras", key=key)([x[:4]], 12)
    # For batches of another kind, and for other weights, it is of no use.
    for batch in (x[:5], x[:1]):
        Extractor(again, "auto", key=key)([batch], 5)
    backbone.layers[1].kernel.assign(backbone.layers[1].kernel * 2)
    other = Extractor(again, "auto", key=identity.prefix_key(again))
    assert np.allclose(other([x[:4]], 12)[0], backbone(x[:4]), atol=1e-5)
    assert made == ["keras"] * 4
    ftk.clear_cache()
    Extractor(again, "auto", key=key)([x[:4]], 12)
    assert made == ["keras"] * 5


def test_prepared_engines_hold_no_layers() -> None:
    split = split_of(small_backbone())
    Extractor(split, "litert", key=identity.prefix_key(split))([images(4)], 4)
    seen = weakref.ref(split.layers[0])
    assert len(prepared_engines._kept) == 1
    del split
    gc.collect()
    assert seen() is None
    assert len(prepared_engines._kept) == 0


def test_only_the_last_engines_are_kept() -> None:
    layers = [L.Dense(1) for _ in range(6)]
    for number, layer in enumerate(layers):
        prepared_engines.keep(layer, {"n": str(number)}, "litert", {"batch": list})
    prepared_engines.keep(layers[0], {"n": "g"}, "graph", {"batch": list})
    found = [prepared_engines.find(x, {"n": str(n)})[1] for n, x in enumerate(layers)]
    assert found == [{}, {}, *[{"batch": list}] * 4]
    assert prepared_engines.find(layers[5], {"n": "4"})[1] == {}
    assert prepared_engines.find(layers[5], None)[1] == {}
