"""The graph of a model: walks the tree of its layers, and rebuilds models from them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals


@dataclass(frozen=True)
class Place:
    """A layer where it stands in a model: its path and the layers around it, outermost first."""

    path: str
    layer: keras.layers.Layer
    ancestors: tuple[keras.layers.Layer, ...]

    @property
    def names(self) -> list[str]:
        """The names along the path, without the numbers that tell equal ones apart."""
        return [*(layer.name for layer in self.ancestors[1:]), self.layer.name]


def walk(model: keras.layers.Layer) -> Iterator[Place]:
    """Yields each layer below the model once, parents before children, in Keras' order.

    Paths are made of layer names; Keras' own variable paths leave out nested Functional models.
    A second layer of equal path gets a number: `dense`, `dense#2`. A layer that stands in several
    places is yielded where it stands first.
    """
    seen: set[int] = set()
    taken: dict[str, int] = {}

    def below(layer: keras.layers.Layer, path: str, ancestors: tuple[Any, ...]) -> Iterator[Place]:
        for child in keras_internals.sublayers(layer):
            if id(child) in seen:
                continue
            seen.add(id(child))
            child_path = f"{path}/{child.name}" if path else child.name
            taken[child_path] = taken.get(child_path, 0) + 1
            if taken[child_path] > 1:
                child_path = f"{child_path}#{taken[child_path]}"
            yield Place(child_path, child, ancestors)
            yield from below(child, child_path, (*ancestors, child))

    yield from below(model, "", (model,))


def with_descendants(layers: list[keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The layers and all that stands below them, each once."""
    found: dict[int, keras.layers.Layer] = {}
    for layer in layers:
        found.setdefault(id(layer), layer)
        for place in walk(layer):
            found.setdefault(id(place.layer), place.layer)
    return list(found.values())


def leaves(model: keras.layers.Layer) -> list[Place]:
    """The places of the layers that own weights themselves, in the order of `walk`."""
    return [place for place in walk(model) if keras_internals.own_weights(place.layer)]


def size(variable: Any) -> int:
    """How many numbers a variable holds."""
    return math.prod(variable.shape)


def parameter_count(layer: keras.layers.Layer) -> int:
    """How many numbers the layer's own weights hold, those of its sublayers left out."""
    return sum(size(variable) for variable in keras_internals.own_weights(layer))


def input_structure(model: keras.Model) -> Any:
    """The model's symbolic inputs in the structure that it is called with."""
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def new_inputs(model: keras.Model) -> Any:
    """Fresh symbolic inputs of the model's structure, names, shapes and dtypes."""
    return keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name),
        input_structure(model),
    )


def is_graph(model: object) -> bool:
    """Whether the model's wiring can be read: Functional, or a built Sequential."""
    return keras_internals.is_functional(model) or keras_internals.is_sequential(model)


