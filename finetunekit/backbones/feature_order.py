"""The order of flattened features, which stand channels first in torch and last in Keras.

A Dense layer behind a Flatten takes its rows in the order channel, height, width from torch; one
in front of a Reshape to images gives its columns in it. So do normalisations in between.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from finetunekit.backbones.flat_calls import Call, FlatGraph, Shape, Tensor, flat_graph
from finetunekit.backbones.torch_modules import Order, is_norm
from finetunekit.models import graph

_L = keras.layers
_RESHAPES = (_L.Flatten, _L.Reshape)


class Untraceable(Exception):
    """Why it cannot be seen in which order features stand; a half sentence about the model."""


@dataclass(frozen=True)
class _State:
    """What is known of a tensor's counterpart in torch.

    `axes[i]` is the place in torch of the tensor's axis i, the batch left out; None if a reshape
    mixed them. Where the last axis holds flattened features, `order[k]` is the place of feature k,
    None if it is the same. `makers` are the layers that may give flat features in another order,
    and `trail` the tensors between.
    """

    axes: tuple[int, ...] | None
    order: np.ndarray | None = None
    makers: tuple[Any, ...] = ()
    trail: tuple[Tensor, ...] = ()


def orders(model: keras.Model) -> dict[int, Order]:
    """`id(layer)` -> the order of its features in torch, for layers where it is not the same.

    Raises:
        Untraceable: If features are flattened where it cannot be followed.
    """
    if not graph.is_graph(model):
        _check_opaque(model)
        return {}
    return _Tracer(flat_graph(model)).run()


# --- Parts that are no graph ------------------------------------------------------------------


def _check_opaque(part: Any) -> None:
    """Refuses a class of the user's own in which a Dense layer seems to take flattened features."""
    inside = [place.layer for place in graph.leaves(part)]
    widths = {layer.filters for layer in inside if getattr(layer, "filters", None)}
    if any(isinstance(place.layer, _RESHAPES) for place in graph.walk(part)):
        widths.add(3)  # The channels of an image.
    known = {getattr(layer, "units", None) for layer in inside} | widths
    for layer in inside:
        taken = layer.kernel.shape[0] if type(layer) is _L.Dense else 0
        if taken not in known and any(taken > width and taken % width == 0 for width in widths):
            raise Untraceable(
                f"has {layer.name!r}, which seems to take flattened features, in "
                f"{part.name!r}, a {type(part).__name__} whose call cannot be followed"
            )


# --- Graphs -----------------------------------------------------------------------------------


