"""Are instructions that this Python cannot run found, without running them?"""

from __future__ import annotations

import json
from types import CodeType
from typing import Any

import pytest

from bytecode_samples import HERE
from finetunekit.foundation.bytecode import stack


def functions_of(module: Any) -> list[CodeType]:
    """The code of all functions and methods that a module defines."""
    found = [value for value in vars(module).values() if hasattr(value, "__code__")]
    for value in vars(module).values():
        if isinstance(value, type):
            found += [each for each in vars(value).values() if hasattr(each, "__code__")]
    return [function.__code__ for function in found]


def test_functions_of_the_standard_library_are_sound() -> None:
    codes = functions_of(json.decoder) + functions_of(json.encoder) + functions_of(json)
    assert len(codes) > 15
    assert all(map(stack.runs_here, codes))


def test_unsound_functions_inside_are_found() -> None:
    def outer(x: Any) -> Any:
        return [x for _ in range((lambda: 2)())]

    code = outer.__code__
    inner = next(value for value in code.co_consts if isinstance(value, CodeType))
    cut = inner.replace(co_code=inner.co_code[:-2])
    broken = code.replace(
        co_consts=tuple(cut if value is inner else value for value in code.co_consts)
    )
    assert stack.runs_here(code)
    assert not stack.runs_here(broken)


def test_a_stack_that_is_declared_too_small_is_found() -> None:
    def add(x: Any) -> Any:
        return x + x * 2

    code = add.__code__
    assert stack.runs_here(code)
    assert not stack.runs_here(code.replace(co_stacksize=1))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda code: code[:2] + b"\x7c\x63" + code[4:], id="no such variable"),
        pytest.param(lambda code: code[:-2] + b"\x01\x00" + code[-2:], id="an empty stack"),
        pytest.param(lambda code: code[:-2], id="no return"),
        pytest.param(lambda code: code[:-2] + b"\xff\x00", id="no such instruction"),
        pytest.param(lambda code: code[2:], id="no beginning"),
    ],
)
def test_unsound_instructions_are_found(change: Any) -> None:
    if HERE not in ("3.11", "3.12"):
        pytest.skip("the numbers are those of Python 3.11 and 3.12")

    def double(x: Any) -> Any:
        return x * 2

    assert stack.runs_here(double.__code__)
    assert not stack.runs_here(double.__code__.replace(co_code=change(double.__code__.co_code)))
