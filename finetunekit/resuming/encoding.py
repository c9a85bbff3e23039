"""Values as JSON and back: type, byte order and memory order as they were."""

import base64
import collections
import enum
import io
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np


class Unstorable(Exception):
    """A value that is neither numbers, nor text, nor made of them."""


class _Kind(NamedTuple):
    """A type that holds other values: how it is taken apart, and put together again."""

    type: type
    parts: Callable[[Any], Any]
    made: Callable[[Any], Any]


_KINDS: dict[str, _Kind] = {
    "list": _Kind(list, list, list),
    "tuple": _Kind(tuple, list, tuple),
    "set": _Kind(set, lambda v: sorted(v, key=repr), set),
    "frozenset": _Kind(frozenset, lambda v: sorted(v, key=repr), frozenset),
    "dict": _Kind(dict, lambda v: list(v.items()), dict),
    "ordered": _Kind(collections.OrderedDict, lambda v: list(v.items()), collections.OrderedDict),
    "counter": _Kind(
        collections.Counter, lambda v: list(v.items()), lambda v: collections.Counter(dict(v))
    ),
    "deque": _Kind(
        collections.deque, lambda v: [v.maxlen, *v], lambda v: collections.deque(v[1:], v[0])
    ),
    "complex": _Kind(complex, lambda v: [v.real, v.imag], lambda v: complex(*v)),
    "bytes": _Kind(
        bytes, lambda v: [base64.b64encode(v).decode()], lambda v: base64.b64decode(v[0])
    ),
    "path": _Kind(type(pathlib.Path()), lambda v: [str(v)], lambda v: pathlib.Path(v[0])),
}
_OF_TYPE = {kind.type: tag for tag, kind in _KINDS.items()}


def encode(value: Any, arrays: list[bytes]) -> Any:
    """A value as JSON; its arrays go into the list, as `.npy` files.

    Raises:
        Unstorable: If it holds anything else.
    """
    kind = type(value)
    if value is None or kind in (bool, str, int, float):
        return value
    if keras.ops.is_tensor(value) and not isinstance(value, keras.Variable):
        value = to_numpy(value)
    if isinstance(value, np.generic):
        return {"scalar": encode(np.asarray(value), arrays)}
    if type(value) in (np.ndarray, np.memmap):
        return _encode_array(value, arrays)
    if kind in _OF_TYPE:
        tag = _OF_TYPE[kind]
        return {tag: [encode(part, arrays) for part in _KINDS[tag].parts(value)]}
    if isinstance(value, enum.Enum):
        return {"enum": [kind.__module__, kind.__qualname__, value.name]}
    raise Unstorable(kind.__name__)


def to_numpy(tensor: Any) -> np.ndarray:
    """The values of a tensor or variable, copied."""
    shape = tuple(tensor.shape)
    if not shape:  # numpy makes nothing of a bfloat16 tensor without axes.
        tensor = keras.ops.reshape(tensor, (1,))
    return np.array(keras.ops.convert_to_numpy(tensor)).reshape(shape)


def _encode_array(array: np.ndarray, arrays: list[bytes]) -> dict[str, Any]:
    if array.dtype == object:
        parts = [encode(part, arrays) for part in array.ravel()]
        return {"objects": parts, "shape": list(array.shape)}
    if array.dtype.hasobject:
        raise Unstorable(f"array of {array.dtype}")
    # Not a type of numpy's own: `.npy` would know no more of bfloat16 than its size.
    foreign = array.dtype.name if array.dtype.isbuiltin == 2 else None
    file = io.BytesIO()
    plain = array if foreign is None else array.view(f"V{array.dtype.itemsize}")
    np.lib.format.write_array(file, plain, allow_pickle=False)
    arrays.append(file.getvalue())
    return {"array": len(arrays) - 1, "dtype": foreign}


def to_json(value: Any) -> tuple[Any, list[bytes]]:
    """A value as JSON, and its arrays."""
    arrays: list[bytes] = []
    return encode(value, arrays), arrays


def from_json(value: Any, array_of: Callable[[int], bytes]) -> Any:
    """What `to_json` was given.

    Args:
        value: The JSON.
        array_of: The number of an array -> its bytes.
    """
    if not isinstance(value, dict):
        return value
    tag, held = next(iter(value.items()))
    if tag == "array":
        found = np.lib.format.read_array(io.BytesIO(array_of(held)), allow_pickle=False)
        return found if value["dtype"] is None else found.view(np.dtype(value["dtype"]))
    if tag == "enum":
        return _enum(*held)
    if tag == "scalar":
        return from_json(held, array_of)[()]
    parts = [from_json(part, array_of) for part in held]
    if tag == "objects":
        found = np.empty(len(parts), object)
        for number, part in enumerate(parts):  # All at once, numpy would look into lists.
            found[number] = part
        return found.reshape(value["shape"])
    return _KINDS[tag].made(parts)


def _enum(module: str, name: str, member: str) -> Any:
    """A member of an enum that is loaded already: a file has nothing imported."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, enum.EnumType):
        raise ValueError(f"it holds a value of the enum {module}.{name}, which is not loaded")
    return found[member]
