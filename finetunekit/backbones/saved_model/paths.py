"""Paths of a SavedModel's variables: their names, or their places in the object graph."""

import re
from typing import Any

_BOOKKEEPING = {
    "variables",
    "trainable_variables",
    "non_trainable_variables",
    "regularization_losses",
    "signatures",
    "keras_api",
}


def names(loaded: Any, found: list[Any]) -> list[str]:
    """A path for each variable: its name, or its place in the object graph."""
    own = [v.name.split(":")[0] for v in found]
    hanging = _object_paths(loaded)
    return [
        hanging.get(id(v), name)
        if own.count(name) > 1 or name.rstrip("_0123456789") == "Variable"
        else name
        for v, name in zip(found, own, strict=True)
    ]


def _object_paths(loaded: Any) -> dict[int, str]:
    """`id` of a variable -> the shortest way to it through attributes, lists and dicts."""
    paths: dict[int, str] = {}
    seen = {id(loaded)}
    queue = [(loaded, "")]
    for thing, path in queue:
        for name, child in _children(thing):
            below = f"{path}/{name}" if path else name
            if hasattr(child, "handle") and hasattr(child, "assign"):
                paths.setdefault(id(child), below)
            elif id(child) not in seen:
                seen.add(id(child))
                queue.append((child, below))
    return paths


def _children(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, dict):
        return [(str(name), child) for name, child in thing.items()]
    if isinstance(thing, (list, tuple)):
        return [(str(number), child) for number, child in enumerate(thing)]
    if hasattr(thing, "concrete_functions") or not hasattr(thing, "__dict__"):
        return []
    return [
        (name, child)
        for name, child in vars(thing).items()
        if name not in _BOOKKEEPING and not name.startswith("_")
    ]


def unique(names: list[str]) -> list[str]:
    """Paths that Keras accepts as names, no two of which are equal."""
    paths: list[str] = []
    for name in names:
        parts = [re.sub(r"[^A-Za-z0-9_.\-]", "_", part) for part in name.split("/") if part]
        stem = path = "/".join(parts) or "variable"
        number = 1
        while path in paths:
            number += 1
            path = f"{stem}_{number}"
        paths.append(path)
    return paths
