"""The calls that a model consists of, with nested models opened."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import keras

from finetunekit.caching import call_traces
from finetunekit.foundation import keras_internals, patches
from finetunekit.models import graph


@dataclass(eq=False, slots=True)
class Value:
    """A tensor on its way through the model: what stands for it while the calls are listed."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(eq=False, slots=True)
class Call:
    """One call of a layer or operation, on values, inside the nested models named."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Value]
    inside: tuple[keras.layers.Layer, ...] = ()
    infers: bool = False  # Whether the `call` of a subclassed model says `training=False`.

    @property
    def inputs(self) -> list[Value]:
        """The values that it takes."""
        return values_in((self.args, self.kwargs))

    @property
    def path(self) -> str:
        """Where it stands, as `finetunekit.find_layers` writes it."""
        return "/".join(part.name for part in (*self.inside, self.operation))


@dataclass(eq=False)
class Calls:
    """A whole model as a list of calls."""

    inputs: list[Value]
    calls: list[Call]
    outputs: Any  # Values, in the structure of the model's output.
    closed: dict[str, str] = field(default_factory=dict)  # Subclassed models: path -> why.


def values_in(structure: Any) -> list[Value]:
    """All values in a structure of arguments."""
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Value)]


def list_calls(model: keras.Model, like: Any = None) -> Calls:
    """Lists the calls of a model, nested ones opened, those of subclassed models traced.

    Args:
        model: Any model.
        like: For a subclassed model that is not part of a graph, a batch of inputs or their specs,
            with `shape` and `dtype`.
    """
    lister = _Lister()
    source = model if graph.is_graph(model) else lister.trace(model, like, model.name)
    if source is None:
        return Calls([], [], None, lister.closed)
    inputs = [_value(tensor, {tensor.shape[0]}) for tensor in source.inputs]
    outputs = lister.enter(source, inputs, ())
    # A list of one is what Keras unpacks.
    if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
        outputs = outputs[0]
    return Calls(inputs, lister.calls, outputs, {p: why for p, why in lister.closed.items() if why})


def as_one(model: keras.Model, like: Any) -> Calls:
    """A model that cannot be followed, as one call of itself."""
    given = keras.tree.map_structure(
        lambda part: keras.KerasTensor((None, *part.shape[1:]), call_traces.dtype_of(part)), like
    )
    outputs = model(given)
    inside = keras.tree.map_structure(lambda tensor: _value(tensor, {None}), given)
    results = keras.tree.map_structure(lambda tensor: _value(tensor, {None}), outputs)
    call = Call(model, (inside,), {}, keras.tree.flatten(results))
    return Calls(values_in(inside), [call], results)


def run(calls: Iterable[Call], known: dict[Value, Any], training: bool) -> None:
    """Calls them on tensors, in place: `known` receives the tensor of each output."""

    def tensor_of(leaf: Any) -> Any:
        return known[leaf] if isinstance(leaf, Value) else leaf

    for call in calls:
        args, kwargs = keras.tree.map_structure(tensor_of, (call.args, call.kwargs))
        if keras_internals.takes_training(call.operation):
            kwargs["training"] = training and not call.infers
        results = keras.tree.flatten(call.operation(*args, **kwargs))
        known.update(zip(call.outputs, results, strict=True))


class _Lister:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.closed: dict[str, str] = {}
        self._inferring: dict[int, Any] = {}  # Outputs of calls that say `training=False`.

    def trace(self, model: keras.Model, like: Any, path: str) -> Any:
        """A subclassed model as a graph, or None; then `closed` says what stands in the way."""
        found, self.closed[path] = call_traces.trace(model, like)
        if found is None:
            return None
        self._inferring |= {id(tensor): tensor for tensor in found.inferring}
        return found.graph

    def enter(
        self, model: Any, inputs: list[Value], inside: tuple[Any, ...], infers: bool = False
    ) -> Any:
        """Lists the calls of a graph on given inputs; its outputs as values."""
        known = {id(t): value for t, value in zip(model.inputs, inputs, strict=True)}
        # A model that was built by a call has the size of that batch for its own.
        sizes = {tensor.shape[0] for tensor in model.inputs if tensor.shape}

        def value_of(leaf: Any) -> Any:
            return known[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf

        for operation, args, kwargs, outputs in keras_internals.graph_calls(model):
            args, kwargs = keras.tree.map_structure(value_of, (args, kwargs))
            says_so = infers or id(outputs[0]) in self._inferring
            given = self._nested(operation, args, kwargs, inside, says_so)
            for added in _followers(operation) or []:
                if given is None:
                    break
                given = [self._follow(added, value, inside) for value in given]
            if given is None:
                given = [_value(tensor, sizes) for tensor in outputs]
                self.calls.append(Call(operation, args, dict(kwargs), given, inside, says_so))
            known.update(zip(map(id, outputs), given, strict=True))
        return keras.tree.map_structure(value_of, keras_internals.structures(model)[1])

    def _nested(
        self, operation: Any, args: Any, kwargs: Any, inside: Any, infers: bool
    ) -> list[Value] | None:
        """The outputs of a nested model whose calls were listed; None if it stays one call."""
        if not isinstance(operation, keras.Model) or len(args) != 1:
            return None
        if _followers(operation) is None:
            return None
        graph_of: Any = operation
        path = "/".join(part.name for part in (*inside, operation))
        if not graph.is_graph(operation):
            if not operation.trainable_variables:
                return None  # Constant as a whole, or not at all.
            specs = keras.tree.map_structure(
                lambda v: keras.KerasTensor(v.shape, v.dtype) if isinstance(v, Value) else v,
                args[0],
            )
            graph_of = self.trace(operation, specs, path)
        inputs = None if graph_of is None else _matched(graph_of, args[0])
        mask = kwargs.get("mask")
        if inputs is None or any(values_in(v) for k, v in kwargs.items() if k != "mask"):
            return None
        if mask is not None:
            masks = keras.tree.flatten(_wanted_of(graph_of, mask))
            inputs = [self._masked(v, m, inside) for v, m in zip(inputs, masks, strict=True)]
        return keras.tree.flatten(self.enter(graph_of, inputs, (*inside, operation), infers))

    def _follow(self, layer: Any, value: Value, inside: Any) -> Value:
        """What `DropoutInjection` has put behind a nested model for the time of a fit."""
        output = Value(value.name, value.shape, value.dtype)
        self.calls.append(Call(layer, (value,), {}, [output], inside))
        return output

    def _masked(self, value: Value, mask: Any, inside: Any) -> Value:
        """Keras attaches the mask that a nested model was called with to its input."""
        if mask is None:
            return value
        output = Value(value.name, value.shape, value.dtype)
        self.calls.append(Call(_attach, (value, mask), {}, [output], inside))
        return output


class _Attach:
    """Stands in the place of an operation: gives the tensor back with a mask attached."""

    name = "mask"

    def __call__(self, tensor: Any, mask: Any) -> Any:
        tensor = keras.ops.copy(tensor)
        keras_internals.attach_mask(tensor, mask)
        return tensor


_attach = _Attach()


def _followers(operation: Any) -> list[Any] | None:
    """What `DropoutInjection`s put behind an operation; None if its `call` is another one."""
    tags = [patch.tag for patch in patches.patches_of(operation, "call")]
    known = all(isinstance(tag, keras.layers.Layer) for tag in tags)
    return tags if known and not patches.is_users_own(operation, "call") else None


def _value(tensor: Any, sizes: set[int | None]) -> Value:
    shape = tuple(tensor.shape)
    if shape and shape[0] in sizes:
        shape = (None, *shape[1:])
    return Value(tensor.name, shape, keras.backend.standardize_dtype(tensor.dtype))


def _matched(model: Any, given: Any) -> list[Value] | None:
    """The values for a nested graph's inputs, in order; None if Keras would convert them."""
    values = keras.tree.flatten(_wanted_of(model, given))
    if len(values) != len(model.inputs) or not all(isinstance(v, Value) for v in values):
        return None
    for value, tensor in zip(values, model.inputs, strict=True):
        if value.dtype != tensor.dtype or len(value.shape) != len(tensor.shape):
            return None
    return values


def _wanted_of(model: Any, given: Any) -> Any:
    """Of a dict of inputs, or of their masks, those that a graph takes; Keras drops the others."""
    wanted, _ = keras_internals.structures(model)
    if isinstance(wanted, dict) and isinstance(given, dict) and given.keys() >= wanted.keys():
        return {key: given[key] for key in wanted}
    return given
