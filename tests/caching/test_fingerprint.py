"""Does a description change with what a value computes, and with nothing else?"""

from __future__ import annotations

import functools
import marshal
import os
import re
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from finetunekit.caching.fingerprint import Fingerprint, is_library
from finetunekit.caching.layer_fingerprint import LayerFingerprint

BASE = """
    import numpy as np
    import math
    SCALE = 2
    TABLE = {{"a": [1.0, 2.0], "b": (3, None)}}
    WORDS = {{"x", "y", "z"}}

    class Helper:
        factor = {factor}
        def __init__(self, offset): self.offset = offset
        def apply(self, x): return x * self.factor + self.offset

    helper = Helper({offset})

    def inner(x, power={power}):
        {doc!r}
        return helper.apply(x) ** power

    def outer(scale):
        def made(x, *, last={last}):
            return [inner(part) * scale for part in x if part in {{{inset}}}] + [SCALE, math.pi]
        return made

    function = outer({scale})
"""
PLAIN = {"factor": 1, "offset": 0, "power": 2, "last": 1, "inset": "1, 2, 'a'", "scale": 3}
PLAIN["doc"] = "Documented."


def made(before: str = "", **changes: Any) -> Any:
    """A module of the user's own, as a run would import it."""
    module = types.ModuleType("users_own")
    source = before + textwrap.dedent(BASE).format(**(PLAIN | changes))
    # As from a file of bytecode, where constants are not shared as they are after compiling.
    exec(marshal.loads(marshal.dumps(compile(source, "own.py", "exec"))), vars(module))
    return module


def digest(value: Any) -> str:
    found = Fingerprint()
    text = found.of(value)
    assert not found.unidentified
    return text


def test_the_same_code_elsewhere_is_the_same() -> None:
    wanted = digest(made().function)
    assert digest(made().function) == wanted
    assert digest(made("# Moved down.\n\n\n").function) == wanted
    assert digest(made(doc="In other words.").function) == wanted


@pytest.mark.parametrize(
    "change",
    [
        *({"factor": 2}, {"offset": 1}, {"power": 3}, {"last": 2}),
        *({"inset": "1, 2, 'b'"}, {"scale": 4}),
    ],
    ids=str,
)
def test_what_a_function_reaches_is_part_of_it(change: dict[str, Any]) -> None:
    assert digest(made(**change).function) != digest(made().function)


def test_values_that_functions_name_are_part_of_them() -> None:
    module, wanted = made(), digest(made().function)
    module.SCALE = 3
    assert digest(module.function) != wanted
    module.SCALE = 2
    assert digest(module.function) == wanted
    module.TABLE = {}  # It names it nowhere.
    assert digest(module.function) == wanted


def test_functions_of_a_module_of_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    for change in ({}, {}, {"power": 5}):
        monkeypatch.setitem(sys.modules, "users_own", made(**change))
        space: dict[str, Any] = {"users_own": sys.modules["users_own"]}
        exec("def f(x):\n    return users_own.inner(x)", space)
        exec("def g(x):\n    import users_own\n    return users_own.inner(x)", space)
        wanted.append((digest(space["f"]), digest(space["g"])))
    assert wanted[0] == wanted[1]
    assert wanted[0][0] != wanted[2][0]
    assert wanted[0][1] != wanted[2][1]


class Plain:
    """An object of the user's own."""

    def __init__(self, value: Any) -> None:
        self.value = value


def looped(value: int) -> Any:
    one, other = Plain(value), Plain(0)
    one.value, other.value = [value, other], one
    return one


