"""A restricted unpickler, which only describes tensors in dicts and lists."""

import collections
import io
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Views of one storage, such as tied weights, may be more than it, not by far.
_MOST_VIEWS = 8
_ALLOWED = frozenset(
    """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2
    LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 STRING
    BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1
    TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET
    ADDITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL
    REDUCE NEWOBJ BUILD BINPERSID
    """.split()
)


class Refused(Exception):
    """Why a file is not read; the message continues a sentence."""


class Storage:
    """A flat array, as stored in the file; a tensor is a view of one."""

    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count
        self.numbers: np.ndarray | None = None
        self.viewed = 0

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    def fill(self, content: bytes) -> None:
        """Takes the numbers out of their bytes."""
        if len(content) < self.count * self.itemsize:
            raise Refused(f"a tensor's {self.count:,} values are truncated")
        kind = "<u2" if self.dtype == "bfloat16" else self.dtype
        found = np.frombuffer(content, kind, self.count)
        if self.dtype == "bfloat16":
            found = (found.astype("<u4") << 16).view("<f4")
        self.numbers = found


@dataclass
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        """The numbers, on their own."""
        numbers = self.storage.numbers
        if numbers is None:
            raise Refused("a tensor's data are missing")
        sizes = (*self.size, *self.stride, self.offset)
        if len(self.size) != len(self.stride) or any(
            not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in sizes
        ):
            raise Refused(f"a tensor has the size {self.size} and strides {self.stride}")
        count = 1
        for n in self.size:
            count *= n
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride, strict=True))
        if count and last >= len(numbers):
            raise Refused(f"a tensor of the size {self.size} reaches beyond its data")
        self.storage.viewed += count
        if self.storage.viewed > _MOST_VIEWS * max(len(numbers), 64):
            raise Refused(f"a tensor of the size {self.size} repeats {len(numbers):,} numbers")
        strides = tuple(step * numbers.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.size, strides)
        return np.array(view, order="C", copy=True)

    def __setstate__(self, state: Any) -> None:
        """Takes nothing: what a pickle adds to a tensor is no part of it."""


class _Inert(collections.OrderedDict):  # type: ignore[type-arg]
    """An OrderedDict that takes no state: torch gives its own a `_metadata`."""

    def __setstate__(self, state: Any) -> None:
        """Takes nothing."""


class _Nothing:
    """Stands for what does not matter here: settings of a script, a device, a dtype."""

    def __setstate__(self, state: Any) -> None:
        """Takes nothing."""


class _Settings(dict):  # type: ignore[type-arg]
    """Stands for a dict of settings of a class of its own."""

    def __setstate__(self, state: Any) -> None:
        """Takes nothing."""


class _Call:
    """What a pickle may call, and may not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """Calls it."""
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        """Takes nothing."""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(size, tuple):
        raise Refused("a tensor is not described as torch does it")
    if not isinstance(stride, tuple):
        raise Refused("a tensor has no strides")
    return Tensor(storage, offset, size, stride)


_IGNORED = _Call(lambda *given: _Nothing())
_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Call(_Inert),
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *rest: data),
    ("torch._utils", "_rebuild_parameter_with_state"): _Call(lambda data, *rest: data),
    ("torch", "Size"): _Call(lambda *numbers: tuple(*numbers)),
    ("torch", "device"): _IGNORED,
    ("argparse", "Namespace"): _Nothing,
    ("collections", "Counter"): _IGNORED,  # Of a learning-rate scheduler.
    ("pathlib", "PosixPath"): _IGNORED,
    ("pathlib", "WindowsPath"): _IGNORED,
    ("numpy.core.multiarray", "scalar"): _IGNORED,
    ("numpy._core.multiarray", "scalar"): _IGNORED,
    ("numpy.core.multiarray", "_reconstruct"): _IGNORED,  # Arrays, as of a random state.
    ("numpy._core.multiarray", "_reconstruct"): _IGNORED,
    ("numpy", "ndarray"): _Nothing,
    ("numpy", "dtype"): _IGNORED,
    ("collections", "defaultdict"): _Call(lambda *kind: {}),
    ("collections", "deque"): _Call(lambda *rows: []),
    ("datetime", "datetime"): _IGNORED,
    ("_codecs", "encode"): _IGNORED,
}


# Of logs and sets, as pickles of protocol 2 and of later ones name them.
_GLOBALS |= {
    (module, name): _IGNORED
    for module in ("__builtin__", "builtins")
    for name in ("set", "frozenset", "list", "dict", "int", "float")
}
# Hyperparameters and callbacks of Lightning; before 1.5, the classes themselves are keys.
_LIGHTNING = re.compile(r"(pytorch_lightning|lightning)\.")


class _Reader(pickle.Unpickler):
    def __init__(self, content: bytes, storages: dict[str, Storage]) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", errors="replace")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """One of a few names, none of which is what it says."""
        if (module, name) in _GLOBALS:
            return _GLOBALS[module, name]
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch" and re.fullmatch(r"(b?float|u?int|bool|long|half|double)\d*", name):
            return _Nothing()
        if _LIGHTNING.match(module) and name == "AttributeDict":
            return _Settings
        if _LIGHTNING.match(module) and ".callbacks." in module:
            return _Nothing()
        remedy = ""
        if module.startswith("torch.nn") or not module.startswith("torch"):
            remedy = ", as a whole model or the state of a script does"
        elif "qtensor" in name or "sparse" in name:
            remedy = ", which makes a tensor that is quantised or sparse"
        raise Refused(f"it refers to {module}.{name}{remedy}")

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a tensor is a view of."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refused("it names something else than a storage")
        _, dtype, key, _, count = pid[:5]
        if dtype not in _DTYPES.values() or not isinstance(key, str):
            raise Refused("it names a storage of an unknown kind")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise Refused(f"it names a storage of {count!r} numbers")
        known = self._storages.setdefault(key, Storage(dtype, key, count))
        if (known.dtype, known.count) != (dtype, count):
            raise Refused("it names one storage in two ways")
        return known


def load(content: bytes, start: int, storages: dict[str, Storage]) -> tuple[Any, int]:
    """Reads one pickle, and notes the storages that it names; also says where it ends.

    Args:
        content: Bytes of a file.
        start: Where the pickle begins.
        storages: Key -> storage; is added to.

    Raises:
        Refused: If it is damaged, or asks for anything that is not on the list.
    """
    end = _end_of(content, start)
    try:
        return _Reader(content[start:end], storages).load(), end
    except Refused:
        raise
    except Exception as error:  # A damaged pickle raises anything.
        raise Refused(f"its pickle is damaged ({type(error).__name__})") from error


def _end_of(content: bytes, start: int) -> int:
    """Where a pickle ends, once all its operations are known to be harmless."""
    stream = io.BytesIO(content)
    stream.seek(start)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if operation.name not in _ALLOWED:
                raise Refused(f"its pickle has the operation {operation.name}")
            # The reader makes room up to the highest number.
            if "PUT" in operation.name and (argument or 0) > count:
                raise Refused(f"its pickle keeps an object under the number {argument}")
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"its pickle is damaged ({type(error).__name__})") from error
    return stream.tell()
