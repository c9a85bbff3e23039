"""Do errors about the data name the arguments of `fine_tune`?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import finetunekit as ftk
from finetunekit.tuning.own_names import errors_of_train
from models import images, labels, small_backbone

X, Y = images(8), labels(8)


def generated() -> Any:
    shapes = (tf.TensorSpec((None, 16, 16, 3)), tf.TensorSpec((None,), tf.int64))
    return tf.data.Dataset.from_generator(lambda: iter([(X, Y)]), output_signature=shapes)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((X[:, :9], Y), r"^In `train`: `x` must have shape \(n, 16, 16, 3\).*Received: x of shape"),
        ((X[:5], Y), "^In `train`: `x` and `y` must hold the same number"),
        (
            tf.data.Dataset.from_tensor_slices((X[:, :9], Y)).batch(4),
            "^`train` must give batches of shape .*Received: train with batches",
        ),
        (generated(), "^`train` is a dataset of unknown length.*assert_cardinality"),
    ],
)
def test_the_argument_is_named_train(train: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        ftk.fine_tune(small_backbone(), train, probe_epochs=1, epochs=0, verbose=0)
    assert "steps_per_epoch" not in str(caught.value)


def test_labels_of_several_classes_are_rows() -> None:
    with pytest.raises(ValueError, match="a row of 0 and 1 for each sample"):
        ftk.fine_tune(small_backbone(), (X, np.arange(8) % 3), task="multilabel", verbose=0)


class Own(ValueError):
    """A user's error."""


@pytest.mark.parametrize("error", [Own("`x` is mine"), ValueError("my callback's"), OSError("`x`")])
def test_errors_of_others_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, errors_of_train(pipeline=True):
        raise error
    assert caught.value is error
