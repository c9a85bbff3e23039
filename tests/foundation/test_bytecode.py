"""Is bytecode of another Python told apart, without running it?"""

from __future__ import annotations

import json
import marshal
from types import FunctionType
from typing import Any

import pytest

from bytecode_samples import CASES, HERE, sample
from finetunekit.foundation import bytecode


@pytest.mark.parametrize(("version", "name"), CASES)
def test_it_runs_here_or_is_refused(version: str, name: str) -> None:
    same = name in ("simple", "cond") and {version, HERE} <= {"3.11", "3.12"}
    if version == HERE or same:
        function = FunctionType(bytecode.load(sample(version, name)), {})
        assert {"simple": 7.0, "cond": 3, "pos": 3}[name] == function(3)
    else:
        with pytest.raises(bytecode.Foreign, match=f"this is Python {HERE}|by Python 3"):
            bytecode.load(sample(version, name))


def many(x: Any, factor: int = 2) -> Any:
    """A function of many kinds of instructions."""
    total = [x * i for i in range(3)]
    while x < 10:
        x += factor
        if x == 5:
            break
    else:
        total = [*total, f"{x!r:>3}"]
    try:
        (first, *rest), found = total, {"a": -x, **{"b": x}}
        yield from rest
    except (KeyError, TypeError) as error:
        raise ValueError(first) from error
    finally:
        del total
    with open(found) as file:
        return (lambda line: line[0:1] if line is not None else +x)(file)


@pytest.mark.parametrize("function", [many, lambda x: x, json.loads, json.JSONEncoder.iterencode])
def test_functions_of_this_python_run(function: Any) -> None:
    found = bytecode.load(marshal.dumps(function.__code__))
    assert found == function.__code__


def test_code_that_is_cut_or_no_code_is_refused() -> None:
    whole = marshal.dumps(many.__code__)
    for data in (b"", whole[:-1], whole + b"N", b"\xff" * 40, marshal.dumps([1, 2]), b"(" * 500):
        with pytest.raises(bytecode.Foreign, match="not the code of a function"):
            bytecode.load(data)
