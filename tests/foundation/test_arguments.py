"""One check and one text for each kind of argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.foundation import arguments

Check = Callable[[Any], Any]
CHECKS: dict[str, Check] = {
    "model": arguments.check_model,
    "int": lambda v: arguments.check_int(v, "n", 2),
    "flag": lambda v: arguments.check_flag(v, "f"),
    "path": lambda v: arguments.check_path(v, "p"),
    "choice": lambda v: arguments.check_choice(v, "c", ("cosine", "linear")),
    "share": lambda v: arguments.check_number(v, "s", arguments.SHARE, "a share"),
    "share_or_none": lambda v: arguments.check_number(v, "s", arguments.SHARE_OR_NONE),
    "share_or_all": lambda v: arguments.check_number(v, "s", arguments.SHARE_OR_ALL),
    "any_share": lambda v: arguments.check_number(v, "s", arguments.ANY_SHARE),
    "positive": lambda v: arguments.check_number(v, "s", arguments.POSITIVE),
    "not_negative": lambda v: arguments.check_number(v, "s", arguments.NOT_NEGATIVE),
}


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("model", [keras.Sequential()]),
        ("int", [2, np.int64(3)]),
        ("flag", [True, False]),
        ("path", ["a", Path("a")]),
        ("choice", ["cosine"]),
        ("share", [0.5, np.float32(0.25)]),
        ("share_or_none", [0, 0.99]),
        ("share_or_all", [0.01, 1]),
        ("any_share", [0, 1]),
        ("positive", [1e-9, 1e9]),
        ("not_negative", [0, 1e9]),
    ],
)
def test_what_is_right_passes(kind: str, good: list[Any]) -> None:
    for value in good:
        CHECKS[kind](value)


@pytest.mark.parametrize(
    ("kind", "value", "error", "text"),
    [
        ("model", "m", TypeError, "`model` must be a keras.Model. Received: model='m'"),
        ("int", 1, ValueError, "`n` must be at least 2. Received: n=1"),
        ("int", True, TypeError, "`n` must be an int of at least 2. Received: n=True"),
        ("int", 2.0, TypeError, "`n` must be an int of at least 2. Received: n=2.0"),
        ("flag", 1, TypeError, "`f` must be True or False. Received: f=1"),
        ("path", 1, TypeError, "`p` must be a string or a path. Received: p=1"),
        (
            "choice",
            "cosin",
            ValueError,
            "`c` must be one of 'cosine', 'linear'. Did you mean 'cosine'? Received: c='cosin'",
        ),
        ("choice", 1, ValueError, "`c` must be one of 'cosine', 'linear'. Received: c=1"),
        ("share", 1.0, ValueError, "`s` must be a number in (0, 1), a share. Received: s=1.0"),
        ("share", 0, ValueError, "`s` must be a number in (0, 1), a share. Received: s=0"),
        ("share", "x", TypeError, "`s` must be a number in (0, 1), a share. Received: s='x'"),
        ("share", True, TypeError, "`s` must be a number in (0, 1), a share. Received: s=True"),
        ("share_or_none", 1, ValueError, "`s` must be a number in [0, 1). Received: s=1"),
        ("share_or_none", -0.1, ValueError, "`s` must be a number in [0, 1). Received: s=-0.1"),
        ("share_or_all", 0, ValueError, "`s` must be a number in (0, 1]. Received: s=0"),
        ("share_or_all", 1.1, ValueError, "`s` must be a number in (0, 1]. Received: s=1.1"),
        ("any_share", 1.1, ValueError, "`s` must be a number in [0, 1]. Received: s=1.1"),
        ("positive", 0, ValueError, "`s` must be a positive number. Received: s=0"),
        ("positive", float("inf"), ValueError, "`s` must be a positive number. Received: s=inf"),
        ("positive", float("nan"), ValueError, "`s` must be a positive number. Received: s=nan"),
        ("not_negative", -1, ValueError, "`s` must be a number of at least 0. Received: s=-1"),
    ],
)
def test_what_is_wrong_is_told(kind: str, value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        CHECKS[kind](value)
    assert str(raised.value) == text
    assert type(raised.value) is error


def test_a_layer_passes_where_any_layer_does() -> None:
    arguments.check_model(keras.layers.ReLU(), kind=keras.layers.Layer)
    with pytest.raises(TypeError, match="Make it first"):
        arguments.check_model(keras.layers.ReLU(), remedy="Make it first.")


def test_data_in_the_place_of_the_model_are_not_printed() -> None:
    for data in (np.zeros((3, 4)), keras.ops.zeros((3, 4))):
        with pytest.raises(TypeError, match=r"model comes first.* and shape \(3, 4\)$"):
            arguments.check_model(data)
    with pytest.raises(TypeError) as caught:
        arguments.check_int([0.5] * 10_000, "n", 1)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError])
def test_errors_name_what_the_caller_gave(kind: type[Exception]) -> None:
    with (
        pytest.raises(kind, match=r"^`source` is wrong\. Received: source='given'$"),
        arguments.renamed("path", "source", {"passed": "given"}),
    ):
        raise kind("`path` is wrong. Received: path='passed'")
    with pytest.raises(kind, match=r"^others$"), arguments.renamed("path", "source", {}):
        raise kind("others")
