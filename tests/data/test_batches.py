"""What do data of a new kind have to say, and what do they get for nothing?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetunekit.data.batches import Batches, KerasData

X = np.zeros((4, 2))


class Toy(Batches):
    """The least that data are."""

    steps, samples = 2, 4
    spec = (X, None)  # type: ignore[assignment]

    def first_batch(self) -> Any:
        return X[:2]

    def digest(self) -> str:
        return "toy"

    def fast_forward(self, epochs: int) -> None:
        """Nothing moves."""

    def for_keras(self, first_epoch: int) -> KerasData:
        return KerasData(x=(X, first_epoch))


def test_what_comes_for_nothing() -> None:
    toy = Toy()
    assert toy.for_validation() == (X, 0), "validation begins with the first epoch"
    assert toy.batch(0, 0) is None
    assert (toy.kind, toy.random_layers) == ("samples", ())


@pytest.mark.parametrize("name", ["spec", "first_batch", "digest", "fast_forward", "for_keras"])
def test_what_has_to_be_said(name: str) -> None:
    members = {key: value for key, value in vars(Toy).items() if key != name}
    with pytest.raises(TypeError, match=f"abstract method '?{name}"):
        type("Less", (Batches,), members)()


def test_keras_is_given_nothing_else_unless_said() -> None:
    given = KerasData(x=X)
    assert [given.y, given.sample_weight, given.class_weight, given.batch_size] == [None] * 4
    assert given.shuffle is False