def insert_after(model: keras.Model, additions: Mapping[int, keras.layers.Layer]) -> keras.Model:
    """Returns a new model of the same layers in which added layers follow others.

    Args:
        model: A Functional or built Sequential model, nested ones included.
        additions: `id(layer)` -> the layer to call on each of its outputs.

    Returns:
        A model that shares all layers but the nested models that had to be rebuilt.

    Raises:
        ValueError: If a layer to follow stands inside something that is not a graph.
    """
    rebuilt: dict[int, keras.layers.Layer] = {}

    def renewed(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in rebuilt:
            touched = any(id(place.layer) in additions for place in walk(layer))
            rebuilt[id(layer)] = insert_after(layer, additions) if touched else layer
        return rebuilt[id(layer)]

    if not is_graph(model):
        raise ValueError(
            f"Layers can be put into Functional and built Sequential models only, not inside "
            f"{model.name!r}, a {type(model).__name__}. Select a layer outside of it, such as the "
            f"whole of {model.name!r}. Received: model={model!r}"
        )
    if isinstance(model, keras.Sequential):
        return _insert_in_chain(model, additions, renewed)

    def call_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = (renewed(layer) if isinstance(layer, keras.layers.Layer) else layer)(
            *args, **kwargs
        )
        added = additions.get(id(layer))
        return outputs if added is None else keras.tree.map_structure(added, outputs)

    inputs = new_inputs(model)
    outputs = keras_internals.run_through_graph(model, inputs, call_layer)
    return keras.Model(inputs, outputs, name=model.name)


def _insert_in_chain(model: keras.Sequential, additions: Any, renewed: Any) -> keras.Sequential:
    first = model.inputs[0]
    chain = [keras.Input(batch_shape=first.shape, dtype=first.dtype, name=first.name)]
    for layer in model.layers:
        chain.append(renewed(layer))
        if id(layer) in additions:
            chain.append(additions[id(layer)])
    return keras.Sequential(chain, name=model.name)


_ABSENT = object()  # What a nested model no longer gives, since nothing that is wanted needs it.


def catch_outputs(model: keras.Model, wanted: set[int]) -> tuple[Any, dict[int, list[list[Any]]]]:
    """Calls a graph's layers again on new inputs and catches what some of them give.

    Nested models that hold a wanted one are rebuilt, of the same layers and under the same names,
    with further outputs; of their own outputs those stay that a wanted one needs.

    Args:
        model: A Functional or built Sequential model.
        wanted: `id(operation)` of the layers, or other operations, to catch.

    Returns:
        The new symbolic inputs, and `id(operation)` -> its output tensors for each of its calls.
        What stands inside of something that is not a graph, or is never called, is missing there.
    """
    inputs = new_inputs(model)
    return inputs, _rerun(model, inputs, wanted, whole=False)[1]


def operations(model: keras.Model) -> list[Any]:
    """The operations of a graph, those of nested models left out."""
    return list({id(op): op for op in map(keras_internals.producer, upstream(model))}.values())


def upstream(model: keras.Model, tensors: Iterable[Any] | None = None) -> list[Any]:
    """The symbolic tensors of a graph that some of them, by default its outputs, are made of."""
    ends = {id(tensor) for tensor in model.inputs}
    found: dict[int, Any] = {}
    waiting = list(model.outputs if tensors is None else tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            waiting += [] if id(tensor) in ends else keras_internals.incoming(tensor)
    return list(found.values())


def idle_layers(model: keras.Model, tensors: Iterable[Any] | None = None) -> list[Any]:
    """The layers of a graph, nested ones included, that none of its outputs is made of.

    Those of a nested model that has more outputs than are used, such as the pooler of BERT. They
    get no gradients. Layers stand for all that is below them.

    Args:
        model: A model of any kind; one whose wiring cannot be read has no idle layers.
        tensors: Some of its outputs, instead of all.
    """
    used: set[int] = set()
    passed: list[Any] = []

    def visit(inner: Any, outputs: Iterable[Any] | None) -> None:
        wanted: dict[int, tuple[Any, set[int]]] = {}
        for tensor in upstream(inner, outputs):
            operation = keras_internals.producer(tensor)
            used.add(id(operation))
            if is_graph(operation) and operation is not inner:
                row = wanted.setdefault(id(operation), (operation, set()))
                row[1].add(keras_internals.output_index(tensor))
        passed.extend(inner.layers)
        for operation, indices in wanted.values():
            visit(operation, [operation.outputs[index] for index in indices])

    if is_graph(model):
        visit(model, tensors)
    return [layer for layer in passed if id(layer) not in used]


def holds(operation: Any, wanted: set[int]) -> bool:
    """Whether it is a graph with one of the wanted operations in it, at any depth."""
    return is_graph(operation) and any(
        id(inner) in wanted or holds(inner, wanted) for inner in operations(operation)
    )


def run(model: keras.Model, inputs: Any, call: Any) -> Any:
    """Calls the operations of a graph, in order, on other inputs: `call(operation, *args)`."""
    if not isinstance(model, keras.Sequential):
        return keras_internals.run_through_graph(model, inputs, call)
    for layer in model.layers:
        inputs = call(layer, inputs)
    return inputs


def _rerun(
    model: keras.Model, inputs: Any, wanted: set[int], *, whole: bool
) -> tuple[Any, dict[int, list[list[Any]]]]:
    needed = _needed(model, wanted, whole)
    caught: dict[int, list[list[Any]]] = {}
    opened: dict[int, _Opened] = {}

    def catch(operation: Any, outputs: Any) -> None:
        if id(operation) in wanted:
            caught.setdefault(id(operation), []).append(keras.tree.flatten(outputs))

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if any(value is _ABSENT for value in keras.tree.flatten((args, kwargs))):
            return [_ABSENT] * len(keras.tree.flatten(operation.output))
        if holds(operation, wanted):
            if id(operation) not in opened:
                opened[id(operation)] = _Opened.of(operation, wanted, id(operation) in needed)
            outputs, inner = opened[id(operation)](*args, **kwargs)
            for key, calls in inner.items():
                caught.setdefault(key, []).extend(calls)
        else:
            outputs = operation(*args, **kwargs)
        catch(operation, outputs)
        return outputs

    for old, new in zip(model.inputs, keras.tree.flatten(inputs), strict=True):
        catch(keras_internals.producer(old), new)
    return run(model, inputs, call), caught


def _needed(model: keras.Model, wanted: set[int], whole: bool) -> set[int]:
    """`id(operation)` of those whose outputs the wanted ones, or the whole model, are made of."""
    ends = list(model.outputs) if whole else []
    for tensor in upstream(model):
        operation = keras_internals.producer(tensor)
        if id(operation) in wanted:
            ends.append(tensor)
        elif holds(operation, wanted):
            ends += keras_internals.incoming(tensor)
    return {id(keras_internals.producer(tensor)) for tensor in upstream(model, ends)}


@dataclass(frozen=True)
class _Opened:
    """A nested model rebuilt with what was caught inside of it as further outputs."""

    model: keras.Model
    outputs: Any
    whole: bool
    caught: dict[int, list[list[Any]]]

    @classmethod
    def of(cls, model: keras.Model, wanted: set[int], whole: bool) -> "_Opened":
        inputs = new_inputs(model)
        outputs, caught = _rerun(model, inputs, wanted, whole=whole)
        flat = keras.tree.flatten((outputs if whole else [], list(caught.values())))
        # As an argument the flag is the model's own; the setter would reach down to its layers.
        opened = keras.Model(inputs, flat, name=model.name, trainable=model.trainable)
        return cls(opened, outputs, whole, caught)

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[int, list[list[Any]]]]:
        flat = iter(keras.tree.flatten(self.model(*args, **kwargs)))

        def renewed(tensors: Any) -> Any:
            return keras.tree.map_structure(lambda _: next(flat), tensors)

        outputs = renewed(self.outputs) if self.whole else None
        caught = {key: renewed(calls) for key, calls in self.caught.items()}
        if outputs is None:
            outputs = keras.tree.map_structure(lambda _: _ABSENT, self.outputs)
        return outputs, caught