@dataclass
class _Tracer:
    """Follows the tensors of a graph, and notes what each layer takes and gives."""

    flat: FlatGraph
    states: dict[Tensor, _State] = field(default_factory=dict)
    layers: dict[int, Any] = field(default_factory=dict)
    taken: dict[int, list[np.ndarray | None]] = field(default_factory=dict)
    given: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def run(self) -> dict[int, Order]:
        for tensor in self.flat.inputs:
            self.states[tensor] = _State(self._layout(tensor))
        for call in self.flat.calls:
            state = self._after(call)
            for tensor in call.outputs:
                rank = len(tensor.shape)
                fits = state.axes is None or len(state.axes) == rank
                self.states[tensor] = state if fits else _State(tuple(range(rank)))
        found = {key: self._order(layer) for key, layer in self.layers.items()}
        return {key: o for key, o in found.items() if o.inputs is not None or o.outputs is not None}

    def _order(self, layer: Any) -> Order:
        taken, given = self.taken.get(id(layer), []), self.given.get(id(layer), [])
        if not (_all_same(taken) and _all_same(given)):
            raise Untraceable(f"uses {layer.name!r} on features in several orders")
        rows, columns = (orders[0] if orders else None for orders in (taken, given))
        if is_norm(layer):
            return Order(inputs=rows if columns is None else columns)
        return Order(rows, columns)

    def _after(self, call: Call) -> _State:
        """What is known of a call's outputs."""
        operation = call.operation
        if not call.inputs or not call.outputs:
            return _State(None)
        states = [self.states[tensor] for tensor in call.inputs]
        before, after = call.inputs[0].shape, call.outputs[0].shape
        if len(call.inputs) > 1:
            if not getattr(operation, "weights", None):
                return self._merged(call, states)
            if any(state.order is not None for state in states):
                raise Untraceable(f"gives flattened features to {operation.name!r}")
        return self._through(call, operation, states[0], before, after)

    def _through(
        self, call: Call, operation: Any, state: _State, before: Shape, after: Shape
    ) -> _State:
        if isinstance(operation, _L.TimeDistributed):
            inner = replace(state, axes=_without_first(state.axes))
            found = self._through(call, operation.layer, inner, before[1:], after[1:])
            return _State(_with_first(found.axes), found.order)
        if getattr(operation, "weights", None) and not is_norm(operation):
            return self._through_weights(operation, state, call, len(after))
        if before == after and not isinstance(operation, _L.Permute):
            return self._passed(operation, state, call)
        if type(operation).__name__ in ("Permute", "Transpose"):
            return _State(_permuted(operation, state.axes))
        reshapes = isinstance(operation, _RESHAPES) or (
            len(before) != len(after) and _size(before) == _size(after) is not None
        )
        if reshapes:
            return self._reshaped(operation, state, before, call.outputs[0], after)
        if state.order is not None:
            raise Untraceable(f"takes flattened features apart in {operation.name!r}")
        formatted = _axes_of(operation, len(after))
        if formatted is not None:
            return _State(formatted)
        return _State(state.axes if len(before) == len(after) else None)

    def _through_weights(self, operation: Any, state: _State, call: Call, rank: int) -> _State:
        if type(operation) is _L.Dense:
            self._note(operation, state.order)
            return _State(tuple(range(rank)), None, (operation,), call.outputs)
        if state.order is not None:
            raise Untraceable(f"gives flattened features to {operation.name!r}")
        if not graph.is_graph(operation) and isinstance(operation, keras.Model):
            _check_opaque(operation)
        return _State(_axes_of(operation, rank) or tuple(range(rank)))

    def _passed(self, operation: Any, state: _State, call: Call) -> _State:
        """Through a layer that treats each feature for itself."""
        makers = state.makers
        flat = len(call.inputs[0].shape) == 1 or state.order is not None
        if flat and isinstance(operation, _L.GroupNormalization) and operation.groups > 1:
            # Its groups are neighbours, which are others in another order.
            if state.order is not None:
                raise Untraceable(f"groups flattened features in {operation.name!r}")
            return replace(state, makers=(), trail=(*state.trail, *call.outputs))
        if getattr(operation, "weights", None) and flat:
            self._note(operation, state.order)
            makers = (*makers, operation) if makers else ()
        return replace(state, makers=makers, trail=(*state.trail, *call.outputs))

    def _note(self, layer: Any, order: np.ndarray | None) -> None:
        self.layers[id(layer)] = layer
        self.taken.setdefault(id(layer), []).append(order)

    def _merged(self, call: Call, states: list[_State]) -> _State:
        after = call.outputs[0].shape
        alike = [s for s, t in zip(states, call.inputs, strict=True) if t.shape == after]
        if len(after) != 1 or not all(len(tensor.shape) == 1 for tensor in call.inputs):
            same = [s for s in alike or states if s.axes is not None and len(s.axes) == len(after)]
            return _State(same[0].axes if same else None)
        found = [state.order for state in states]
        if type(call.operation).__name__ == "Concatenate":
            return _State((0,), _joined(found, [tensor.shape for tensor in call.inputs]))
        if not _all_same(found):
            raise Untraceable(f"mixes features in two orders in {call.operation.name!r}")
        makers = tuple(layer for state in states for layer in state.makers)
        complete = all(state.makers for state in states)
        trail = tuple(tensor for state in states for tensor in (*state.trail, *call.outputs))
        kept = found[0] if all(tensor.shape == after for tensor in call.inputs) else None
        return _State((0,), kept, makers if complete else (), trail)

    def _reshaped(
        self, operation: Any, state: _State, before: Shape, output: Tensor, after: Shape
    ) -> _State:
        if len(before) == 1:
            axes = self._layout(output)
            self._require(operation, state, _order(after, axes), output)
            return _State(axes)
        if state.order is not None:
            raise Untraceable(f"flattens features twice, the second time in {operation.name!r}")
        order = None if state.axes is None else _order(before, state.axes, _moves_last(operation))
        if len(after) == 1:
            if state.axes is None and sum(side != 1 for side in before) > 1:
                raise Untraceable(f"flattens features in {operation.name!r} after reshaping them")
            return _State((0,), order)
        axes = self._layout(output)
        tokens = before[-1] == after[-1]
        same = state.axes is not None and _equal(order, _order(after, axes))
        if same:
            return _State(axes)
        return _State((axes if len(after) > 2 else tuple(range(len(after)))) if tokens else None)

    def _require(self, operation: Any, state: _State, order: Any, output: Tensor) -> None:
        """Has the makers of features give them in an order."""
        if _equal(state.order, order):
            return
        branches = any(len(self.flat.consumers(tensor)) > 1 for tensor in state.trail)
        if state.order is not None or not state.makers or branches:
            raise Untraceable(
                f"reshapes features to {output.shape} in {operation.name!r}, which torch does "
                "channels first, and they do not come from a Dense layer alone"
            )
        for layer in state.makers:
            self.layers[id(layer)] = layer
            self.given.setdefault(id(layer), []).append(order)

    def _layout(self, tensor: Tensor) -> tuple[int, ...]:
        """The axes of a tensor that is new: as the next layer with a `data_format` takes it."""
        rank, seen, waiting = len(tensor.shape), {tensor}, [tensor]
        while waiting:
            for call in self.flat.consumers(waiting.pop(0)):
                inner = getattr(call.operation, "layer", call.operation)
                found = None if isinstance(inner, _L.Flatten) else _axes_of(inner, rank)
                if found is not None:
                    return found
                if getattr(call.operation, "weights", None) and not is_norm(call.operation):
                    continue
                more = [t for t in call.outputs if len(t.shape) == rank and t not in seen]
                seen.update(more)
                waiting += more
        if rank > 2 and keras.config.image_data_format() == "channels_last":
            return _channels_last(rank)
        return tuple(range(rank))


