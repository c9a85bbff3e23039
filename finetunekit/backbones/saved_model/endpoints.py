"""Endpoints of a loaded SavedModel: function, inputs, training modes and variables."""

from dataclasses import dataclass, field
from typing import Any

import keras

from finetunekit.foundation.messages import listed


@dataclass
class Endpoint:
    """One way to call a SavedModel.

    Args:
        name: `__call__`, or the name of another function or of a signature.
        function: What is called.
        arguments: Argument name -> its structure of `tf.TensorSpec`, or the constant it was
            saved with, up to the last one that matters.
        modes: The values of `training` that it was saved with; empty if it has no such argument.
        concrete: All traces that it has.
        is_signature: Whether it is a signature: inference only.
    """

    name: str
    function: Any
    arguments: dict[str, Any]
    modes: set[Any]
    concrete: list[Any]
    is_signature: bool
    keyword_only: set[str] = field(default_factory=set)

    @property
    def tensor_arguments(self) -> dict[str, Any]:
        """The arguments that take tensors, without `training`."""
        return {
            name: value
            for name, value in self.arguments.items()
            if name != "training" and _has_spec(value)
        }

    @property
    def inputs(self) -> Any:
        """The structure of specs that the layer takes: several arguments make a dict."""
        tensors = self.tensor_arguments
        return next(iter(tensors.values())) if len(tensors) == 1 else dict(tensors)

    def mode(self, training: bool) -> bool:
        """The mode it runs in when this one is asked for."""
        if not self.modes or training in self.modes or "any" in self.modes:
            return training and bool(self.modes)
        return not training

    def call(self, inputs: Any, training: bool) -> Any:
        """Calls the function; a signature with one output gives that output."""
        given = self._by_argument(inputs)
        values = {
            name: given[name] if name in given else value for name, value in self.arguments.items()
        }
        if "training" in values:
            values["training"] = training
        keywords = {name: values.pop(name) for name in list(values) if name in self.keyword_only}
        outputs = _without_none(_plain(self.function(*values.values(), **keywords)))
        if self.is_signature and isinstance(outputs, dict) and len(outputs) == 1:
            return next(iter(outputs.values()))
        return outputs

    def _by_argument(self, inputs: Any) -> dict[str, Any]:
        tensors = self.tensor_arguments
        if len(tensors) == 1:
            inputs = {next(iter(tensors)): inputs}
        elif isinstance(inputs, (list, tuple)):
            inputs = dict(zip(tensors, inputs, strict=False))
        if not isinstance(inputs, dict) or set(inputs) != set(tensors):
            given = sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__
            raise ValueError(
                f"`inputs` must be a dict or list for {listed(tensors)}. Received: inputs={given}"
            )
        return {name: _fitted(inputs[name], tensors[name]) for name in tensors}


def find(loaded: Any, wanted: str | None) -> Endpoint:
    """The endpoint that a SavedModel is called by.

    Raises:
        ValueError: If there is none, or none of the wanted name.
    """
    functions = _functions(loaded)
    signatures = dict(getattr(loaded, "signatures", None) or {})
    names = [wanted] if wanted else ["__call__", "serve", "serving_default", *signatures]
    for name in names:
        if name in functions:
            return _of_function(name, functions[name])
        if name in signatures:
            return _of_signature(name, signatures[name])
    there = [*functions, *signatures]
    if not wanted:
        raise ValueError(
            "`path` is a SavedModel without `__call__` and without signatures, so there is no way "
            f"to tell what to call. Name one of its functions: signature={listed(functions) or '?'}"
            f". It has {listed(_attributes(loaded)) or 'nothing'}. Received: signature=None"
        )
    raise ValueError(
        f"`signature` must be a function or a signature of the SavedModel: {listed(there)}. "
        f"Received: signature={wanted!r}"
    )


def _attributes(loaded: Any) -> list[str]:
    ignored = {"graph_debug_info", "tensorflow_version", "tensorflow_git_version", "signatures"}
    return [name for name in vars(loaded) if not name.startswith("_") and name not in ignored]


def _functions(loaded: Any) -> dict[str, Any]:
    """The functions that the SavedModel's object has: itself first, if it can be called."""
    found = {"__call__": loaded.__call__} if callable(loaded) else {}
    found |= {name: getattr(loaded, name) for name in _attributes(loaded)}
    return {name: f for name, f in found.items() if getattr(f, "concrete_functions", None)}


def _of_signature(name: str, function: Any) -> Endpoint:
    arguments = dict(function.structured_input_signature[1])
    return Endpoint(name, function, arguments, set(), [function], True, set(arguments))


