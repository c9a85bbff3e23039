"""Are the calls of nested models listed in their place, with the tensors between them?"""

from __future__ import annotations

import keras

from finetunekit.backbones.flat_calls import flat_graph

L = keras.layers


def test_nested_models_are_opened_at_each_call() -> None:
    inner = keras.Sequential([keras.Input((3,)), L.Dense(3, name="a"), L.ReLU(name="b")])
    first, second = keras.Input((3,)), keras.Input((3,))
    joined = L.Add(name="add")([inner(first), inner(second)])
    flat = flat_graph(keras.Model([first, second], L.Dense(2, name="head")(joined)))
    assert [call.operation.name for call in flat.calls].count("a") == 2
    adding = next(call for call in flat.calls if call.operation.name == "add")
    (head,) = flat.consumers(adding.outputs[0])
    assert (head.operation.name, head.outputs[0].shape) == ("head", (2,))
    sources = {
        tensor for call in flat.calls if call.operation.name == "b" for tensor in call.outputs
    }
    assert set(adding.inputs) == sources
    assert all(len(flat.consumers(tensor)) == 1 for tensor in flat.inputs)
