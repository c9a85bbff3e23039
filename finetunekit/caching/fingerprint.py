"""Digests of Python objects and functions that are the same in each process of one Python."""

import copyreg
import dis
import enum
import hashlib
import itertools
import secrets
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from finetunekit.foundation import hashing

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented))
_LONG = 200  # Characters from which on a digest stands for a text.
_MOST = 200_000  # Objects; whoever reaches more than that is not told apart by us.
# They are known by the versions of Keras and TensorFlow, which are part of every key.
_KNOWN = frozenset(sys.stdlib_module_names) | {"keras", "tensorflow", "numpy", "finetunekit"}
# Of a class: what does not decide what its objects compute.
_ABOUT = {
    *("__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__"),
    *("__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__", "__match_args__"),
    *("__firstlineno__", "__static_attributes__", "__dataclass_fields__", "__dataclass_params__"),
}
_PROCESS = secrets.token_hex(8)
_numbers = itertools.count()
_tokens: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


class Fingerprint:
    """Describes values by content: arrays, containers, objects, and functions by their bytecode.

    A function stands for its constants, names, defaults and closure too, and for the functions,
    classes and values of the user's own modules that it names. Code of installed packages is
    described by name and by the digest of its file.

    Attributes:
        names: All names that the code described so far uses.
        unidentified: The types of what could not be described; such a description is good for
            that very object only, in this process only.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.unidentified: list[str] = []
        # The objects are held, since the `id` of one that is gone may come again.
        self._done: dict[int, tuple[Any, str]] = {}
        self._open: list[int] = []

    def of(self, value: Any) -> str:
        """The description of a value."""
        if type(value) in _ATOMS:
            return _short(f"{type(value).__name__} {value!r}")
        if id(value) in self._done:
            return self._done[id(value)][1]
        if id(value) in self._open:
            return f"cycle {len(self._open) - self._open.index(id(value))}"
        self._open.append(id(value))
        try:
            found = _short(self._described(value))
        finally:
            self._open.pop()
        self._done[id(value)] = value, found
        return found

    def all_of(self, values: Iterable[Any]) -> str:
        """The descriptions of several values, in their order."""
        return "(" + ", ".join([self.of(value) for value in values]) + ")"

    def _described(self, value: Any) -> str:
        if len(self._done) > _MOST or len(self._open) > sys.getrecursionlimit() // 8:
            return self._opaque(value)
        for fits, describe in _ROWS:
            if fits(value):
                try:
                    return describe(self, value)
                except (RecursionError, KeyboardInterrupt, MemoryError):
                    raise
                except Exception:
                    # Whatever a user's own class raises when it is looked at.
                    return self._opaque(value)
        return self._opaque(value)

    def _opaque(self, value: Any) -> str:
        self.unidentified.append(type(value).__name__)
        try:
            token = _tokens.setdefault(value, f"{_PROCESS} {next(_numbers)}")
        except TypeError:  # It can neither be hashed nor watched: it is another one each time.
            token = f"{_PROCESS} {next(_numbers)}"
        return f"unidentified {token}"

    def array(self, value: Any) -> str:
        """An array, tensor or variable."""
        array = value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
        array = np.asarray(array)
        if array.dtype.hasobject:
            return f"array {array.shape} {self.of(array.tolist())}"
        return f"array {hashing.array_digest(array)}"

    def items(self, value: Any) -> str:
        """A dict, in its order."""
        return f"dict {self.all_of(part for item in value.items() for part in item)}"

    def row(self, value: Any) -> str:
        """A list or tuple; Keras' own kinds of them are no others."""
        return f"{'tuple' if isinstance(value, tuple) else 'list'} {self.all_of(value)}"

    def members(self, value: Any) -> str:
        """A set, whose order another process may not share."""
        return f"set {sorted(self.of(part) for part in value)}"

    def function(self, value: types.FunctionType) -> str:
        """A function, with what it holds and what it names."""
        if is_library(value.__module__):
            return _named(value)
        code = value.__code__
        cells = [_content(cell) for cell in value.__closure__ or ()]
        held = [value.__defaults__, value.__kwdefaults__, cells, vars(value)]
        return f"function {self._code(code, value.__doc__)} {self.all_of(held)} " + self._globals(
            code, value.__globals__
        )

    def code(self, value: types.CodeType) -> str:
        """Bytecode and all that it works on but its place in a file."""
        return self._code(value, None)

    def _code(self, code: types.CodeType, doc: str | None) -> str:
        self.names.update(code.co_names)
        constants = list(code.co_consts)
        if doc is not None and constants and constants[0] == doc:
            constants[0] = None
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        table = getattr(code, "co_exceptiontable", b"")
        return f"code {code.co_code.hex()} {table.hex()} {counts} {names} {self.row(constants)}"

    def _globals(self, code: types.CodeType, known: dict[str, Any]) -> str:
        """What the names of a function stand for, those of functions within it included."""
        rows = []
        for name in sorted(set(_global_names(code))):
            if name in known:
                rows += [name, self.of(known[name]), *self._parts_of(known[name], code)]
        for name in sorted(set(_imported_names(code))):
            module = sys.modules.get(name)
            rows += [] if module is None else [name, *self._parts_of(module, code)]
        return f"[{', '.join(rows)}]"

    def _parts_of(self, module: Any, code: types.CodeType) -> list[str]:
        """What a function takes from a module of the user's own."""
        if not isinstance(module, types.ModuleType) or is_library(module.__name__):
            return []
        used = sorted(n for n in set(_all_names(code)) if n in vars(module))
        return [part for name in used for part in (name, self.of(vars(module)[name]))]

    def method(self, value: Any) -> str:
        """A bound method."""
        return f"method {self.of(value.__func__)} of {self.of(value.__self__)}"

    def builtin(self, value: Any) -> str:
        """A function without bytecode."""
        owner = getattr(value, "__self__", None)
        bound = None if isinstance(owner, types.ModuleType | type) else owner
        return f"{_named(value)} of {self.of(bound)}"

    def kind(self, value: type) -> str:
        """A class: its name, and, if it is the user's own, all of its code."""
        if is_library(value.__module__):
            return _named(value)
        rows = [_named(value), *(self.of(base) for base in value.__bases__)]
        for name, member in sorted(vars(value).items()):
            if name not in _ABOUT:
                rows += [name, self.of(member)]
        return f"class [{', '.join(rows)}]"

    def object(self, value: Any) -> str:
        """Any other object, by its class and state."""
        if not is_library(type(value).__module__) and hasattr(value, "__dict__"):
            return f"object {self.of(type(value))} {self.items(vars(value))}"
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(2) if reduce is None else reduce(value)
        if isinstance(reduced, str):
            return f"{self.of(type(value))} {reduced}"
        parts = [list(p) if hasattr(p, "__next__") else p for p in reduced]
        return f"object {self.of(type(value))} {self.all_of(parts)}"


