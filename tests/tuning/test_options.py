"""Are wrong options named before anything is loaded?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.tuning.options import Options
from tuning_calls import samples


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"probe_epochs": 0}, ValueError, "`probe_epochs` must be at least 1"),
        ({"probe_epochs": 1.0}, TypeError, "`probe_epochs` must be an int of at least 1"),
        ({"probe_epochs": True}, TypeError, "`probe_epochs` must be an int of at least 1"),
        ({"epochs": -1}, ValueError, "`epochs` must be at least 0"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0"),
        ({"seed": None}, TypeError, "`seed` must be an int of at least 0"),
        ({"seed": "auto"}, TypeError, "`seed` must be an int of at least 0"),
        ({"batch_size": "auto"}, TypeError, "`batch_size` must be an int of at least 1"),
        ({"learning_rate": None}, TypeError, "`learning_rate` must be a positive number"),
        ({"learning_rate": "fast"}, TypeError, "`learning_rate` must be a positive number"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be a positive number"),
        ({"layer_decay": None}, TypeError, r"`layer_decay` must be a number in \(0, 1\]"),
        ({"layer_decay": 1.1}, ValueError, r"`layer_decay` must be a number in \(0, 1\]"),
        ({"top": 0}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": 1.01}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": True}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": "half"}, ValueError, "`top` must be a share above 0 and up to 1"),
        ({"top": float("nan")}, ValueError, "`top` must be a share above 0 and up to 1"),
    ],
)
def test_wrong_options_are_named_before_anything_is_loaded(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    ((name, value),) = options.items()
    with pytest.raises(error, match=words) as caught:
        ftk.fine_tune("no such file", samples(), **options)
    assert str(caught.value).endswith(f"Received: {name}={value!r}")


def test_options_are_numbers_once_they_are_checked() -> None:
    found = Options(epochs=np.int64(3), top=1, learning_rate=1, budget="2 min").checked()
    assert (found.epochs, found.top, found.learning_rate, found.budget) == (3, 1.0, 1.0, 120.0)
    assert type(found.epochs) is int
    assert Options().checked() == Options()


def test_data_in_the_place_of_the_source_are_named() -> None:
    x, y = samples()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    for wrong in ((x, y), x, [x, y], data):
        with pytest.raises(TypeError, match="`source` must be what `load_backbone` takes"):
            ftk.fine_tune(wrong, "builtin:mobilenet_v2")
