"""Operations of `keras.ops` in HDF5 files of Keras 3, such as the `x * 2` of a graph.

Keras writes them there by the name of their class alone and cannot read them: it looks for a layer
of that name, finds none (`Relu`) or another one (`Multiply`). In archives they carry their module.
"""

import functools
import json
from collections.abc import Iterator
from typing import Any

import keras


def with_modules(config: Any) -> Any:
    """A copy of an HDF5 file's config, in which its operations carry their modules.

    Args:
        config: The config of a model.
    """
    changed = json.loads(json.dumps(config))
    waiting = [changed]
    while waiting:
        value = waiting.pop()
        if is_operation(value):
            value["module"] = _modules()[value["class_name"]]
            value["registered_name"] = None
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return changed


def is_operation(entry: Any) -> bool:
    """Whether an entry of a config is an operation without its module, rather than a layer."""
    if not isinstance(entry, dict) or "module" in entry or "inbound_nodes" not in entry:
        return False
    config = entry.get("config")
    # All layers say whether they train, also those that share their name with an operation.
    untrained = isinstance(config, dict) and "trainable" not in config
    return untrained and entry.get("class_name") in _modules()


@functools.cache
def _modules() -> dict[str, str]:
    """The module of each of Keras' operations that are no layers, by the name of its class."""
    return {
        found.__name__: found.__module__
        for found in _subclasses(keras.Operation)
        if not issubclass(found, keras.layers.Layer) and found.__module__.startswith("keras.")
    }


def _subclasses(parent: type) -> Iterator[type]:
    child: type
    for child in parent.__subclasses__():
        yield child
        yield from _subclasses(child)
