"""Calls of layers, read from the references inside `inbound_nodes`."""

from typing import Any

import keras
import numpy as np

from finetunekit.backbones.keras2.context import CHANGED, Context

_CONSTANT = "_CONSTANT_VALUE"


def name_of(entry: dict[str, Any], context: Context) -> str:
    """The name that other layers refer to a layer by."""
    config = entry.get("config")
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None)
    if not isinstance(name, str):
        raise context.error(
            "a layer of it has no name",
            CHANGED,
        )
    return name


class Tensors:
    """The outputs of each call of each layer, by the references in the file.

    Keras 2 numbers the calls of a nested model from 1, as it counts the making of the model as the
    first one, those of other layers from 0. Which of them it is shows in the references.
    """

    def __init__(self, entries: list[dict[str, Any]], stored: Any, context: Context) -> None:
        """Reads which numbers the file refers to."""
        self.context = context
        self.calls = {
            name_of(entry, context): len(entry.get("inbound_nodes") or []) for entry in entries
        }
        referred: dict[str, set[int]] = {name: set() for name in self.calls}
        self._collect([entry.get("inbound_nodes") for entry in entries], referred)
        self._collect([stored["input_layers"], stored["output_layers"]], referred)
        self.first = {
            name_of(entry, context): self._offset(entry, referred[name_of(entry, context)])
            for entry in entries
        }
        self.found: dict[tuple[str, int], list[Any]] = {}

    def _collect(self, value: Any, referred: dict[str, set[int]]) -> None:
        if self.is_reference(value):
            referred[value[0]].add(value[1])
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                self._collect(part, referred)

    def _offset(self, entry: dict[str, Any], referred: set[int]) -> int:
        count = len(entry.get("inbound_nodes") or [])
        if 0 in referred or not referred:
            return 0
        if max(referred) >= count:
            return 1
        return int(entry.get("class_name") in ("Functional", "Model", "Sequential"))

    def is_reference(self, value: Any) -> bool:
        """Whether a value is `[layer, call, output]`, perhaps with arguments behind."""
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and value[0] in self.calls
            and all(isinstance(part, int) and not isinstance(part, bool) for part in value[1:3])
        )

    def put(self, name: str, number: int, outputs: Any) -> None:
        """Stores the outputs of a call."""
        flat = _flat(outputs)
        # The sizes that tf.shape gives are several numbers, but were one tensor.
        several = any(keras.backend.is_keras_tensor(output) for output in flat)
        self.found[name, number + self.first[name]] = flat if several else [outputs]

    def ready(self, value: Any) -> bool:
        """Whether everything that a node refers to exists."""
        if self.is_reference(value):
            if (value[0], value[1]) not in self.found:
                return False
            return len(value) == 3 or self.ready(value[3])
        if isinstance(value, dict):
            value = list(value.values())
        return not isinstance(value, list) or all(self.ready(part) for part in value)

    def get(self, reference: list[Any]) -> Any:
        """The tensor of a reference."""
        outputs = self.found.get((reference[0], reference[1]), [])
        if not 0 <= reference[2] < len(outputs):
            raise self.context.error(
                f"layer {reference[0]!r} has no output {reference[2]} of call {reference[1]}",
                CHANGED,
            )
        return outputs[reference[2]]


def _flat(outputs: Any) -> list[Any]:
    """Outputs in the order in which Keras 2 counts them: dictionaries by their sorted keys."""
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    if not isinstance(outputs, list | tuple):
        return [outputs]
    return [part for output in outputs for part in _flat(output)]


def outer(value: Any, tensors: Tensors, context: Context) -> Any:
    """The inputs or outputs of a model in their structure; a single one without a list."""
    found = _structured(value, tensors)
    return found[0] if isinstance(found, list) and len(found) == 1 else found


def _structured(value: Any, tensors: Tensors) -> Any:
    if tensors.is_reference(value):
        return tensors.get(value)
    if _is_constant(value):
        return value[2] if value[1] == -1 else value[1]
    if isinstance(value, dict):
        return {key: _structured(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [_structured(part, tensors) for part in value]
    raise tensors.context.error(
        f"{value!r} is in the place of a tensor",
        CHANGED,
    )


def arguments(node: Any, tensors: Tensors, context: Context) -> tuple[list[Any], dict[str, Any]]:
    """The positional and named arguments of one call."""
    if isinstance(node, dict):
        return [_structured(node, tensors)], {}
    single = isinstance(node, list) and bool(node) and isinstance(node[0], str)
    named: dict[str, Any] = {}
    found = []
    for part in [node] if single else node:
        if _is_constant(part):
            found.append(part[2] if part[1] == -1 else part[1])
        elif tensors.is_reference(part):
            found.append(tensors.get(part))
        else:
            found.append(_structured(part, tensors))
            continue
        if len(part) == 4 and isinstance(part[3], dict):
            named |= {key: value_of(value, tensors) for key, value in part[3].items()}
    return [found[0] if len(found) == 1 else found], named


def _is_constant(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3, 4) and value[0] == _CONSTANT


def value_of(value: Any, tensors: Tensors) -> Any:
    """A stored argument: a tensor, a constant, a slice, or a structure of these."""
    if tensors.is_reference(value):
        return tensors.get(value)
    if _is_constant(value):
        return value[2] if value[1] == -1 else value[1]
    if isinstance(value, dict):
        if set(value) == {"start", "stop", "step"}:
            return slice(*(value_of(value[key], tensors) for key in ("start", "stop", "step")))
        if value.get("class_name") == "__tuple__":
            return tuple(value_of(part, tensors) for part in value["items"])
        if value.get("class_name") == "__ellipsis__":
            return Ellipsis
        if value.get("class_name") == "TypeSpec":
            return None
        if value.get("type") == "ndarray":
            return np.asarray(value["value"])
        return {key: value_of(part, tensors) for key, part in value.items()}
    if isinstance(value, list):
        return [value_of(part, tensors) for part in value]
    return value