PAIRS: dict[str, Callable[[Any], Any]] = {
    "number": lambda n: n,
    "list": lambda n: [n, [n]],
    "dict": lambda n: {"a": {"b": n}},
    "set": lambda n: {"a", "b", str(n)},
    "array": lambda n: np.array([0.0, n]),
    "array of objects": lambda n: np.array(["a", n], object),
    "tensor": lambda n: keras.ops.convert_to_tensor([n]),
    "object": lambda n: Plain(n),
    "objects in a loop": looped,
    "partial": lambda n: functools.partial(max, n),
    "method": lambda n: Plain(n).__init__,
    "pattern": lambda n: re.compile(f"a{n}"),
    "path": lambda n: Path("a") / str(n),
    "slice": lambda n: slice(0, n),
    "cached function": lambda n: functools.lru_cache(lambda x: x + n),
    "builtin of an object": lambda n: [n].append,
}


@pytest.mark.parametrize("kind", PAIRS)
def test_values_are_told_apart(kind: str) -> None:
    make = PAIRS[kind]
    assert digest(make(1)) == digest(make(1))
    assert digest(make(1)) != digest(make(2))


def test_types_of_numbers_and_containers_are_told_apart() -> None:
    values = [1, 1.0, True, "1", b"1", None, (1,), [1], {1}, {1: None}, np.float32(1), np.int64(1)]
    assert len({digest(value) for value in values}) == len(values)


def test_what_cannot_be_described_is_named_and_never_the_same() -> None:
    lock = threading.Lock()
    found = Fingerprint()
    one = found.of({"lock": lock})
    assert found.unidentified == ["lock"]
    other = Fingerprint().of({"lock": threading.Lock()})
    assert one != other
    generator = Fingerprint().of(x for x in "ab")
    assert generator != Fingerprint().of(x for x in "ab")


def test_libraries() -> None:
    assert is_library("keras.layers")
    assert is_library("h5py._hl.files")
    assert is_library("functools")
    assert not is_library(__name__)
    assert not is_library(None)
    assert "h5py" in digest(sys.modules["h5py"].File) or len(digest(sys.modules["h5py"].File)) == 64


class Scaled(keras.layers.Layer):
    """Names some of its attributes in `call`, or in what that calls."""

    def __init__(self, indirect: bool = False) -> None:
        super().__init__()
        self.scale, self.shift, self.log, self.indirect = 1, 0, "", indirect
        self.body = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.helped(self.body(x))

    def helped(self, x: Any) -> Any:
        return x * self.scale + shifted(self)


class Indirect(Scaled):
    """Reaches attributes by what no bytecode shows."""

    def call(self, x: Any) -> Any:
        return x * getattr(self, "lo" + "g")


def shifted(layer: Any) -> Any:
    return layer.shift


def of_layer(layer: Any, weights: Any = ()) -> str:
    return LayerFingerprint(weights).of(layer)


@pytest.mark.parametrize(("name", "counts"), [("scale", True), ("shift", True), ("log", False)])
def test_attributes_that_the_code_names(name: str, counts: bool) -> None:
    layer = Scaled()
    layer(np.zeros((1, 3), "float32"))
    before = of_layer(layer)
    setattr(layer, name, 7)
    assert (of_layer(layer) != before) == counts
    hidden = Indirect()
    before = of_layer(hidden)
    setattr(hidden, name, 7)
    assert of_layer(hidden) != before


def test_weights_are_told_by_number_or_by_value() -> None:
    layer = Scaled()
    layer.body.build((None, 3))
    by_number, by_value = of_layer(layer, layer.body.weights), of_layer(layer)
    layer.body.kernel.assign(layer.body.kernel + 1)
    assert of_layer(layer, layer.body.weights) == by_number
    assert of_layer(layer) != by_value


def test_dtypes_of_layers_are_told_apart() -> None:
    kinds = ("float32", "mixed_bfloat16", "float64")
    assert len({of_layer(keras.layers.Dense(2, dtype=kind)) for kind in kinds}) == 3


_CHILD = """
import sys
sys.path.insert(0, {folder!r})
import test_fingerprint as t
print(t.digest(t.made().function), t.digest(t.PAIRS["set"](1)), t.of_layer(t.Scaled()))
"""


@pytest.mark.slow
def test_other_processes_find_the_same() -> None:
    code = _CHILD.format(folder=str(Path(__file__).parent))
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