def is_library(module: str | None) -> bool:
    """Whether code of a module is that of an installed package, rather than the user's own."""
    if not module:
        return False
    if module.split(".")[0] in _KNOWN:
        return True
    return _installed(_file_of(module))


def _installed(file: str | None) -> bool:
    return file is not None and ("site-packages" in file or "dist-packages" in file)


def _file_of(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


def _named(value: Any) -> str:
    """The name of a class or function, with the digest of the file that it was installed in."""
    owner = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None) or getattr(owner, "__module__", None) or ""
    file = _file_of(module)
    known = module.split(".")[0] in _KNOWN
    mark = "" if known or file is None or not _installed(file) else f" {_digest_of(file)}"
    return f"{module}.{getattr(value, '__qualname__', repr(type(value)))}{mark}"


@lru_cache(maxsize=1024)
def _digest_of(file: str) -> str:
    return hashing.file_digest(file)


def _short(text: str) -> str:
    if len(text) < _LONG:
        return text
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # Nothing was put into it yet.
        return NotImplemented


def _codes(code: types.CodeType) -> Iterable[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _all_names(code: types.CodeType) -> Iterable[str]:
    return (name for part in _codes(code) for name in part.co_names)


def _global_names(code: types.CodeType) -> Iterable[str]:
    wanted = ("LOAD_GLOBAL", "LOAD_NAME")
    rows = (row for part in _codes(code) for row in dis.get_instructions(part))
    return (str(row.argval) for row in rows if row.opname in wanted)


def _imported_names(code: types.CodeType) -> Iterable[str]:
    rows = (row for part in _codes(code) for row in dis.get_instructions(part))
    return (str(row.argval) for row in rows if row.opname == "IMPORT_NAME")


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, keras.Variable)) or (
        hasattr(value, "dtype") and hasattr(value, "shape") and hasattr(value, "numpy")
    )


def _is_table(value: Any) -> bool:
    return callable(getattr(value, "export", None)) and "lookup" in type(value).__module__


def _table(fingerprint: Fingerprint, value: Any) -> str:
    """A lookup table of TensorFlow, whose order is its own."""
    columns = [keras.ops.convert_to_numpy(part).tolist() for part in value.export()]
    pairs = zip(*columns, strict=True)
    return f"table {sorted(fingerprint.of(pair) for pair in pairs)}"


_DESCRIPTORS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType)
_BUILTINS = (types.BuiltinFunctionType, types.MethodWrapperType, *_DESCRIPTORS)

# The first row that fits a value describes it.
_ROWS: list[tuple[Callable[[Any], bool], Callable[[Fingerprint, Any], str]]] = [
    (lambda v: isinstance(v, (list, tuple)), Fingerprint.row),
    (lambda v: isinstance(v, dict), Fingerprint.items),
    (lambda v: isinstance(v, (set, frozenset)), Fingerprint.members),
    (lambda v: isinstance(v, types.FunctionType), Fingerprint.function),
    (lambda v: isinstance(v, types.MethodType), Fingerprint.method),
    (lambda v: isinstance(v, _BUILTINS), Fingerprint.builtin),
    (lambda v: isinstance(v, types.CodeType), Fingerprint.code),
    (lambda v: isinstance(v, types.ModuleType), lambda f, v: f"module {v.__name__}"),
    (lambda v: isinstance(v, (staticmethod, classmethod)), lambda f, v: f.of(v.__func__)),
    (lambda v: isinstance(v, property), lambda f, v: f.all_of((v.fget, v.fset, v.fdel))),
    (lambda v: isinstance(v, enum.Enum), lambda f, v: f"{_named(type(v))} {v.name}"),
    (lambda v: isinstance(v, type), Fingerprint.kind),
    (lambda v: isinstance(v, slice), lambda f, v: f.all_of((v.start, v.stop, v.step))),
    (lambda v: hasattr(v, "python_function"), lambda f, v: f.of(v.python_function)),
    (lambda v: isinstance(v, keras.KerasTensor), lambda f, v: f"symbolic {v.shape} {v.dtype}"),
    (_is_array, Fingerprint.array),
    (_is_table, _table),
    (lambda v: hasattr(v, "__wrapped__"), lambda f, v: f.of(v.__wrapped__)),
    (
        lambda v: hasattr(v, "get_config") and is_library(type(v).__module__),
        lambda f, v: f"{_named(type(v))} {f.of(v.get_config())}",
    ),
    (lambda v: True, Fingerprint.object),
]
