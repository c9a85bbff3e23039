"""The calls of a graph with those of nested models in their place, as one list."""

from dataclasses import dataclass
from typing import Any

import keras

from finetunekit.foundation import keras_internals
from finetunekit.models import graph

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor of one run through the model: its number, and its shape without the batch."""

    number: int
    shape: Shape


@dataclass(frozen=True)
class Call:
    """One call of an operation."""

    operation: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class FlatGraph:
    """A model's inputs, and its calls in the order in which Keras runs them."""

    inputs: tuple[Tensor, ...]
    calls: tuple[Call, ...]

    def consumers(self, tensor: Tensor) -> list[Call]:
        """The calls that take a tensor."""
        return [call for call in self.calls if tensor in call.inputs]


def flat_graph(model: keras.Model) -> FlatGraph:
    """The calls of a Functional or built Sequential model; of others inside, only the call."""
    calls: list[Call] = []
    made = 0

    def new(tensor: Any) -> Tensor:
        nonlocal made
        made += 1
        return Tensor(made, tuple(tensor.shape[1:]))

    def visit(part: Any, given: list[Tensor]) -> list[Tensor]:
        known = {id(own): tensor for own, tensor in zip(part.inputs, given, strict=True)}
        for operation, args, kwargs, outputs in keras_internals.graph_calls(part):
            flat = keras.tree.flatten((args, kwargs))
            taken = [known[id(t)] for t in flat if isinstance(t, keras.KerasTensor)]
            if graph.is_graph(operation) and len(operation.inputs) == len(taken):
                results = visit(operation, taken)
            else:
                results = [new(tensor) for tensor in outputs]
                calls.append(Call(operation, tuple(taken), tuple(results)))
            known |= {id(own): tensor for own, tensor in zip(outputs, results, strict=True)}
        return [known[id(tensor)] for tensor in part.outputs]

    inputs = [new(tensor) for tensor in model.inputs]
    visit(model, inputs)
    return FlatGraph(tuple(inputs), tuple(calls))
