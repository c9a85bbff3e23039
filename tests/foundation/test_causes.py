"""Is what Keras has wrapped up found again?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest

from finetunekit.foundation.causes import cause_of

L = keras.layers


class Failing(L.Layer):
    """A layer whose call fails."""

    def call(self, x: Any) -> Any:
        raise ValueError("what is wrong\nand more")


def _nested(initializer: Any) -> None:
    config = keras.Sequential([keras.Input((4,)), keras.Sequential([L.Dense(2)])]).get_config()
    config["layers"][-1]["config"]["layers"][-1]["config"]["kernel_initializer"] = initializer
    keras.Sequential.from_config(config)


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (lambda: L.Dense.from_config({"units": -1}), "Received an invalid value for `units`"),
        (lambda: _nested("mine"), "Could not interpret initializer identifier: mine"),
        (lambda: Failing()(keras.ops.ones((1, 2))), "what is wrong"),
        (
            lambda: keras.Sequential([keras.Input((2,)), keras.Sequential([Failing()])]),
            "what is wrong",
        ),
        (lambda: {}["key"], "KeyError: key"),
        (lambda: (_ for _ in ()).throw(RuntimeError()), "RuntimeError"),
        (lambda: (_ for _ in ()).throw(ValueError("x" * 600)), "x" * 497 + "..."),
        (
            lambda: keras.saving.deserialize_keras_object(
                {"module": None, "class_name": "Mine", "config": {}, "registered_name": "a>Mine"}
            ),
            "Could not locate class 'Mine'",
        ),
    ],
)
def test_the_cause_is_at_the_bottom(action: Callable[[], Any], wanted: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    found = cause_of(caught.value)
    assert found.startswith(wanted)
    assert "\n" not in found
    assert "onfig=" not in found
    assert "\x1b" not in found
