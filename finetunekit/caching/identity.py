"""The key of a store: of which weights and data its features are."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from finetunekit.caching.calls import Call, Value
from finetunekit.caching.cut import FrozenSplit
from finetunekit.caching.fingerprint import Fingerprint
from finetunekit.caching.layer_fingerprint import LayerFingerprint
from finetunekit.foundation import hashing
from finetunekit.foundation.messages import listed, say
from finetunekit.models import metadata

# Of a layer's config: what another process may count or set differently, though it computes the
# same.
_INCIDENTAL = {"name", "trainable", "seed", "registered_name", "build_config"}

_OF_PREFIX = (
    "prefix weights",
    "prefix graph",
    "layer code and attributes",
    "input contract",
    "versions",
)


def prefix_key(split: FrozenSplit) -> dict[str, str]:
    """What the features depend on beside the data, by the words in which a difference is told."""
    import tensorflow as tf

    contract = metadata.of(split.model).contract
    parts = (
        weights_digest(split),
        _graph_digest(split),
        _code_digest(split),
        hashing.text_digest(repr(contract)),
        f"keras {keras.__version__}, tensorflow {tf.__version__}",
    )
    return dict(zip(_OF_PREFIX, parts, strict=True))


def prefix_part(key: Mapping[str, str]) -> dict[str, str]:
    """Of the key of a store, the part that `prefix_key` has made."""
    return {words: key[words] for words in _OF_PREFIX if words in key}


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


def _code_digest(split: FrozenSplit) -> str:
    """The digest of what the operations compute, as far as neither configs nor weights tell."""
    found = LayerFingerprint(prefix_variables(split))
    text = found.all_of(call.operation for call in split.prefix_calls) + found.all_of(
        leaf
        for call in split.prefix_calls
        for leaf in keras.tree.flatten((call.args, sorted(call.kwargs.items())))
        if not isinstance(leaf, Value)
    )
    if found.unidentified:
        names = listed(dict.fromkeys(found.unidentified))
        say(
            f"the frozen part of {split.model.name!r} uses what cannot be compared with that of "
            f"another run ({names}): its features are computed anew in each process"
        )
    return hashing.text_digest(text)


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
    if not isinstance(operation, keras.layers.Layer):
        return [name]
    try:
        return [name, _stripped(operation.get_config())]
    except Exception:
        # A layer of the user's own need not have a config; its code and attributes still tell.
        return [name]


def _arguments(call: Call, numbers: dict[Value, int]) -> Any:
    leaves = keras.tree.flatten((call.args, sorted(call.kwargs.items())))
    return [f"value {numbers[x]}" if isinstance(x, Value) else "constant" for x in leaves]


def _stripped(config: Any) -> Any:
    if isinstance(config, dict):
        if config.get("class_name") == "__lambda__":
            return "a function"  # Its dump differs between processes; its code is digested.
        return {str(k): _stripped(v) for k, v in sorted(config.items()) if k not in _INCIDENTAL}
    if isinstance(config, (list, tuple)):
        return [_stripped(value) for value in config]
    return config


def _plain(value: Any) -> str:
    """A value of a config in words that are the same in each process."""
    return Fingerprint().of(value)
