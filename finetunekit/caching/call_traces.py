"""Subclassed models as graphs: their `call`, followed on symbolic inputs."""

from typing import Any, NamedTuple

import keras

from finetunekit.caching.layer_fingerprint import LayerFingerprint
from finetunekit.foundation import keras_internals


class Trace(NamedTuple):
    """A subclassed model as a graph, and the outputs of calls that say `training=False`."""

    graph: Any
    inferring: list[Any]


def trace(model: keras.Model, like: Any) -> tuple[Trace | None, str]:
    """A subclassed model as a graph, or None and what stands in the way.

    Its `call` is run on symbolic inputs, once for training and once for inference; only if both
    make the same calls, the graph tells what the model does.
    """
    if like is None:
        return None, "it is subclassed, and no batch shows what it is called with"
    graphs = []
    for training in (True, False):
        inputs = keras.tree.map_structure(
            lambda part: keras.KerasTensor((None, *part.shape[1:]), dtype_of(part)), like
        )
        try:
            with keras_internals.one_call(model, training):
                extra = {"training": training} if keras_internals.takes_training(model) else {}
                graphs.append(keras.Function(inputs, model.call(inputs, **extra)))
        except Exception as error:
            # Whatever a user's own code raises on symbolic tensors: the model is taken whole.
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            return None, f"its `call` cannot be followed ({type(error).__name__}: {reason[:120]})"
    train, infer = graphs
    if _wiring(train) != _wiring(infer):
        return None, "its `call` does other things while training than afterwards"
    inferring = []
    for (operation, _, kwargs, outputs), (_, _, others, _) in zip(
        keras_internals.graph_calls(train), keras_internals.graph_calls(infer), strict=True
    ):
        if others.get("training"):
            return None, f"its `call` calls {operation.name!r} with `training=True`"
        if kwargs.get("training") is False:
            inferring += outputs
    return Trace(train, inferring), ""


def dtype_of(part: Any) -> str:
    """The name of the dtype of an array or a spec."""
    return keras.backend.standardize_dtype(getattr(part.dtype, "name", part.dtype))


def _wiring(function: Any) -> list[Any]:
    """Which operations are called on what, `training` left out."""
    numbers = {id(tensor): number for number, tensor in enumerate(function.inputs)}
    content = LayerFingerprint()
    rows = []
    for operation, args, kwargs, outputs in keras_internals.graph_calls(function):
        for tensor in outputs:
            numbers[id(tensor)] = len(numbers)
        leaves = keras.tree.flatten((args, {k: v for k, v in kwargs.items() if k != "training"}))
        taken = [_told(x, numbers, content) for x in leaves]
        layer = isinstance(operation, keras.layers.Layer)
        rows.append((id(operation) if layer else content.op(operation), taken))
    return rows


def _told(leaf: Any, numbers: dict[int, int], content: LayerFingerprint) -> Any:
    """An argument: a tensor by its number, a variable as itself, anything else by its content."""
    if isinstance(leaf, keras.Variable):
        return id(leaf)
    return numbers[id(leaf)] if id(leaf) in numbers else content.of(leaf)