# --- Axes and orders --------------------------------------------------------------------------


def _channels_last(rank: int) -> tuple[int, ...]:
    return (*range(1, rank), 0)


def _axes_of(operation: Any, rank: int) -> tuple[int, ...] | None:
    """The axes of what a layer with a `data_format` gives."""
    layout = getattr(operation, "data_format", None)
    if layout not in ("channels_last", "channels_first") or rank < 1:
        return None
    return _channels_last(rank) if layout == "channels_last" else tuple(range(rank))


def _moves_last(operation: Any) -> bool:
    """Whether it moves the channels to the end before it flattens."""
    return isinstance(operation, _L.Flatten) and operation.data_format == "channels_first"


def _permuted(operation: Any, axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    given = getattr(operation, "dims", None) or getattr(operation, "axes", None)
    if axes is None or not given:
        return None
    dims = [number - 1 for number in given if number != 0]
    return tuple(axes[number] for number in dims) if len(dims) == len(axes) else None


def _without_first(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(int(n) for n in np.argsort(np.argsort(axes[1:])))


def _with_first(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if axes is None else (0, *(number + 1 for number in axes))


def _size(shape: Shape) -> int | None:
    return None if None in shape else math.prod(side for side in shape if side is not None)


def _order(shape: Shape, axes: tuple[int, ...], moved: bool = False) -> np.ndarray | None:
    """The place in torch of each feature of a flattened tensor; None if it is the same."""
    size = _size(shape)
    if size is None:
        return None
    sides = [shape[axes.index(number)] or 0 for number in range(len(axes))]
    places = np.arange(size).reshape(sides).transpose(axes)
    found = (np.moveaxis(places, 0, -1) if moved else places).ravel()
    return None if np.array_equal(found, np.arange(size)) else found


def _joined(orders: list[np.ndarray | None], shapes: list[Shape]) -> np.ndarray | None:
    if all(order is None for order in orders):
        return None
    sizes = [int(shape[0] or 0) for shape in shapes]
    starts = np.cumsum([0, *sizes[:-1]])
    parts = zip(orders, sizes, starts, strict=True)
    return np.concatenate([start + (np.arange(n) if o is None else o) for o, n, start in parts])


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _all_same(orders: list[Any]) -> bool:
    return all(_equal(order, orders[0]) for order in orders)
