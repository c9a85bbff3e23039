"""Does `repeat` give mean, spread and all runs, seeded, and cheap on features that are there?"""

from __future__ import annotations

import keras
import numpy as np
import pytest

import finetunekit as ftk
from finetunekit.caching import extract
from models import images, labels, tiny_backbone


def test_mean_and_spread_by_the_formula() -> None:
    found = ftk.repeat(lambda seed: {"a": seed, "b": 2.0}, seeds=[1, 2, 6], verbose=0)
    assert found.mean == {"a": 3.0, "b": 2.0}
    assert found.std["a"] == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert found.values("a") == [1.0, 2.0, 6.0]
    assert "a: 3 ± 2.6 (3 runs: 1, 2, 6)" in str(found)


def test_each_run_is_seeded() -> None:
    def draw(seed: int) -> float:
        return float(np.random.random()) + float(keras.random.uniform(()))

    one, other = ftk.repeat(draw, verbose=0), ftk.repeat(draw, verbose=0)
    assert one.runs == other.runs
    assert len({run["result"] for run in one.runs}) == 3


def test_what_is_frozen_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fill = extract.fill
    monkeypatch.setattr(extract, "fill", lambda *a, **k: (calls.append(1), fill(*a, **k))[1])
    backbone, x, y = ftk.freeze_layers(tiny_backbone()), images(), labels()

    def run(seed: int) -> keras.callbacks.History:
        model = ftk.compile_for_task(ftk.add_head(backbone, "binary"))
        return ftk.fit(model, x, y, epochs=2, seed=seed, verbose=0)

    found = ftk.repeat(run, verbose=0)
    assert len(calls) == 1
    assert set(found.mean) == {"loss", "accuracy", "auc"}
    assert found.std["loss"] > 0


@pytest.mark.parametrize(
    ("fn", "seeds", "error", "message"),
    [
        (3, 3, TypeError, "`fn` must be a function"),
        (lambda seed: "good", 3, TypeError, "must return a number"),
        (lambda seed: {str(seed): 1.0}, 2, ValueError, "same names"),
        (lambda seed: 1.0, 0, ValueError, "`seeds` must be at least 1"),
        (lambda seed: 1.0, [], ValueError, "different seeds"),
        (lambda seed: 1.0, [1, 1], ValueError, "different seeds"),
    ],
)
def test_wrong_arguments(fn: object, seeds: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        ftk.repeat(fn, seeds, verbose=0)
