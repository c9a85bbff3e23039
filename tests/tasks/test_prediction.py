"""Are predictions readable, and rows of a table?"""

from __future__ import annotations

import json

import pytest

import finetunekit as ftk
from finetunekit.tasks.prediction import number_text


def test_classes() -> None:
    found = ftk.Prediction(("cat", "dog"), {"cat": 0.9, "dog": 0.6, "cow": 0.1}, source="a.png")
    assert (found.label, found.probability) == ("cat, dog", 0.9)
    assert str(found) == "a.png: cat 0.90, dog 0.60"
    assert json.loads(json.dumps(found.to_dict())) == {
        "source": "a.png",
        "label": "cat, dog",
        "probability": 0.9,
        "labels": ["cat", "dog"],
        "probabilities": {"cat": 0.9, "dog": 0.6, "cow": 0.1},
    }
    none = ftk.Prediction((), {"cat": 0.3, "dog": 0.2})
    assert (str(none), none.label, none.probability) == ("none", "", 0.3)


def test_numbers() -> None:
    alone = ftk.NumberPrediction({"0": 3.14159})
    assert (alone.value, str(alone)) == (3.14159, "3.142")
    several = ftk.NumberPrediction({"price": 94_000.4, "size": -0.5}, source="a.png")
    assert str(several) == "a.png: price 94,000, size -0.5"
    assert several.to_dict() == {"source": "a.png", "price": 94_000.4, "size": -0.5}
    with pytest.raises(ValueError, match="several numbers, 'price', 'size'"):
        _ = several.value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-7, "1e-07"), (999.96, "1000"), (-12345.6, "-12,346"), (1e20, "1e+20")],
)
def test_numbers_keep_the_digits_that_count(value: float, text: str) -> None:
    assert number_text(value) == text
