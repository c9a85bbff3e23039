"""Of which weights and which data are these features? The key of a store."""

import json
import re
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from finetunekit.caching.calls import Call, Value
from finetunekit.caching.cut import FrozenSplit
from finetunekit.foundation import hashing
from finetunekit.models import metadata

# Of a layer's config: what another process may count or set differently, though it computes the
# same.
_INCIDENTAL = {"name", "trainable", "seed", "registered_name", "build_config"}


def prefix_key(split: FrozenSplit) -> dict[str, str]:
    """What the features depend on beside the data, by the words in which a difference is told."""
    import tensorflow as tf

    contract = metadata.of(split.model).contract
    return {
        "prefix weights": weights_digest(split),
        "prefix graph": _graph_digest(split),
        "input contract": hashing.text_digest(repr(contract)),
        "versions": f"keras {keras.__version__}, tensorflow {tf.__version__}",
    }


def weights_digest(split: FrozenSplit) -> str:
    """The digest of all weights of the prefix, in the order in which it uses them."""
    return hashing.arrays_digest(
        keras.ops.convert_to_numpy(variable) for variable in prefix_variables(split)
    )


def prefix_variables(split: FrozenSplit) -> list[Any]:
    """The variables that the prefix uses, each once."""
    return list({id(v): v for layer in split.layers for v in layer.weights}.values())


def data_key(arrays: Iterable[np.ndarray]) -> dict[str, str]:
    """The key of data that are given as arrays."""
    return {"data": hashing.arrays_digest(arrays)}


def row_digests(arrays: list[np.ndarray]) -> np.ndarray:
    """The content of each sample: `(rows, 16)` bytes."""
    return np.frombuffer(
        b"".join(
            hashing.row_digest([array[row] for array in arrays]) for row in range(len(arrays[0]))
        ),
        dtype=np.uint8,
    ).reshape(-1, 16)


def _graph_digest(split: FrozenSplit) -> str:
    numbers: dict[Value, int] = {value: n for n, value in enumerate(split.inputs)}
    rows: list[Any] = [[list(value.shape[1:]), value.dtype] for value in split.inputs]
    for call in split.prefix_calls:
        rows.append([_operation(call), _arguments(call, numbers)])
        for value in call.outputs:
            numbers[value] = len(numbers)
    rows.append([numbers[value] for value in split.features])
    return hashing.text_digest(json.dumps(rows, default=_plain))


def _operation(call: Call) -> Any:
    operation = call.operation
    name = f"{type(operation).__module__}.{type(operation).__qualname__}"
    if isinstance(operation, keras.layers.Layer):
        try:
            return [name, _stripped(operation.get_config())]
        except Exception:
            # A layer of the user's own need not have a config; its weights still tell.
            return [name, _code(type(operation).call)]
    settings = {k: v for k, v in vars(operation).items() if not k.startswith("_")}
    return [name, _stripped(settings)]


def _arguments(call: Call, numbers: dict[Value, int]) -> Any:
    leaves = keras.tree.flatten((call.args, sorted(call.kwargs.items())))
    return [f"value {numbers[x]}" if isinstance(x, Value) else _plain(x) for x in leaves]


def _stripped(config: Any) -> Any:
    if isinstance(config, dict):
        return {str(k): _stripped(v) for k, v in sorted(config.items()) if k not in _INCIDENTAL}
    if isinstance(config, (list, tuple)):
        return [_stripped(value) for value in config]
    return config


def _plain(value: Any) -> str:
    """A constant in words that are the same in each process."""
    if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
        return hashing.array_digest(value)
    if callable(value):
        return _code(value)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _code(function: Any) -> str:
    code = getattr(function, "__code__", None)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    return name if code is None else f"{name} {code.co_code.hex()} {code.co_names}"
