"""The frozen prefix as LiteRT runs it: converted once, for batches of one size."""

import os
from typing import Any

import numpy as np

from finetunekit.caching.cut import FrozenSplit


class ConvertedPrefix:
    """A converted prefix, ready to run; it holds the weights itself.

    Attributes:
        content: The model in LiteRT's own format, from which it is made again.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.content = content
        self._interpreter = Interpreter(model_content=content, num_threads=_threads())
        self._interpreter.allocate_tensors()
        # Both lists keep the order of the converted function's; whoever converts compares.
        self._places = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._results = [detail["index"] for detail in self._interpreter.get_output_details()]

    def __call__(self, batch: list[Any]) -> list[np.ndarray]:
        """The features of a batch of the size that it was made for."""
        for place, x in zip(self._places, batch, strict=True):
            self._interpreter.set_tensor(place, np.asarray(x))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._results]


def convert(split: FrozenSplit, specs: list[Any]) -> ConvertedPrefix:
    """Converts the prefix.

    Args:
        split: The model in two parts.
        specs: A `tf.TensorSpec` of fixed shape for each input.
    """
    import tensorflow as tf

    function = tf.function(
        lambda *flat: split.run_prefix_flat(list(flat)), input_signature=specs, autograph=False
    )
    # The second argument keeps the variables alive while it converts.
    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function)
    return ConvertedPrefix(converter.convert())


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