def _of_function(name: str, function: Any) -> Endpoint:
    traces = [(concrete, *_arguments(concrete)) for concrete in function.concrete_functions]
    usable = [trace for trace in traces if any(map(_has_spec, trace[1].values()))]
    if not usable:
        raise ValueError(
            f"`signature` must be a function that takes tensors; {name!r} takes none. "
            f"Received: signature={name!r}"
        )
    _, arguments, keyword_only = next(
        (trace for trace in usable if trace[1].get("training") is False), usable[0]
    )
    modes = {
        "any" if _has_spec(trace[1]["training"]) else bool(trace[1]["training"])
        for trace in usable
        if "training" in trace[1]
    }
    concrete = [trace[0] for trace in usable]
    return Endpoint(name, function, arguments, modes, concrete, False, keyword_only)


def _arguments(concrete: Any) -> tuple[dict[str, Any], set[str]]:
    """Argument name -> what it was traced with; and which can be given by name only."""
    positional, keywords = concrete.structured_input_signature
    parameters = list(concrete.function_type.parameters.values())
    names = [p.name for p in parameters if p.kind.name.startswith("POSITIONAL")]
    arguments = dict(zip(names, positional, strict=False))
    last = max(
        [n for n, name in enumerate(arguments) if name == "training" or _has_spec(arguments[name])],
        default=-1,
    )
    kept = dict(list(arguments.items())[: last + 1]) | dict(keywords)
    return {name: _plain(value) for name, value in kept.items()}, set(keywords)


def variables(loaded: Any, endpoint: Endpoint) -> list[tuple[Any, bool]]:
    """The variables, each with whether it may train: those listed, then those captured."""
    captured = [v for concrete in endpoint.concrete for v in concrete.variables]
    listed_ones = _variables_of(loaded, "variables")
    trainable = _variables_of(loaded, "trainable_variables")
    may_train = {id(v.handle) for v in trainable or captured}
    used = {id(v.handle) for v in captured}
    found = {id(v.handle): v for v in [*listed_ones, *captured]}
    return [
        (
            v,
            not endpoint.is_signature
            and key in may_train & used
            and bool(v.trainable)
            and bool(v.dtype.is_floating),
        )
        for key, v in found.items()
    ]


def regularizers(loaded: Any, endpoint: Endpoint) -> list[tuple[Any, set[int]]]:
    """The functions of penalties, each with the ids of the handles of what it penalises."""
    if endpoint.is_signature:
        return []
    functions = getattr(loaded, "regularization_losses", None) or []
    return [
        (f, {id(v.handle) for concrete in f.concrete_functions for v in concrete.variables})
        for f in functions
        if getattr(f, "concrete_functions", None)
    ]


def _variables_of(loaded: Any, attribute: str) -> list[Any]:
    value = getattr(loaded, attribute, None)
    listed_ones = list(value) if isinstance(value, (list, tuple)) else []
    return [v for v in listed_ones if hasattr(v, "handle") and hasattr(v, "assign")]


def _has_spec(value: Any) -> bool:
    import tensorflow as tf

    return any(isinstance(leaf, tf.TypeSpec) for leaf in keras.tree.flatten(_plain(value)))


def _plain(structure: Any) -> Any:
    """The structure in plain dicts and lists, for TensorFlow's wrappers of them."""
    if isinstance(structure, dict):
        return {name: _plain(value) for name, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_plain(value) for value in structure]
    return structure


def _without_none(structure: Any) -> Any:
    """The structure without parts that are no output, such as a mask that a layer does not make."""
    if isinstance(structure, dict):
        return {name: _without_none(v) for name, v in structure.items() if v is not None}
    if isinstance(structure, list):
        return [_without_none(value) for value in structure if value is not None]
    return structure


def is_dense(spec: Any) -> bool:
    """Whether it means an ordinary tensor: neither ragged nor sparse."""
    return hasattr(spec, "shape") and hasattr(spec, "dtype") and hasattr(spec, "name")


def _fitted(value: Any, specs: Any) -> Any:
    """The value with the dtypes that the function was saved for."""
    import tensorflow as tf

    def cast(tensor: Any, spec: Any) -> Any:
        if not is_dense(spec):
            return tensor
        tensor = tf.convert_to_tensor(tensor)
        numbers = tf.string not in (tensor.dtype, spec.dtype)
        return tf.cast(tensor, spec.dtype) if numbers and tensor.dtype != spec.dtype else tensor

    if isinstance(specs, dict):
        return {name: _fitted(value[name], specs[name]) for name in specs}
    if isinstance(specs, list):
        return [_fitted(part, spec) for part, spec in zip(value, specs, strict=True)]
    return cast(value, specs)
